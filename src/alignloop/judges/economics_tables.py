"""What labels cost as measured: a table by K, the break-even of two Ks, demonstrations against rankings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alignloop.judges import economics
from alignloop.judges.intervals import RESAMPLES
from alignloop.judges.judgment import Judgment
from alignloop.judges.measure import (
    Floats,
    Measure,
    bootstrap,
    numbered,
    ratio,
    ratios,
    summed,
    undefined,
)

Answer = Literal["larger", "smaller", "undecided", "unknown"]
"""Which K gives more in an hour; `undecided` where the interval holds the break-even, `unknown` without data."""

NO_TIME = "undefined: no ranking of this K was timed"


@dataclass(frozen=True, slots=True)
class TimedRanking:
    """A ranking, as far as its cost goes."""

    task: str
    """What intervals are drawn over: the task, or its prompt where several tasks share one."""
    labeler: str
    k: int
    seconds: float
    """Whatever is paid for: active time, or the whole time on the page."""
    tied_pairs: int

    def __post_init__(self) -> None:
        if self.seconds <= 0 or not 0 <= self.tied_pairs <= economics.pairs(self.k):
            raise ValueError(
                f"task '{self.task}': {self.seconds} s and {self.tied_pairs} tied pairs of {self.k} items cannot be"
            )


@dataclass(frozen=True, slots=True)
class CostOfK:
    """One row of the table: everything per paid hour, with intervals over tasks."""

    k: int
    pairs: int
    """C(k, 2)."""
    bits: float
    """log2 of the number of weak orders, an upper limit."""
    rankings: int
    seconds: Measure
    """Mean time of a ranking."""
    tie_rate: Measure
    """Tied pairs, of all pairs."""
    pairs_per_hour: Measure
    ordered_pairs_per_hour: Measure
    """Without ties, which the reward model does not learn from."""
    bits_per_hour: Measure
    cost_per_pair: Measure
    """Of a pair that was ordered, in the currency of the wage."""


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Which of two Ks gives more in an hour."""

    large: int
    small: int
    time_ratio: Measure
    """Mean time of a ranking of `large` items over that of `small`; interval over tasks."""
    by_pairs: float
    """The larger K gives more pairs per hour while the ratio is below this."""
    more_pairs: Answer
    by_bits: float
    """The larger K gives more bits per hour while the ratio is below this."""
    more_bits: Answer


@dataclass(frozen=True, slots=True)
class LabelCosts:
    """A demonstration against a ranking against a comparison (S3.1: answers are dear to write, cheap to rank)."""

    demonstration: Measure
    ranking: Measure
    comparison: Measure
    """Of a pair that was ordered."""
    rankings_per_demonstration: float | None
    """Rankings that one demonstration's money buys; None where one of the two is unknown."""
    comparisons_per_demonstration: float | None


def timed(judgments: Iterable[Judgment]) -> list[TimedRanking]:
    """The judgments whose time is known; repeats count, since they are paid."""
    found: list[TimedRanking] = []
    for one in judgments:
        if one.seconds is not None and one.seconds > 0:
            groups = np.unique(np.array(one.ranks), return_counts=True)[1]
            tied = int((groups * (groups - 1) // 2).sum())
            found.append(TimedRanking(one.cluster, one.labeler, len(one.ranks), one.seconds, tied))
    return found


def cost_table(
    rankings: Sequence[TimedRanking],
    wage: float,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[int, CostOfK]:
    """A row per K, of whatever rankings are given: of one labeler, or of all.

    Rates are ratios of sums, all pairs over all time. The labelers must have met every K, and tasks come to a K by
    chance; else the table compares people or prompts.

    Args:
        rankings: timed ones.
        wage: cost of an hour.
        seed: of the bootstrap over tasks.
        resamples: how many.

    Raises:
        ValueError: the wage is negative.
    """
    if wage < 0:
        raise ValueError("a wage cannot be negative")
    groups, ks = numbered(one.k for one in rankings)
    clusters, tasks = numbered(one.task for one in rankings)
    if not ks:
        return {}
    shape = (len(tasks), len(ks))

    def table(values: Sequence[float]) -> Floats:
        return summed(clusters, groups, np.array(values, dtype=np.float64), shape)

    hours = table([one.seconds / economics.SECONDS_PER_HOUR for one in rankings])
    every = table([economics.pairs(one.k) for one in rankings])
    ties = table([one.tied_pairs for one in rankings])
    told = table([economics.bits(one.k) for one in rankings])
    count = table([1.0] * len(rankings))
    columns = [
        (hours * economics.SECONDS_PER_HOUR, count),
        (every, hours),
        (every - ties, hours),
        (told, hours),
        (wage * hours, every - ties),
    ]
    seconds, raw, ordered, bits, cost = _several(
        columns, [count, every, every - ties, count, every - ties], seed, resamples
    )
    tie_rate = ratios(ties, every, seed=seed, resamples=resamples)
    rows = {
        k: CostOfK(
            k=k,
            pairs=economics.pairs(k),
            bits=economics.bits(k),
            rankings=int(count[:, at].sum()),
            seconds=seconds[at],
            tie_rate=tie_rate[at],
            pairs_per_hour=raw[at],
            ordered_pairs_per_hour=ordered[at],
            bits_per_hour=bits[at],
            cost_per_pair=cost[at],
        )
        for at, k in enumerate(ks)
    }
    return dict(sorted(rows.items()))


def cost_table_by_labeler(
    rankings: Sequence[TimedRanking], wage: float, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict[int, CostOfK]]:
    """The table of each labeler."""
    return {
        name: cost_table(
            [one for one in rankings if one.labeler == name], wage, seed=seed, resamples=resamples
        )
        for name in sorted({one.labeler for one in rankings})
    }


def break_even(
    rankings: Sequence[TimedRanking],
    large: int = 9,
    small: int = 4,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> BreakEven:
    """Compare two Ks by the measured ratio of their times.

    Raises:
        ValueError: `large` is not above `small`, or that is below 2.
    """
    if large <= small:
        raise ValueError(f"the larger K comes first: {large} is not above {small}")
    by_pairs = economics.break_even_by_pairs(large, small)
    by_bits = economics.break_even_by_bits(large, small)
    measured = _time_ratio(rankings, large, small, seed, resamples)
    return BreakEven(
        large=large,
        small=small,
        time_ratio=measured,
        by_pairs=by_pairs,
        more_pairs=_answer(measured, by_pairs),
        by_bits=by_bits,
        more_bits=_answer(measured, by_bits),
    )


def label_costs(
    demonstrations: Sequence[tuple[str, float]],
    rankings: Sequence[TimedRanking],
    wage: float,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> LabelCosts:
    """Costs of the three kinds of label.

    Args:
        demonstrations: (prompt, seconds) of each that was written.
        rankings: timed ones, of any K.
        wage: cost of an hour.
        seed: of the bootstrap, over prompts and over tasks.
        resamples: how many.

    Raises:
        ValueError: the wage is negative.
    """
    if wage < 0:
        raise ValueError("a wage cannot be negative")
    per_second = wage / economics.SECONDS_PER_HOUR
    tasks = [one.task for one in rankings]
    spent = [per_second * one.seconds for one in rankings]

    def mean(values: Sequence[float], per: Sequence[float], units: Sequence[str]) -> Measure:
        return ratio(values, per, units, seed=seed, resamples=resamples, is_share=False)

    demonstration = mean(
        [per_second * seconds for _, seconds in demonstrations],
        [1.0] * len(demonstrations),
        [prompt for prompt, _ in demonstrations],
    )
    ranking = mean(spent, [1.0] * len(rankings), tasks)
    comparison = mean(spent, [economics.pairs(one.k) - one.tied_pairs for one in rankings], tasks)
    return LabelCosts(
        demonstration=demonstration,
        ranking=ranking,
        comparison=comparison,
        rankings_per_demonstration=_over(demonstration, ranking),
        comparisons_per_demonstration=_over(demonstration, comparison),
    )


def _several(
    columns: Sequence[tuple[Floats, Floats]], cases: Sequence[Floats], seed: int, resamples: int
) -> list[list[Measure]]:
    """The ratios of each pair of tables [tasks, ks], over one set of draws."""
    width = columns[0][0].shape[1]
    found = ratios(
        np.concatenate([above for above, _ in columns], axis=1),
        np.concatenate([below for _, below in columns], axis=1),
        seed=seed,
        resamples=resamples,
        are_shares=False,
        cases=np.concatenate(list(cases), axis=1),
    )
    return [found[at : at + width] for at in range(0, len(found), width)]


def _time_ratio(
    rankings: Sequence[TimedRanking], large: int, small: int, seed: int, resamples: int
) -> Measure:
    chosen = [one for one in rankings if one.k in (large, small)]
    clusters, tasks = numbered(one.task for one in chosen)
    is_small = np.array([one.k == small for one in chosen], dtype=np.int64)
    counts = np.bincount(is_small, minlength=2) if chosen else np.zeros(2, dtype=np.int64)
    if not counts.all():
        return undefined(NO_TIME, float(counts.sum()), len(tasks))
    shape = (len(tasks), 2)
    seconds = summed(clusters, is_small, np.array([one.seconds for one in chosen]), shape)
    number = summed(clusters, is_small, np.ones(len(chosen)), shape)

    def statistic(sums: Floats) -> Floats:
        found = np.full((len(sums), 1), np.nan)
        has_both = (sums[:, 2] > 0) & (sums[:, 3] > 0)
        means = sums[has_both, :2] / sums[has_both, 2:]
        found[has_both, 0] = means[:, 0] / means[:, 1]
        return found

    tables = np.concatenate([seconds, number], axis=1)
    value, low, high = (
        float(figures[0])
        for figures in bootstrap(tables, statistic, seed=seed, resamples=resamples)
    )
    return Measure(value, low, high, float(counts.sum()), len(tasks))


def _answer(ratio_: Measure, limit: float) -> Answer:
    if ratio_.low is None or ratio_.high is None:
        return "unknown"
    if ratio_.high < limit:
        return "larger"
    return "smaller" if ratio_.low > limit else "undecided"


def _over(a: Measure, b: Measure) -> float | None:
    return a.value / b.value if a.value is not None and b.value else None
