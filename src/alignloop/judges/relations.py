"""Rankings as pair relations, many at once: +1 where the first of two items is better, -1 the second, 0 a tie."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Numbers = Ints | NDArray[np.float64]
Relations = NDArray[np.int8]
"""[..., pairs], pairs in the order of `pairs_of`."""


@cache
def pairs_of(k: int) -> tuple[Ints, Ints]:
    """The C(k, 2) pairs (first, second) of k items: (0, 1), (0, 2), ..., (k-2, k-1)."""
    first, second = np.triu_indices(k, 1)
    return first.astype(np.int64), second.astype(np.int64)


def by_rank(ranks: Numbers) -> Relations:
    """Relations from ranks [..., k]: the lower rank is better."""
    values = np.asarray(ranks, dtype=np.float64)
    first, second = pairs_of(values.shape[-1])
    difference = values[..., second] - values[..., first]
    return np.sign(difference, out=np.zeros(difference.shape), where=~np.isnan(difference)).astype(
        np.int8
    )


def by_score(scores: Numbers) -> Relations:
    """Relations from scores [..., k]: the higher score is better; NaN on either side is no relation, 0."""
    return np.negative(by_rank(scores))


def dense(ranks: Ints) -> Ints:
    """Ranks [..., k] numbered without gaps: 1, 2, 2, 4 is 1, 2, 2, 3."""
    order = np.argsort(ranks, axis=-1, kind="stable")
    in_order = np.take_along_axis(ranks, order, axis=-1)
    steps = np.concatenate(
        [np.ones_like(in_order[..., :1]), np.diff(in_order, axis=-1) > 0], axis=-1
    )
    found = np.empty_like(ranks)
    np.put_along_axis(found, order, np.cumsum(steps, axis=-1), axis=-1)
    return found


def spearman(a: Numbers, b: Numbers) -> NDArray[np.float64]:
    """Spearman's rank correlation of each row of a and b, [rows, k]; tied values share a rank; NaN if all are tied."""
    ranks = [_centred_midranks(np.asarray(values, dtype=np.float64)) for values in (a, b)]
    above = (ranks[0] * ranks[1]).sum(axis=-1)
    below = np.sqrt((ranks[0] ** 2).sum(axis=-1) * (ranks[1] ** 2).sum(axis=-1))
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _centred_midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Midrank less its mean: half of how many are smaller, less how many are larger."""
    return np.sign(values[..., :, None] - values[..., None, :]).sum(axis=-1) / 2.0
