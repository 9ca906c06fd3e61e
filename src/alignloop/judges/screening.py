"""Screening of labelers, as in the paper's B.1: four measures, soft cut-offs, a suggestion. A human decides.

The paper selected its training labelers by agreement with the researchers on what is sensitive (75 %), by agreement
with them on rankings (75 %), by the mean score of demonstrations written for sensitive prompts (6 of 7), and by the
topics and groups for which they said that they could spot sensitive speech. The last has no cut-off. Held-out
labelers were not screened at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alignloop.judges.agreement import Agreement, compare_ranks
from alignloop.judges.intervals import RESAMPLES
from alignloop.judges.kappa import positive_agreement
from alignloop.judges.measure import Measure, ratio

Verdict = Literal["passes", "below", "no answers"]
Suggestion = Literal["accept", "look closer", "decline", "incomplete"]


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """Soft cut-offs: a value that reaches one passes."""

    flags: float = 0.75
    """Agreement with the researchers on what is sensitive."""
    rankings: float = 0.75
    """Agreement with the researchers on rankings."""
    demonstrations: float = 6.0
    """Mean score of demonstrations, 1 to 7."""


@dataclass(frozen=True, slots=True)
class FlagAnswer:
    """Whether somebody called a text sensitive (or set another flag), and whether the researchers did."""

    text: str
    """Names the prompt or completion; several flags may be asked about one text."""
    answer: bool
    reference: bool


@dataclass(frozen=True, slots=True)
class RankingAnswer:
    """A ranking, and what the researchers make of the same items."""

    task: str
    ranks: tuple[int, ...]
    references: tuple[tuple[int, ...], ...]
    """One ranking per researcher."""


@dataclass(frozen=True, slots=True)
class GradedDemonstration:
    """One grader's score of a demonstration written for a sensitive prompt."""

    prompt: str
    score: float
    """1 to 7."""

    def __post_init__(self) -> None:
        if not 1 <= self.score <= 7:
            raise ValueError(f"prompt '{self.prompt}': a score goes from 1 to 7, not {self.score}")


@dataclass(frozen=True, slots=True)
class ScreeningAnswers:
    """What one person did in the screening."""

    flags: Sequence[FlagAnswer] = ()
    rankings: Sequence[RankingAnswer] = ()
    demonstrations: Sequence[GradedDemonstration] = ()
    topics: tuple[str, ...] = ()
    """Topics and groups for which the person says that they can spot sensitive speech."""


@dataclass(frozen=True, slots=True)
class Screened:
    """One measure beside its cut-off."""

    measure: Measure
    cutoff: float
    verdict: Verdict
    is_clear: bool
    """Whether the whole interval lies on the verdict's side of the cut-off."""


@dataclass(frozen=True, slots=True)
class ScreeningResult:
    """The four measures of one person, and what they suggest."""

    flags: Screened
    """Share of decisions on which person and researchers agree; interval over texts."""
    flags_positive: Measure
    """2a / (2a + b + c): who always says no agrees often where little is sensitive, and gets 0 here. No cut-off."""
    rankings: Screened
    """Share of pairs that both ordered and ordered alike; interval over tasks, all researchers together."""
    rankings_tie_aware: Measure
    """The same over all pairs, a tie against an order as one half: shows who ties nearly everything. No cut-off."""
    demonstrations: Screened
    """Mean score; interval over prompts."""
    topics: tuple[str, ...]
    suggestion: Suggestion
    why: str
    """One line for whoever decides."""


def screen(
    answers: ScreeningAnswers,
    cutoffs: Cutoffs | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> ScreeningResult:
    """Measure one person's answers.

    The suggestion is `incomplete` where one of the three measures has no answers, `accept` where all pass, `decline`
    where one is below its cut-off with its whole interval, and `look closer` where one is below but might pass by
    another draw of the same size.

    Raises:
        ValueError: a ranking and a researcher's have different numbers of items.
    """
    limits = cutoffs or Cutoffs()

    def over(above: Sequence[float], below: Sequence[float], units: Sequence[str]) -> Measure:
        return ratio(above, below, units, seed=seed, resamples=resamples)

    texts = [one.text for one in answers.flags]
    agreed = [float(one.answer == one.reference) for one in answers.flags]
    compared = [_compared(one) for one in answers.rankings]
    tasks = [one.task for one in answers.rankings]
    tie_aware = [one.same_order + one.both_ties + one.one_tie / 2 for one in compared]
    flags = _screened(over(agreed, [1.0] * len(texts), texts), limits.flags)
    rankings = _screened(
        over([one.same_order for one in compared], [one.ordered for one in compared], tasks),
        limits.rankings,
    )
    demonstrations = _screened(
        ratio(
            [one.score for one in answers.demonstrations],
            [1.0] * len(answers.demonstrations),
            [one.prompt for one in answers.demonstrations],
            seed=seed,
            resamples=resamples,
            is_share=False,
        ),
        limits.demonstrations,
    )
    suggestion, why = _suggested(
        {"flags": flags, "rankings": rankings, "demonstrations": demonstrations}
    )
    return ScreeningResult(
        flags=flags,
        flags_positive=positive_agreement(
            [float(one.answer and one.reference) for one in answers.flags],
            [float(one.answer != one.reference) for one in answers.flags],
            texts,
            seed=seed,
            resamples=resamples,
        ),
        rankings=rankings,
        rankings_tie_aware=over(tie_aware, [one.pairs for one in compared], tasks),
        demonstrations=demonstrations,
        topics=answers.topics,
        suggestion=suggestion,
        why=why,
    )


def _compared(answer: RankingAnswer) -> Agreement:
    return sum(
        (compare_ranks(answer.ranks, reference) for reference in answer.references), Agreement()
    )


def _screened(measure: Measure, cutoff: float) -> Screened:
    if measure.value is None:
        return Screened(measure, cutoff, "no answers", False)
    if measure.value >= cutoff:
        return Screened(
            measure, cutoff, "passes", measure.low is not None and measure.low >= cutoff
        )
    return Screened(measure, cutoff, "below", measure.high is not None and measure.high < cutoff)


def _suggested(screened: dict[str, Screened]) -> tuple[Suggestion, str]:
    missing = [name for name, one in screened.items() if one.verdict == "no answers"]
    clear = [name for name, one in screened.items() if one.verdict == "below" and one.is_clear]
    below = [name for name, one in screened.items() if one.verdict == "below"]
    if missing:
        return "incomplete", f"nothing to measure: {', '.join(missing)}"
    if clear:
        return "decline", f"clearly below the cut-off: {', '.join(clear)}"
    if below:
        return "look closer", f"below the cut-off, but the interval holds it: {', '.join(below)}"
    return "accept", "all three measures reach their cut-offs"
