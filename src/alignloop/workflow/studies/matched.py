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
    wanted = np.broadcast_to(np.sqrt(at), len(distances))
    order = np.argsort(distances, axis=1, kind="stable")
    xs = np.take_along_axis(distances, order, axis=1)
    ys = np.take_along_axis(values, order, axis=1)
    found = [np.interp(x, row, of_row) for x, row, of_row in zip(wanted, xs, ys, strict=True)]
    return np.array(found, dtype=np.float64)


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
