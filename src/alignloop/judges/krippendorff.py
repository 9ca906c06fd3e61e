"""Krippendorff's alpha: nominal, ordinal or interval values, any number of raters, missing values. Float64.

    alpha = 1 - D_o / D_e

    o_ck = sum over units of (ordered pairs of values c, k given by different raters) / (values of the unit - 1)
    n_c  = sum over k of o_ck,   n = sum over c of n_c
    D_o  = sum over c, k of o_ck delta_ck / n
    D_e  = sum over c, k of (n_c n_k - [c = k] n_c) delta_ck / (n (n - 1))

    delta_ck  nominal   1 where c and k differ
              interval  (c - k)^2
              ordinal   (n_c / 2 + what lies between + n_k / 2)^2

After Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", whose data give 0.743, 0.815 and 0.849
(nominal, ordinal, interval). The package of that name on PyPI is under the GPL, which an Apache-2.0 project cannot
depend on lightly, and gives neither an interval nor a word for data without variance.

The coincidences o_ck of a cluster of units add up, so the bootstrap resamples clusters and makes alpha anew of each
sum. (Krippendorff's own bootstrap draws deviations one by one, and holds D_e fixed; it does not know clusters.)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

import numpy as np

from alignloop.judges.intervals import RESAMPLES
from alignloop.judges.measure import (
    ONE_CLUSTER,
    Floats,
    Ints,
    Measure,
    bootstrap,
    numbered,
    undefined,
)

Metric = Literal["nominal", "ordinal", "interval"]

NO_VARIANCE = "undefined: no variance"
NO_PAIR = "undefined: no unit has two values"


def alpha(
    units: Sequence[Hashable],
    values: Sequence[float],
    metric: Metric,
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Measure:
    """Alpha of values in long form: one row per value that a rater gave to a unit; a missing value has no row.

    Args:
        units: what each value was given to. Who gave it does not matter, as long as nobody rated a unit twice.
        values: numbers; under `nominal` any codes.
        metric: how far apart two values are.
        clusters: the independent unit that each row belongs to (the task of an item); the unit itself where absent.
        seed: of the bootstrap over clusters.
        resamples: how many.

    Returns:
        Alpha, its interval, the values that could be paired, and the clusters they come from. Where all those values
        are equal there is no variance to agree about: undefined, neither 0 nor 1.

    Raises:
        ValueError: the sequences differ in length, a value is not finite, or a unit lies in two clusters.
    """
    owners = units if clusters is None else clusters
    if not len(units) == len(values) == len(owners):
        raise ValueError("a unit, a value and a cluster per row are needed")
    if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
        raise ValueError("a value is not finite; leave the row of a missing value out")
    unit_of, unit_keys = numbered(units)
    cluster_of, cluster_keys = numbered(owners)
    codes, inverse = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)
    owner = np.zeros(len(unit_keys), dtype=np.int64)
    owner[unit_of] = cluster_of
    if (owner[unit_of] != cluster_of).any():
        raise ValueError("a unit lies in two clusters")
    counts = _value_counts(unit_of, inverse.astype(np.int64), len(unit_keys), len(codes))
    is_pairable = counts.sum(axis=1) > 1
    paired, used = float(counts[is_pairable].sum()), len(np.unique(owner[is_pairable]))
    if not paired:
        return undefined(NO_PAIR)
    if (counts[is_pairable].sum(axis=0) > 0).sum() < 2:
        return undefined(NO_VARIANCE, paired, used)
    tables = _coincidences(counts[is_pairable], owner[is_pairable], len(cluster_keys))
    tables = tables[np.unique(owner[is_pairable])]  # a cluster without a pair tells nothing
    found = bootstrap(
        tables, lambda sums: alphas(sums, codes, metric), seed=seed, resamples=resamples
    )
    value, low, high = (float(figures[0]) for figures in found)
    if used < 2:
        return Measure(value, None, None, paired, used, ONE_CLUSTER)
    return Measure(value, low, high, paired, used)


def alphas(coincidences: Floats, codes: Floats, metric: Metric) -> Floats:
    """Alpha of each coincidence matrix, [matrices, 1] from [matrices, codes * codes]; NaN without variance."""
    size = len(codes)
    observed = coincidences.reshape(-1, size, size)
    margins = observed.sum(axis=2)  # n_c, [matrices, codes]
    total = margins.sum(axis=1)
    distances = _distances(margins, codes, metric)
    chance = margins[:, :, None] * margins[:, None, :]
    diagonal = np.arange(size)
    chance[:, diagonal, diagonal] -= margins
    d_observed = (observed * distances).sum(axis=(1, 2)) * (total - 1)
    d_expected = (chance * distances).sum(axis=(1, 2))
    quotient = np.divide(
        d_observed, d_expected, out=np.full_like(total, np.nan), where=d_expected > 0
    )
    return (1.0 - quotient)[:, None]


def long_form(table: Iterable[Sequence[float | None]]) -> tuple[list[int], list[float]]:
    """Units and values of a table with a row per rater and a column per unit, None where a value is missing."""
    cells = [(unit, value) for row in table for unit, value in enumerate(row) if value is not None]
    return [unit for unit, _ in cells], [value for _, value in cells]


def _value_counts(unit_of: Ints, code_of: Ints, units: int, codes: int) -> Floats:
    """[units, codes]: how many raters gave the unit that value."""
    flat = np.bincount(unit_of * codes + code_of, minlength=units * codes)
    return flat.reshape(units, codes).astype(np.float64)


def _coincidences(counts: Floats, owner: Ints, clusters: int) -> Floats:
    """[clusters, codes * codes] of units with two values or more."""
    codes = counts.shape[1]
    found = np.zeros((clusters, codes, codes))
    weighted = counts / (counts.sum(axis=1, keepdims=True) - 1.0)
    for code in range(codes):  # a column at a time, to bound the memory
        pairs = weighted[:, code, None] * counts
        pairs[:, code] -= weighted[:, code]
        np.add.at(found[:, code], owner, pairs)
    return found.reshape(clusters, -1)


def _distances(margins: Floats, codes: Floats, metric: Metric) -> Floats:
    """delta_ck, [matrices or 1, codes, codes]."""
    if metric == "nominal":
        return 1.0 - np.eye(len(codes))[None]
    if metric == "interval":
        return ((codes[:, None] - codes[None, :]) ** 2)[None]
    middle = np.cumsum(margins, axis=1) - margins / 2.0
    return (middle[:, :, None] - middle[:, None, :]) ** 2
