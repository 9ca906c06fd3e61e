"""Effects inside one seed: a statistic of measures' means, and its bootstrap over the prompts that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from alignloop.judges.intervals import RESAMPLES, Estimate
from alignloop.judges.measure import bootstrap

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Means [resamples, columns] to one figure each, [resamples]."""


def effect_of(
    columns: Sequence[Sequence[float]],
    statistic: Statistic,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A statistic of column means, with a 95 % percentile bootstrap over the rows.

    A resample draws rows, with all of their columns, and makes the statistic anew of the means. So it may be anything:
    a difference, a ratio, a smallest step, a value read off a curve whose points move too.

    Args:
        columns: measures of the same prompts (or titles) in the same order, each of one policy.
        seed: of the resampling; the same seed gives the same interval.
        resamples: how many.

    Raises:
        ValueError: there are no rows, or the columns differ in length.
    """
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError("columns of the same prompts are needed, and at least one prompt")
    table = np.column_stack([*columns, np.ones(lengths.pop())]).astype(np.float64)

    def of_sums(sums: Floats) -> Floats:
        return statistic(sums[:, :-1] / sums[:, -1:])[:, None]

    values, low, high = bootstrap(table, of_sums, seed=seed, resamples=resamples)
    return Estimate(float(values[0]), float(low[0]), float(high[0]), len(table))


def weighted(
    columns: Sequence[Sequence[float]], weights: Sequence[float], *, seed: int
) -> Estimate:
    """The weighted sum of column means: `(1, -1)` is the first less the second, paired by prompt."""
    return effect_of(columns, weighted_sum(weights), seed=seed)


def weighted_sum(weights: Sequence[float]) -> Statistic:
    """The statistic that adds up column means, each times its weight."""
    return lambda means: means @ np.array(weights, dtype=np.float64)


def smallest_fall(means: Floats) -> Floats:
    """The smallest fall from one column to the next, [resamples]: above 0 where each is below the one before."""
    return (means[:, :-1] - means[:, 1:]).min(axis=1)
