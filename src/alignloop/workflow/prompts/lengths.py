"""How lengths are spread: exact figures from counts per length, which can be added up over imports."""

from __future__ import annotations

import math
from collections.abc import Mapping

Histogram = Mapping[int, int]
"""Tokens -> how many are so long."""

QUANTILES = {"p25": 0.25, "p50": 0.5, "p75": 0.75}


def summary(histogram: Histogram) -> dict[str, float | int | None]:
    """Count, mean, standard deviation (of a sample), minimum, quartiles and maximum; null where nothing tells.

    Quartiles lie between two lengths where the count does not divide, as the usual tools have it.
    """
    count = sum(histogram.values())
    if not count:
        names = ("mean", "std", "min", *QUANTILES, "max")
        return {"count": 0, **dict.fromkeys(names)}
    lengths = sorted(histogram)
    mean = sum(length * histogram[length] for length in lengths) / count
    squares = sum(histogram[length] * (length - mean) ** 2 for length in lengths)
    return {
        "count": count,
        "mean": mean,
        "std": math.sqrt(squares / (count - 1)) if count > 1 else None,
        "min": lengths[0],
        **{name: _quantile(histogram, lengths, count, share) for name, share in QUANTILES.items()},
        "max": lengths[-1],
    }


def _quantile(histogram: Histogram, lengths: list[int], count: int, share: float) -> float:
    place = (count - 1) * share
    below = math.floor(place)
    low, high = (_nth(histogram, lengths, n) for n in (below, min(below + 1, count - 1)))
    return low + (high - low) * (place - below)


def _nth(histogram: Histogram, lengths: list[int], number: int) -> int:
    """The length of that number, from 0, where all are put in order."""
    seen = 0
    for length in lengths:
        seen += histogram[length]
        if seen > number:
            return length
    raise IndexError(number)
