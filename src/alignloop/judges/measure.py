"""A figure with its 95 % interval, or why there is none; and the bootstrap over clusters that gives it.

An `intervals.Estimate` always has a value. On the people's side an empty cell is ordinary: a labeler who shares no
task, a flag that was never set. A `Measure` says so in words, and never by NaN or by a figure that looks like one.

Everything here rests on tables of sums, one row per cluster (a task, a prompt), since sums may be added up again for
every resample and the figure, however it is made from them, be made anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from alignloop.judges.intervals import RESAMPLES
from alignloop.judges.proportions import wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Statistic = Callable[[Floats], Floats]
"""Sums [resamples, columns] to figures [resamples, figures]; NaN where a figure is undefined."""

K = TypeVar("K", bound=Hashable)

NOTHING = "undefined: nothing to count"
ONE_CLUSTER = "one task gives no interval"
_DRAWS_AT_ONCE = 2_000_000
"""Bounds the memory of a block of resamples: 16 MB of draws."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure, its 95 % interval, and what it rests on."""

    value: float | None
    """None where it is undefined; `reason` says why."""
    low: float | None
    high: float | None
    """Both None where there is no interval."""
    cases: float
    """What was counted: pairs, answers, votes."""
    clusters: int
    """Independent units behind it (tasks, prompts); the interval is drawn over them."""
    reason: str = ""
    """Why the value or the interval is missing; empty where both are there."""

    def __str__(self) -> str:
        if self.value is None:
            return self.reason
        if self.low is None or self.high is None:
            return f"{self.value:.3f} ({self.reason})"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def undefined(reason: str, cases: float = 0, clusters: int = 0) -> Measure:
    """A measure without a value."""
    return Measure(None, None, None, cases, clusters, reason)


def numbered(keys: Iterable[K]) -> tuple[Ints, list[K]]:
    """A number for each key, and the keys by number, in the order of their first appearance."""
    numbers: dict[K, int] = {}
    index = [numbers.setdefault(key, len(numbers)) for key in keys]
    return np.array(index, dtype=np.int64), list(numbers)


def listed(numbers: Ints | NDArray[np.int8]) -> list[int]:
    """An array as a list, for those who count in Python."""
    return cast(list[int], numbers.tolist())


def summed(rows: Ints, columns: Ints, values: Floats | Ints, shape: tuple[int, int]) -> Floats:
    """Values added up into a table: `values[i]` goes to (rows[i], columns[i])."""
    cells = rows * shape[1] + columns
    flat = np.bincount(cells, weights=values.astype(np.float64), minlength=shape[0] * shape[1])
    return flat.astype(np.float64).reshape(shape)


def times_drawn(generator: np.random.Generator, count: int, size: int) -> Floats:
    """How often each of `size` units is drawn in `size` draws, [count, size]."""
    draws = generator.integers(0, size, size=(count, size)) + np.arange(count)[:, None] * size
    times = np.bincount(draws.ravel(), minlength=count * size)
    return times.reshape(count, size).astype(np.float64)


def bootstrap(
    tables: Floats, statistic: Statistic, *, seed: int, resamples: int = RESAMPLES
) -> tuple[Floats, Floats, Floats]:
    """Figures, and the limits of their 95 % percentile intervals over resampled clusters.

    Args:
        tables: [clusters, columns], sums of each cluster.
        statistic: figures from columns that were added up over clusters.
        seed: of the resampling; the same seed gives the same intervals.
        resamples: how many.

    Returns:
        Three arrays [figures]: the figures of the data, lower and upper limits; NaN where a figure is undefined.
        Resamples in which a figure is undefined are left out of its interval.
    """
    figures = statistic(tables.sum(axis=0, keepdims=True))[0]
    clusters = len(tables)
    generator = np.random.default_rng(seed)
    block = max(_DRAWS_AT_ONCE // max(clusters, 1), 1)
    found: list[Floats] = []
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        draws = generator.integers(0, clusters, size=(count, clusters))
        draws += np.arange(count)[:, None] * clusters
        times = np.bincount(draws.ravel(), minlength=count * clusters).reshape(count, clusters)
        found.append(statistic(times.astype(np.float64) @ tables))
    drawn = np.concatenate(found)
    low, high = np.full_like(figures, np.nan), np.full_like(figures, np.nan)
    for number, column in enumerate(drawn.T):
        defined = column[~np.isnan(column)]
        if len(defined) and not math.isnan(figures[number]):
            low[number], high[number] = np.quantile(defined, [0.025, 0.975])
    return figures, low, high


def ratios(
    numerators: Floats,
    denominators: Floats,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    are_shares: bool = True,
    cases: Floats | None = None,
) -> list[Measure]:
    """Ratios of sums, several at once and over the same draws: shares, means, rates.

    A cluster weighs as much as is counted in it. Where every cluster says 1, or every one 0, the bootstrap knows
    nothing of what it has not seen and its interval has no width; a share then gets the Wilson interval of as many
    independent cases as there are clusters.

    Args:
        numerators, denominators: [clusters, figures].
        seed: of the resampling.
        resamples: how many.
        are_shares: whether the ratios lie in [0, 1] by their meaning.
        cases: [clusters, figures], what was counted, where that is not the denominators.
    """
    if not len(numerators):
        return [undefined(NOTHING) for _ in range(numerators.shape[1])]
    width = numerators.shape[1]

    def statistic(sums: Floats) -> Floats:
        below = sums[:, width:]
        quotient = np.full_like(below, np.nan)
        return np.divide(sums[:, :width], below, out=quotient, where=below > 0)

    tables = np.concatenate([numerators, denominators], axis=1)
    values, lows, highs = bootstrap(tables, statistic, seed=seed, resamples=resamples)
    counted = (denominators if cases is None else cases).sum(axis=0)
    found: list[Measure] = []
    for figure in range(width):
        above, below = numerators[:, figure], denominators[:, figure]
        clusters = int((below > 0).sum())
        number = float(counted[figure])
        if not clusters:
            found.append(undefined(NOTHING))
            continue
        value, low, high = (float(limits[figure]) for limits in (values, lows, highs))
        is_settled = bool((above == below).all() or (above == 0).all())
        if are_shares and is_settled:
            low, high = wilson(round(value) * clusters, clusters)
        elif clusters < 2:
            found.append(Measure(value, None, None, number, clusters, ONE_CLUSTER))
            continue
        found.append(Measure(value, low, high, number, clusters))
    return found


def ratio(
    numerators: Sequence[float] | Floats,
    denominators: Sequence[float] | Floats,
    clusters: Sequence[Hashable],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    is_share: bool = True,
) -> Measure:
    """One ratio of sums over items, each of a cluster.

    Raises:
        ValueError: the sequences differ in length.
    """
    if not len(numerators) == len(denominators) == len(clusters):
        raise ValueError("a numerator, a denominator and a cluster per item are needed")
    index, keys = numbered(clusters)
    zeros, shape = np.zeros_like(index), (len(keys), 1)
    above, below = (
        summed(index, zeros, np.asarray(values, dtype=np.float64), shape)
        for values in (numerators, denominators)
    )
    return ratios(above, below, seed=seed, resamples=resamples, are_shares=is_share)[0]
