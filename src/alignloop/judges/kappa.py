"""Cohen's kappa of two raters, and positive agreement for what is rarely said."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations

import numpy as np

from alignloop.judges.intervals import RESAMPLES
from alignloop.judges.krippendorff import NO_VARIANCE
from alignloop.judges.measure import (
    NOTHING,
    ONE_CLUSTER,
    Floats,
    Measure,
    bootstrap,
    numbered,
    ratio,
    undefined,
)

NEVER = "undefined: neither ever says yes"


def cohen_kappa(
    first: Sequence[Hashable | None],
    second: Sequence[Hashable | None],
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Measure:
    """Cohen's kappa (1960), (p_o - p_e) / (1 - p_e): agreement beyond what the two raters' own margins give.

    Args:
        first, second: the raters' labels of the same items in the same order, any codes; an item that one of them
            left out (None) is left out.
        clusters: the independent unit of each item (its prompt); the item itself where absent.
        seed: of the bootstrap over clusters.
        resamples: how many.

    Returns:
        Kappa, the number of items, and of clusters. Undefined where both always say one and the same thing.

    Raises:
        ValueError: the sequences differ in length.
    """
    owners: Sequence[Hashable] = range(len(first)) if clusters is None else clusters
    if not len(first) == len(second) == len(owners):
        raise ValueError("two labels and a cluster per item are needed")
    rows = [
        (a, b, owner)
        for a, b, owner in zip(first, second, owners, strict=True)
        if a is not None and b is not None
    ]
    if not rows:
        return undefined(NOTHING)
    codes, names = numbered(label for a, b, _ in rows for label in (a, b))
    owner, keys = numbered(cluster for *_, cluster in rows)
    size = len(names)
    if size < 2:
        return undefined(NO_VARIANCE, len(rows), len(keys))
    cells = codes[0::2] * size + codes[1::2]
    tables = np.bincount(owner * size**2 + cells, minlength=len(keys) * size**2)
    found = bootstrap(
        tables.reshape(len(keys), size**2).astype(np.float64),
        lambda sums: _kappas(sums, size),
        seed=seed,
        resamples=resamples,
    )
    value, low, high = (float(figures[0]) for figures in found)
    if len(keys) < 2:
        return Measure(value, None, None, len(rows), len(keys), ONE_CLUSTER)
    return Measure(value, low, high, len(rows), len(keys))


def cohen_kappas(
    labels: Mapping[str, Sequence[Hashable | None]],
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[tuple[str, str], Measure]:
    """Kappa of each two raters, from rater -> labels of the same items in the same order."""
    return {
        (a, b): cohen_kappa(labels[a], labels[b], clusters=clusters, seed=seed, resamples=resamples)
        for a, b in combinations(sorted(labels), 2)
    }


def positive_agreement(
    both: Sequence[float],
    one: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Measure:
    """2a / (2a + b + c): where one of two raters says yes, how often does the other?

    Args:
        both: a, per item or cell: pairs of raters who both say yes.
        one: b + c: pairs of whom one does.
        clusters: the independent unit of each item.
    """
    twice = 2.0 * np.asarray(both, dtype=np.float64)
    found = ratio(
        twice, twice + np.asarray(one, dtype=np.float64), clusters, seed=seed, resamples=resamples
    )
    return undefined(NEVER) if found.value is None else found


def _kappas(sums: Floats, size: int) -> Floats:
    """[tables, 1] from confusion tables [tables, size * size]; NaN where chance alone agrees always."""
    tables = sums.reshape(-1, size, size)
    total = tables.sum(axis=(1, 2))
    observed = np.trace(tables, axis1=1, axis2=2) / total
    expected = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1) / total**2
    beyond = 1.0 - expected
    return np.divide(
        observed - expected, beyond, out=np.full_like(total, np.nan), where=beyond > 0
    )[:, None]
