"""What a win rate would be between answers of equal length, and how far scores go with length.

Judges of all kinds like length. A logistic regression of the verdict on the difference of lengths says how much of a
win rate that is; its value at no difference is the length-controlled win rate. The idea, and the hyperbolic tangent
that lets a very long answer gain no more than a long one, are those of AlpacaEval's (Dubois et al. 2024).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from alignloop.judges.intervals import RESAMPLES
from alignloop.judges.measure import (
    NOTHING,
    ONE_CLUSTER,
    Floats,
    Measure,
    bootstrap,
    numbered,
    ratio,
    summed,
    times_drawn,
    undefined,
)

ALWAYS_LONGER = (
    "undefined: one side's answers are always longer, so nothing is seen at equal length"
)
ALL_ALIKE = "undefined: all prompts say the same"
EQUAL_LENGTHS = "undefined: all differences of length are the same"
NO_SPREAD = "undefined: scores or lengths are all equal"

_STEPS = 100
_LONGEST_STEP = 2.0
_LIMIT = 200.0
_CLOSE = 1e-10
_DRAWS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """A win rate at equal length, and what length does."""

    rate: Measure
    """sigmoid(alpha): the win rate at no difference of length; interval over prompts."""
    effect: Measure
    """phi, in log-odds: what an answer gains that is longer by far (tanh = 1); below 0 the shorter one gains."""
    longer: Measure
    """Share of prompts on which the answer of a is the longer one, of those with a difference."""


def length_controlled(
    outcomes: Sequence[float] | Floats,
    lengths_a: Sequence[float] | Floats,
    lengths_b: Sequence[float] | Floats,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> LengthControlled:
    """Fit P(a wins) = sigmoid(alpha + phi * tanh(d / s)), d = length a - length b and s its standard deviation.

    An outcome may be any number from 0 to 1 (a tie, a mean over judges). phi has the weak prior that one more prompt
    with tanh = 1, half won and half lost, would be (a log-F(1, 1) prior, Greenland and Mansournia 2015); without it
    there would be no finite fit where length alone decides. alpha has none.

    Args:
        outcomes: one number in [0, 1] per prompt.
        lengths_a, lengths_b: in any one unit.
        seed: of the resampling.
        resamples: how many.

    Raises:
        ValueError: the sequences differ in length.
    """
    values = np.asarray(outcomes, dtype=np.float64)
    if not len(values) == len(lengths_a) == len(lengths_b):
        raise ValueError("one outcome and two lengths per prompt are needed")
    ahead = np.asarray(lengths_a, dtype=np.float64) - np.asarray(lengths_b, dtype=np.float64)
    count, unequal = len(values), (ahead != 0).astype(np.float64)
    longer = ratio(
        (ahead > 0).astype(np.float64), unequal, range(count), seed=seed, resamples=resamples
    )
    if not count:
        return LengthControlled(undefined(NOTHING), undefined(NOTHING), longer)
    reason = ""
    if (values == values[0]).all() and values[0] in (0.0, 1.0):
        reason = ALL_ALIKE
    elif ahead.min() > 0 or ahead.max() < 0:
        reason = ALWAYS_LONGER
    if reason:
        lost = undefined(reason, count, count)
        return LengthControlled(lost, lost, longer)
    spread = float(ahead.std())
    no_effect = None if spread > 0 else undefined(EQUAL_LENGTHS, count, count)
    bent = np.tanh(ahead / spread) if spread > 0 else np.zeros(count)
    [[alpha, phi]] = fitted(bent, values, np.ones((1, count)))
    if count < 2:
        return LengthControlled(
            Measure(_sigmoid(alpha), None, None, count, count, ONE_CLUSTER),
            no_effect or Measure(float(phi), None, None, count, count, ONE_CLUSTER),
            longer,
        )
    generator, drawn = np.random.default_rng(seed), list[Floats]()
    block = max(_DRAWS_AT_ONCE // count, 1)
    for start in range(0, resamples, block):
        times = times_drawn(generator, min(block, resamples - start), count)
        drawn.append(fitted(bent, values, times))
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975], axis=0)
    return LengthControlled(
        Measure(_sigmoid(alpha), _sigmoid(low[0]), _sigmoid(high[0]), count, count),
        no_effect or Measure(float(phi), float(low[1]), float(high[1]), count, count),
        longer,
    )


def fitted(bent: Floats, outcomes: Floats, times: Floats) -> Floats:
    """(alpha, phi) for each row of weights: [n], [n], [resamples, n] -> [resamples, 2], by Newton's method."""
    found = np.zeros((len(times), 2), dtype=np.float64)
    squared = bent * bent
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-(found[:, :1] + found[:, 1:] * bent)))
        missed = times * (outcomes - chance)
        weight = times * chance * (1.0 - chance)
        prior = 1.0 / (1.0 + np.exp(-found[:, 1]))
        gradient = np.stack([missed.sum(axis=1), missed @ bent + 0.5 - prior], axis=1)
        crossed = weight @ bent
        # A crumb keeps the first row solvable where a resample has all of one kind.
        first, last = weight.sum(axis=1) + 1e-9, weight @ squared + prior * (1.0 - prior)
        determinant = first * last - crossed * crossed
        step = (
            np.stack(
                [
                    last * gradient[:, 0] - crossed * gradient[:, 1],
                    first * gradient[:, 1] - crossed * gradient[:, 0],
                ],
                axis=1,
            )
            / determinant[:, None]
        )
        longest = np.abs(step).max(axis=1, keepdims=True)
        step *= np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))
        before = found
        found = np.clip(before + step, -_LIMIT, _LIMIT)
        if np.abs(found - before).max() < _CLOSE:
            break
    return found


def length_correlation(
    scores: Sequence[float],
    lengths: Sequence[float],
    prompts: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Measure:
    """Pearson's correlation of scores with lengths over answers, with a 95 % bootstrap over prompts.

    Raises:
        ValueError: the sequences differ in length.
    """
    if not len(scores) == len(lengths) == len(prompts):
        raise ValueError("a score, a length and a prompt per answer are needed")
    if not len(scores):
        return undefined(NOTHING)
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(lengths, dtype=np.float64)
    x, y = x - x.mean(), y - y.mean()  # sums of squares of large numbers would lose digits
    index, keys = numbered(prompts)
    columns = [np.ones_like(x), x, y, x * x, y * y, x * y]
    zeros = np.zeros_like(index)
    tables = np.concatenate(
        [summed(index, zeros, column, (len(keys), 1)) for column in columns], axis=1
    )

    def statistic(sums: Floats) -> Floats:
        n, sx, sy, sxx, syy, sxy = sums.T
        of_x, of_y = sxx - sx * sx / n, syy - sy * sy / n
        below = np.sqrt(np.maximum(of_x, 0.0) * np.maximum(of_y, 0.0))
        quotient = np.full_like(below, np.nan)
        np.divide(sxy - sx * sy / n, below, out=quotient, where=below > 1e-12 * n)
        return np.clip(quotient, -1.0, 1.0)[:, None]

    value, low, high = (
        float(one[0]) for one in bootstrap(tables, statistic, seed=seed, resamples=resamples)
    )
    if value != value:
        return undefined(NO_SPREAD, len(x), len(keys))
    if len(keys) < 2 or low != low:
        return Measure(value, None, None, len(x), len(keys), ONE_CLUSTER)
    return Measure(value, low, high, len(x), len(keys))


def _sigmoid(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-value)))
