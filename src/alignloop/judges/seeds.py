"""One figure under several seeds: its mean, and Student's 95 % interval over the seeds. Torch-free."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from alignloop.judges.measure import NOTHING, Measure, undefined

_QUANTILES = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)
"""The 0.975 quantile of Student's t at 1 to 9 degrees of freedom."""
MOST_SEEDS = len(_QUANTILES) + 1
ONE_SEED = "one seed gives no interval"


def over_seeds(values: Sequence[float]) -> Measure:
    """Mean of a value per seed; the interval says where the mean over many seeds may lie, if they spread normally.

    Raises:
        ValueError: more seeds than MOST_SEEDS.
    """
    count = len(values)
    if count > MOST_SEEDS:
        raise ValueError(f"{count} seeds; the table goes to {MOST_SEEDS}")
    if not count:
        return undefined(NOTHING)
    mean = statistics.fmean(values)
    if count == 1:
        return Measure(mean, None, None, 1, 1, ONE_SEED)
    half = _QUANTILES[count - 2] * statistics.stdev(values) / math.sqrt(count)
    return Measure(mean, mean - half, mean + half, count, count)
