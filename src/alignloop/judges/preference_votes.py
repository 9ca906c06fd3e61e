"""Votes of a blind evaluation, two answers at a time: win rate, intervals, side bias, length, cohorts.

A vote for neither is a half where the answers are equally good (a tie), and, unless told otherwise, where both are
bad. Prompts are the independent unit: several votes on one prompt are averaged, and each prompt counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alignloop.judges.intervals import RESAMPLES, win_rate
from alignloop.judges.measure import (
    NOTHING,
    ONE_CLUSTER,
    Floats,
    Measure,
    numbered,
    ratio,
    summed,
    times_drawn,
    undefined,
)
from alignloop.judges.proportions import fair_coin_p, wilson

Choice = Literal["a", "b", "tie", "both_bad"]
BothBad = Literal["half", "left out"]
"""What a vote for `both_bad` is: a half like a tie, or no vote at all. Its share is reported either way."""

ONE_LABELER = "one labeler gives no interval over labelers"
_BLOCK = 500


@dataclass(frozen=True, slots=True)
class Vote:
    """One labeler's choice between the answers of policies a and b to one prompt."""

    prompt: str
    labeler: str
    choice: Choice
    is_a_left: bool
    """Whether the answer of a was shown on the left, drawn for each showing."""
    cohort: str = ""
    length_a: int | None = None
    length_b: int | None = None
    """In any one unit."""


@dataclass(frozen=True, slots=True)
class SideBias:
    """Whether the left answer wins more often than the right; sides are drawn, so 1/2 is expected."""

    left: Measure
    """Share of decided votes that went to the left; interval over prompts."""
    p_value: float | None
    """Exact binomial test against 1/2, two-sided. Votes are independent under it where sides are drawn for each."""


@dataclass(frozen=True, slots=True)
class LengthEffect:
    """Lengths of winners and losers, over decided votes with known lengths; intervals over prompts."""

    winner: Measure
    """Mean length."""
    loser: Measure
    longer_wins: Measure
    """Share of decided votes, of unequal lengths, that went to the longer answer."""


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often a beats b."""

    counts: dict[Choice, int]
    prompts: int
    labelers: int
    rate: Measure
    """Mean over prompts; interval over prompts, these labelers held fixed."""
    rate_over_labelers: Measure
    """The same value; interval over prompts and labelers both: would other prompts and other labelers say so?"""
    decided: Measure
    """Wins of a among votes for a or b; Wilson's interval, which takes every vote for independent."""
    ties: Measure
    """Share of ties among all votes."""
    both_bad: Measure
    """Share of both-bad among all votes."""
    side: SideBias
    length: LengthEffect


def tally(
    votes: Sequence[Vote],
    *,
    both_bad: BothBad = "half",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> WinRate:
    """The win rate of a over b and what belongs beside it."""
    counts = Counter(vote.choice for vote in votes)
    counted = [vote for vote in votes if both_bad == "half" or vote.choice != "both_bad"]
    prompts = [vote.prompt for vote in votes]
    ones = [1.0] * len(votes)

    def share_of(choice: Choice) -> Measure:
        chosen = [float(vote.choice == choice) for vote in votes]
        return ratio(chosen, ones, prompts, seed=seed, resamples=resamples)

    return WinRate(
        counts={choice: counts[choice] for choice in ("a", "b", "tie", "both_bad")},
        prompts=len({vote.prompt for vote in counted}),
        labelers=len({vote.labeler for vote in counted}),
        rate=_over_prompts(counted, seed, resamples),
        rate_over_labelers=_over_both(counted, seed, resamples),
        decided=_decided(counts["a"], counts["b"], votes),
        ties=share_of("tie"),
        both_bad=share_of("both_bad"),
        side=_side(votes, seed, resamples),
        length=_length(votes, seed, resamples),
    )


def tally_by_cohort(
    votes: Sequence[Vote],
    *,
    both_bad: BothBad = "half",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, WinRate]:
    """The same of each cohort; the paper's training and held-out labelers gave nearly the same rates (Figure 3)."""
    return {
        cohort: tally(
            [vote for vote in votes if vote.cohort == cohort],
            both_bad=both_bad,
            seed=seed,
            resamples=resamples,
        )
        for cohort in sorted({vote.cohort for vote in votes})
    }


def _outcome(vote: Vote) -> float:
    return {"a": 1.0, "b": 0.0}.get(vote.choice, 0.5)


def _over_prompts(votes: Sequence[Vote], seed: int, resamples: int) -> Measure:
    if not votes:
        return undefined(NOTHING)
    index, prompts = numbered(vote.prompt for vote in votes)
    sums = np.bincount(index, weights=np.array([_outcome(vote) for vote in votes]))
    found = win_rate(sums / np.bincount(index), seed=seed, resamples=resamples)
    if len(prompts) < 2:
        return Measure(found.mean, None, None, len(votes), 1, ONE_CLUSTER)
    low, high = found.low, found.high
    if found.mean in (0.0, 1.0):  # all prompts say the same: see `measure.ratios`
        low, high = wilson(round(found.mean) * len(prompts), len(prompts))
    return Measure(found.mean, low, high, len(votes), len(prompts))


def _over_both(votes: Sequence[Vote], seed: int, resamples: int) -> Measure:
    """Prompts and labelers are drawn each on their own, and a vote counts as often as both were drawn.

    After Owen 2007, "The pigeonhole bootstrap": the labelers are the same on many prompts, so drawing votes anew
    within each prompt would not bring in any other labeler. It errs on the wide side.
    """
    if not votes:
        return undefined(NOTHING)
    rows, prompts = numbered(vote.prompt for vote in votes)
    columns, labelers = numbered(vote.labeler for vote in votes)
    shape = (len(prompts), len(labelers))
    weights = 1.0 / np.bincount(rows)[rows]  # each prompt counts once
    outcomes = np.array([_outcome(vote) for vote in votes])
    above, below = (
        summed(rows, columns, weights * outcomes, shape),
        summed(rows, columns, weights, shape),
    )
    value = float(above.sum() / below.sum())
    if min(shape) < 2:
        reason = ONE_CLUSTER if len(prompts) < 2 else ONE_LABELER
        return Measure(value, None, None, len(votes), len(prompts), reason)
    generator = np.random.default_rng(seed)
    found: list[Floats] = []
    for start in range(0, resamples, _BLOCK):
        count = min(_BLOCK, resamples - start)
        of_prompts, of_labelers = (times_drawn(generator, count, size) for size in shape)
        total = ((of_prompts @ below) * of_labelers).sum(axis=1)
        won = ((of_prompts @ above) * of_labelers).sum(axis=1)
        found.append(won[total > 0] / total[total > 0])
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return Measure(value, float(low), float(high), len(votes), len(prompts))


def _decided(won: int, lost: int, votes: Sequence[Vote]) -> Measure:
    if not won + lost:
        return undefined("undefined: no vote for either")
    low, high = wilson(won, won + lost)
    prompts = len({vote.prompt for vote in votes if vote.choice in ("a", "b")})
    return Measure(won / (won + lost), low, high, won + lost, prompts)


def _side(votes: Sequence[Vote], seed: int, resamples: int) -> SideBias:
    decided = [vote for vote in votes if vote.choice in ("a", "b")]
    left = [float((vote.choice == "a") == vote.is_a_left) for vote in decided]
    share = ratio(
        left,
        [1.0] * len(decided),
        [vote.prompt for vote in decided],
        seed=seed,
        resamples=resamples,
    )
    return SideBias(share, fair_coin_p(int(sum(left)), len(left)) if left else None)


def _length(votes: Sequence[Vote], seed: int, resamples: int) -> LengthEffect:
    rows = [
        (vote.prompt, vote.length_a, vote.length_b)
        if vote.choice == "a"
        else (vote.prompt, vote.length_b, vote.length_a)
        for vote in votes
        if vote.choice in ("a", "b") and vote.length_a is not None and vote.length_b is not None
    ]
    prompts = [prompt for prompt, _, _ in rows]
    winners, losers = [float(w or 0) for _, w, _ in rows], [float(x or 0) for _, _, x in rows]
    unequal = [float(w != x) for w, x in zip(winners, losers, strict=True)]
    longer = [float(w > x) for w, x in zip(winners, losers, strict=True)]

    def over(above: Sequence[float], below: Sequence[float], is_share: bool) -> Measure:
        return ratio(above, below, prompts, seed=seed, resamples=resamples, is_share=is_share)

    ones = [1.0] * len(rows)
    return LengthEffect(
        over(winners, ones, False), over(losers, ones, False), over(longer, unequal, True)
    )
