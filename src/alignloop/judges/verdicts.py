"""Verdicts on pairs of policies, whoever gave them: gathered by prompt, and win rates of them.

A prompt counts once, however many people judged it: their verdicts on it are averaged first. Prompts are the
independent units of the intervals, or the groups (users, titles) that they come in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alignloop.judges.intervals import LENGTH_BANDS, RESAMPLES
from alignloop.judges.measure import Measure, ratio


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one judge says of the answers of policies a and b to one prompt."""

    prompt: str
    a: str
    b: str
    outcome: float
    """1 where the answer of a is better, 0 where that of b is, 1/2 where neither is."""
    by: str = ""
    """Who judged."""
    cohort: str = ""
    """`training` or `heldout`; empty where the judge belongs to none."""
    length_a: float = 0.0
    length_b: float = 0.0
    """Of the two answers, in any one unit."""


@dataclass(frozen=True, slots=True)
class OnPrompt:
    """What all judges together say of two policies on one prompt, seen from the first."""

    outcome: float
    """Mean of their outcomes."""
    length_a: float
    length_b: float


Pair = tuple[str, str]
ByPrompt = Mapping[str, OnPrompt]


def gathered(verdicts: Iterable[Verdict]) -> dict[Pair, dict[str, OnPrompt]]:
    """Pair of policies -> prompt -> what was said; a pair stands once, as it first came, and its prompts in order."""
    found: dict[Pair, dict[str, list[OnPrompt]]] = {}
    for one in verdicts:
        pair, seen = (one.a, one.b), OnPrompt(one.outcome, one.length_a, one.length_b)
        if (one.b, one.a) in found:
            pair, seen = (one.b, one.a), turned(seen)
        found.setdefault(pair, {}).setdefault(one.prompt, []).append(seen)
    return {
        pair: {prompt: _mean(several) for prompt, several in of_pair.items()}
        for pair, of_pair in found.items()
    }


def seen_from(pairs: Mapping[Pair, ByPrompt], a: str, b: str) -> dict[str, OnPrompt]:
    """The prompts of one pair as `a` sees them, whichever way round the pair stands; empty where it was not judged."""
    if (a, b) in pairs:
        return dict(pairs[a, b])
    return {prompt: turned(one) for prompt, one in pairs.get((b, a), {}).items()}


def turned(one: OnPrompt) -> OnPrompt:
    """The same, seen from the other policy."""
    return OnPrompt(1.0 - one.outcome, one.length_b, one.length_a)


def rate(
    found: ByPrompt,
    clusters: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Measure:
    """Win rate over prompts, ties one half, with a 95 % bootstrap over clusters.

    Args:
        found: prompt -> what was said of it.
        clusters: prompt -> the unit that is drawn (its user, say); without it every prompt is one of its own.
    """
    outcomes = [one.outcome for one in found.values()]
    units = [prompt if clusters is None else clusters[prompt] for prompt in found]
    return ratio(outcomes, [1.0] * len(outcomes), units, seed=seed, resamples=resamples)


def of_like_length(found: ByPrompt, at_least: int = 100) -> tuple[dict[str, OnPrompt], float]:
    """The prompts on which both answers are nearly of one length, and the largest ratio of lengths that was let in.

    As `intervals.length_matched` does: the narrowest of its bands in which there are so many, or else the widest.
    """
    near: dict[str, OnPrompt] = {}
    for band in LENGTH_BANDS:
        near = {prompt: one for prompt, one in found.items() if _ratio(one) <= band + 1e-12}
        if len(near) >= at_least:
            return near, band
    return near, LENGTH_BANDS[-1]


def _ratio(one: OnPrompt) -> float:
    """Of the longer to the shorter length; an empty text counts as one unit."""
    lengths = max(one.length_a, 1.0), max(one.length_b, 1.0)
    return max(lengths) / min(lengths)


def _mean(several: list[OnPrompt]) -> OnPrompt:
    count = len(several)
    return OnPrompt(
        math.fsum(one.outcome for one in several) / count,
        math.fsum(one.length_a for one in several) / count,
        math.fsum(one.length_b for one in several) / count,
    )
