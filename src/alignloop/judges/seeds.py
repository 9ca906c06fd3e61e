"""One figure under several seeds: its mean, and Student's 95 % interval over the seeds. Torch-free."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from alignloop.errors import ConfigError
from alignloop.judges.measure import NOTHING, Measure, undefined

QUANTILES = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930,
)  # fmt: skip
"""The 0.975 quantile of Student's t at 1 to 19 degrees of freedom."""
MOST_SEEDS = len(QUANTILES) + 1
ONE_SEED = "one seed gives no interval"


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % t interval, of two values or more: one per seed.

    It says where the mean over many seeds may lie, if they spread normally.

    Raises:
        ConfigError: more seeds than the table of quantiles goes.
        ValueError: fewer than two.
    """
    count = len(values)
    if count < 2:
        raise ValueError("one value has no spread")
    if count > MOST_SEEDS:
        raise ConfigError(f"{count} seeds; at most {MOST_SEEDS} are of use: give a smaller --seeds")
    mean = statistics.fmean(values)
    half = QUANTILES[count - 2] * statistics.stdev(values) / math.sqrt(count)
    return mean, mean - half, mean + half


def over_seeds(values: Sequence[float]) -> Measure:
    """The same as a measure, of any number of values; one has no interval, and none is no measure.

    Raises:
        ConfigError: as `t_interval`.
    """
    count = len(values)
    if not count:
        return undefined(NOTHING)
    if count == 1:
        return Measure(values[0], None, None, 1, 1, ONE_SEED)
    return Measure(*t_interval(values), count, count)
