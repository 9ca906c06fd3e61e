"""Win rates and differences with 95 % bootstrap intervals, and win rates at equal length."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Lengths = Sequence[int] | NDArray[np.int64]
"""In tokens, one per pair."""

RESAMPLES = 4000
"""Bootstrap resamples, unless told otherwise."""
LENGTH_BANDS = (1.1, 1.25, 1.5, 2.0)
"""Largest ratio of the longer text's length to the shorter's, tried until enough pairs are left."""

_BLOCK = 500


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int
    """Number of independent units (prompts or titles) behind it."""


@dataclass(frozen=True, slots=True)
class LengthEstimate:
    """A win rate with the effect of length taken out."""

    estimate: Estimate
    band: float
    """Largest ratio of lengths that was let in."""
    share: float
    """Share of all pairs that were used."""


def win_rate(
    outcomes: Sequence[float] | Floats, *, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Mean verdict with a 95 % percentile bootstrap over prompts.

    Args:
        outcomes: one number in [0, 1] per prompt: 1 won, 0 lost, ties 1/2, several judges' verdicts
            their mean.
        seed: of the resampling; the same seed gives the same interval.
        resamples: how many.

    Raises:
        ValueError: there are no outcomes, or one is outside [0, 1].
    """
    values = np.asarray(outcomes, dtype=np.float64)
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError("an outcome is a number from 0 (lost) to 1 (won)")
    return _bootstrap(values, seed, resamples)


def length_matched(
    outcomes: Sequence[float] | Floats,
    lengths_a: Lengths,
    lengths_b: Lengths,
    *,
    at_least: int = 100,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> LengthEstimate:
    """Win rate over the pairs of nearly the same length.

    The longer text may be up to 1.1 times as long as the shorter; where fewer than `at_least` pairs
    are, 1.25, 1.5 and 2.0 are tried in turn, and the band that was used is part of the answer.

    Raises:
        ValueError: the sequences differ in length, or no pair lies within the widest band.
    """
    values, ratios = _with_ratios(outcomes, lengths_a, lengths_b)
    for band in LENGTH_BANDS:
        is_near = np.abs(ratios) <= math.log(band) + 1e-12
        if is_near.sum() >= at_least or band == LENGTH_BANDS[-1]:
            estimate = win_rate(values[is_near], seed=seed, resamples=resamples)
            return LengthEstimate(estimate, band, float(is_near.mean()))
    raise AssertionError("unreachable")


def paired_bootstrap(
    a: Sequence[float] | Floats,
    b: Sequence[float] | Floats,
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean difference a - b over groups, with a 95 % bootstrap over the groups: the alignment tax, say.

    Args:
        a, b: a number for the same items under two models (the loss of each held-out text, in nats
            per token).
        groups: the unit that each item belongs to (its title); items of a title are not
            independent, titles are, and each counts once.
        seed: of the resampling.
        resamples: how many.

    Raises:
        ValueError: there are no items, or the sequences differ in length.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not len(first) == len(second) == len(groups):
        raise ValueError("one number of each side and one group per item are needed")
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
    differences = np.bincount(index, weights=first - second) / np.bincount(index)
    return _bootstrap(differences, seed, resamples)


def pooled(
    values: Sequence[float] | Floats,
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean over all items, with a 95 % bootstrap over the groups that they come in: pair accuracy over prompts, say.

    A resample draws whole groups and divides the sum of their items by their number, so a group of many items weighs
    more, in the mean and in every resample.

    Args:
        values: a number per item.
        groups: the independent unit that each item belongs to.

    Raises:
        ValueError: there are no items, or the sequences differ in length.
    """
    items = np.asarray(values, dtype=np.float64)
    if len(items) != len(groups):
        raise ValueError("one group per item is needed")
    if not len(items):
        raise ValueError("nothing to average: no unit is left")
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
    sums, counts = np.bincount(index, weights=items), np.bincount(index)
    generator = np.random.default_rng(seed)
    means: list[Floats] = []
    for start in range(0, resamples, _BLOCK):
        draw = generator.integers(0, len(sums), size=(min(_BLOCK, resamples - start), len(sums)))
        means.append(sums[draw].sum(axis=1) / counts[draw].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Estimate(float(items.mean()), float(low), float(high), len(sums))


def _bootstrap(values: Floats, seed: int, resamples: int) -> Estimate:
    """Mean of independent units, and the percentile interval of its resamples."""
    if not len(values):
        raise ValueError("nothing to average: no unit is left")
    generator = np.random.default_rng(seed)
    means: list[Floats] = []
    for start in range(0, resamples, _BLOCK):  # in blocks, to bound the memory
        draw = generator.integers(
            0, len(values), size=(min(_BLOCK, resamples - start), len(values))
        )
        means.append(values[draw].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def _with_ratios(
    outcomes: Sequence[float] | Floats, lengths_a: Lengths, lengths_b: Lengths
) -> tuple[Floats, Floats]:
    """Outcomes, and the logarithm of length a over length b (an empty text counts as one token)."""
    values = np.asarray(outcomes, dtype=np.float64)
    if not len(values) == len(lengths_a) == len(lengths_b):
        raise ValueError("one outcome and two lengths per pair are needed")
    own = np.maximum(np.asarray(lengths_a, dtype=np.float64), 1.0)
    return values, np.log(own / np.maximum(np.asarray(lengths_b, dtype=np.float64), 1.0))
