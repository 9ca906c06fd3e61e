"""Methods compared at matched KL: a value read off each method's curve through the policies that it made.

A method that moves further from the reference may win more for that alone, so methods are compared where they are
equally far. Between neighbouring policies a value is linear in the square root of the KL, in which rewards rise about
linearly near the reference (Gao et al. 2022).
"""

from __future__ import annotations

import numpy as np

from alignloop.workflow.studies.effects import Floats

KL_GRID = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0)
"""Where tables compare methods, in nats per answer."""
UPPER_HALF = (0.5, 0.625, 0.75, 0.875, 1.0)
"""Shares of the furthest common distance at which two methods are compared: near 0 all methods are the reference."""


def values_at(kls: Floats, values: Floats, at: float | Floats) -> Floats:
    """The value of each curve at that KL, [curves]; beyond its last point a curve keeps the last point's value.

    Args:
        kls: [curves, points] in any order; an estimate below 0, which noise may bring, counts as 0.
        values: [curves, points].
        at: one KL for all curves, or one for each.
    """
    distances = np.sqrt(np.maximum(kls, 0.0))
    wanted = np.broadcast_to(np.sqrt(at), len(distances)).astype(np.float64)
    order = np.argsort(distances, axis=1, kind="stable")
    xs = np.take_along_axis(distances, order, axis=1)
    ys = np.take_along_axis(values, order, axis=1)
    # The segment that each curve is read in: the points at its ends are `left` and `left + 1`.
    left = np.clip((xs <= wanted[:, None]).sum(axis=1) - 1, 0, max(xs.shape[1] - 2, 0))[:, None]
    right = np.minimum(left + 1, xs.shape[1] - 1)
    (x0, x1), (y0, y1) = (
        (np.take_along_axis(a, left, axis=1)[:, 0], np.take_along_axis(a, right, axis=1)[:, 0])
        for a in (xs, ys)
    )
    width = x1 - x0
    share = np.divide(wanted - x0, width, out=np.zeros_like(width), where=width > 0)
    return y0 + np.clip(share, 0.0, 1.0) * (y1 - y0)


def reach(kls: Floats) -> Floats:
    """The largest KL of each curve, [curves]."""
    return np.maximum(kls, 0.0).max(axis=1)


def ahead(kls: Floats, values: Floats, other_kls: Floats, other_values: Floats) -> Floats:
    """By how much one method's values are above the other's, on average over the upper half of the way both went.

    The way is measured in the square root of the KL; it ends where the method that went less far ends.
    """
    end = np.minimum(reach(kls), reach(other_kls))
    differences = [
        values_at(kls, values, end * share**2) - values_at(other_kls, other_values, end * share**2)
        for share in UPPER_HALF
    ]
    return np.mean(differences, axis=0)


def from_zero(kls: Floats) -> Floats:
    """The same, the first policy of each curve being the reference, whose KL to itself is 0 whatever was measured."""
    return np.concatenate([np.zeros_like(kls[:, :1]), kls[:, 1:]], axis=1)
