"""Pairwise agreement of many labelers, with intervals: overall, by labeler, cohort, K and distance.

`compare_all` counts once, by matrix products; the other functions add the counts up in different ways. Shares are
ratios of sums (a task with more pairs weighs more), and intervals resample tasks, those of one prompt together, since
the pairs of a task, and the labelers' answers to it, are not independent. The panel of labelers is held fixed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from alignloop.judges import relations
from alignloop.judges.agreement import Agreement
from alignloop.judges.intervals import RESAMPLES
from alignloop.judges.judgment import Judgment, by_task, without_repeats
from alignloop.judges.measure import Floats, Ints, Measure, listed, numbered, ratios, summed

G = TypeVar("G", bound=Hashable)

_ORDERED, _SAME, _ONE_TIE, _BOTH_TIES = range(4)
"""Columns of `Comparisons.counts`, as the fields of `Agreement`."""


_GROUPS_AT_ONCE = 200
"""Bounds the memory of a table of tasks by groups."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Every two judgments of one task by two labelers, and what their rankings have in common."""

    judgments: tuple[Judgment, ...]
    """Without repeats, by task."""
    tasks: tuple[str, ...]
    """Those that two labelers or more judged."""
    cluster: Ints
    """[tasks], a number for the prompt of each: what intervals resample."""
    task: Ints
    """[comparisons], a place in `tasks`; the other arrays go with it."""
    first: Ints
    second: Ints
    """Places in `judgments`."""
    counts: Ints
    """[comparisons, 4]: pairs of items that both ordered, that they ordered alike, one tie, both ties."""
    by_distance: Ints
    """[tasks, distances, 4]: the same of the pairs that one labeler put so many ranks apart, over each labeler and each
    other labeler; a comparison counts once from either side."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Agreement in its two definitions, and the counts behind them."""

    strict: Measure
    """Over the pairs that both ordered, as in the paper and in Stiennon et al. 2020, C.2."""
    tie_aware: Measure
    """Over all pairs: two ties agree, a tie and an order agree by half."""
    counts: Agreement


def compare_all(judgments: Iterable[Judgment]) -> Comparisons:
    """Compare every two labelers on every task that both judged; of repeats the first judgment counts.

    Raises:
        ValueError: two judgments of one task rank different numbers of items.
    """
    grouped = by_task(without_repeats(judgments))
    kept: list[Judgment] = []
    tasks: list[str] = []
    prompts: list[str] = []
    batches: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for task, of_task in grouped.items():
        if len(of_task) > 1:
            batches[len(of_task), len(of_task[0].ranks)].append((len(tasks), len(kept)))
            tasks.append(task)
            prompts.append(of_task[0].cluster)
        kept += of_task
    largest = max((k for _, k in batches), default=2)
    by_distance = np.zeros((len(tasks), largest, 4), dtype=np.int64)
    found: list[tuple[Ints, Ints, Ints, Ints]] = []
    for (labelers, k), members in batches.items():
        places = np.array([start for _, start in members], dtype=np.int64)
        own_tasks = np.array([task for task, _ in members], dtype=np.int64)
        ranks = np.array(
            [[kept[start + at].ranks for at in range(labelers)] for _, start in members],
            dtype=np.int64,
        )
        counts, by_distance[own_tasks, :k] = _counts_of(relations.dense(ranks))
        a, b = np.triu_indices(labelers, 1)
        found.append(
            (
                np.repeat(own_tasks, len(a)),
                (places[:, None] + a).ravel(),
                (places[:, None] + b).ravel(),
                counts.reshape(-1, 4),
            )
        )
    if not found:
        none = np.zeros(0, dtype=np.int64)
        found.append((none, none, none, np.zeros((0, 4), dtype=np.int64)))
    task, first, second, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Comparisons(
        tuple(kept),
        tuple(tasks),
        numbered(prompts)[0],
        task,
        first,
        second,
        counts,
        by_distance,
    )


def overall(comparisons: Comparisons, *, seed: int = 0, resamples: int = RESAMPLES) -> Shares:
    """Agreement of all labelers with one another."""
    groups = np.zeros_like(comparisons.task)
    return _shares(comparisons, comparisons.task, groups, comparisons.counts, 1, seed, resamples)[0]


def by_labelers(
    comparisons: Comparisons, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[tuple[str, str], Shares]:
    """Agreement of each two labelers who share a task; names in alphabetical order."""
    return _by_both(comparisons, lambda judgment: judgment.labeler, seed, resamples)


def by_cohorts(
    comparisons: Comparisons, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[tuple[str, str], Shares]:
    """Agreement within each cohort, and between each two: ("training", "training"), ("heldout", "training"), ..."""
    return _by_both(comparisons, lambda judgment: judgment.cohort, seed, resamples)


def by_k(
    comparisons: Comparisons, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[int, Shares]:
    """Agreement by the number of items that were ranked."""
    sizes = [len(judgment.ranks) for judgment in comparisons.judgments]
    groups, keys = numbered(sizes[place] for place in listed(comparisons.first))
    found = _shares(
        comparisons, comparisons.task, groups, comparisons.counts, len(keys), seed, resamples
    )
    return dict(sorted(zip(keys, found, strict=True)))


def by_labeler(
    comparisons: Comparisons, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Shares]:
    """Agreement of each labeler with all the others, over the tasks that they share."""
    names = [judgment.labeler for judgment in comparisons.judgments]
    both = np.concatenate([comparisons.first, comparisons.second])
    groups, keys = numbered(names[place] for place in listed(both))
    found = _shares(
        comparisons,
        np.tile(comparisons.task, 2),
        groups,
        np.tile(comparisons.counts, (2, 1)),
        len(keys),
        seed,
        resamples,
    )
    return dict(sorted(zip(keys, found, strict=True)))


def by_distance(
    comparisons: Comparisons, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[int, Shares]:
    """Where one labeler put two items so many ranks apart (ranks numbered without gaps), what do the others say?

    Each comparison is looked at from either side, so the counts are twice those of `overall`. At distance 0, where the
    labeler saw a tie, there is no strict agreement.
    """
    tasks, distances = len(comparisons.tasks), int(comparisons.by_distance.shape[1])
    counts = comparisons.by_distance.reshape(-1, 4)
    groups = np.tile(np.arange(distances), tasks)
    found = _shares(
        comparisons,
        np.repeat(np.arange(tasks), distances),
        groups,
        counts,
        distances,
        seed,
        resamples,
    )
    return {distance: shares for distance, shares in enumerate(found) if shares.counts.pairs}


def agreement_with_rest(comparisons: Comparisons) -> tuple[Floats, Floats]:
    """Per judgment: tie-aware agreement with all others of its task as sums (agreed, pairs), [judgments] each."""
    agreed, pairs = np.zeros((2, len(comparisons.judgments)))
    own_agreed, own_pairs = _tie_aware(comparisons.counts)
    for places in (comparisons.first, comparisons.second):
        agreed += np.bincount(places, weights=own_agreed, minlength=len(agreed))
        pairs += np.bincount(places, weights=own_pairs, minlength=len(pairs))
    return agreed, pairs


def _by_both(
    comparisons: Comparisons, name_of: Callable[[Judgment], str], seed: int, resamples: int
) -> dict[tuple[str, str], Shares]:
    names = [name_of(judgment) for judgment in comparisons.judgments]
    keys_of = (
        (min(names[a], names[b]), max(names[a], names[b]))
        for a, b in zip(listed(comparisons.first), listed(comparisons.second), strict=True)
    )
    groups, keys = numbered(keys_of)
    found = _shares(
        comparisons, comparisons.task, groups, comparisons.counts, len(keys), seed, resamples
    )
    return dict(sorted(zip(keys, found, strict=True)))


def _shares(
    comparisons: Comparisons,
    tasks: Ints,
    groups: Ints,
    counts: Ints,
    width: int,
    seed: int,
    resamples: int,
) -> list[Shares]:
    """The shares of each group of rows of `counts`, over one set of draws."""
    found: list[Shares] = []
    for start in range(0, width, _GROUPS_AT_ONCE):  # the same seed draws the same for each lot
        some = min(_GROUPS_AT_ONCE, width - start)
        is_in = (groups >= start) & (groups < start + some)
        found += _shares_of_some(
            comparisons, tasks[is_in], groups[is_in] - start, counts[is_in], some, seed, resamples
        )
    return found


def _shares_of_some(
    comparisons: Comparisons,
    tasks: Ints,
    groups: Ints,
    counts: Ints,
    width: int,
    seed: int,
    resamples: int,
) -> list[Shares]:
    clusters = comparisons.cluster[tasks]
    shape = (int(comparisons.cluster.max(initial=-1)) + 1, width)
    agreed, pairs = _tie_aware(counts)
    columns: list[Floats | Ints] = [counts[:, _SAME], agreed, counts[:, _ORDERED], pairs]
    same, aware, ordered, every = (summed(clusters, groups, column, shape) for column in columns)
    found = ratios(
        np.concatenate([same, aware], axis=1),
        np.concatenate([ordered, every], axis=1),
        seed=seed,
        resamples=resamples,
    )
    totals = np.zeros((width, 4), dtype=np.int64)
    np.add.at(totals, groups, counts)
    return [
        Shares(strict, tie_aware, Agreement(*(int(count) for count in total)))
        for strict, tie_aware, total in zip(found[:width], found[width:], totals, strict=True)
    ]


def _tie_aware(counts: Ints) -> tuple[Floats, Floats]:
    """Numerator and denominator of the tie-aware share, [rows]."""
    agreed = counts[:, _SAME] + counts[:, _BOTH_TIES] + counts[:, _ONE_TIE] / 2.0
    pairs = counts[:, _ORDERED] + counts[:, _ONE_TIE] + counts[:, _BOTH_TIES]
    return agreed, pairs.astype(np.float64)


def _counts_of(ranks: Ints) -> tuple[Ints, Ints]:
    """Counts [tasks, comparisons, 4] and by distance [tasks, k, 4] from dense ranks [tasks, labelers, k]."""
    labelers = ranks.shape[1]
    signs = relations.by_rank(ranks)
    # float32 counts exactly up to 16 million, and a matrix product of whole numbers is slow
    up, down, tie = ((signs == sign).astype(np.float32) for sign in (1, -1, 0))
    ordered_any = up + down
    products = (
        up @ np.swapaxes(up, 1, 2) + down @ np.swapaxes(down, 1, 2),
        ordered_any @ np.swapaxes(ordered_any, 1, 2),
        tie @ np.swapaxes(tie, 1, 2),
    )
    a, b = np.triu_indices(labelers, 1)
    same, ordered, both = (product[:, a, b].astype(np.int64) for product in products)
    one = signs.shape[-1] - ordered - both
    counts = np.stack([ordered, same, one, both], axis=-1)
    return counts, _by_distance(ranks, up, down, tie)


def _by_distance(
    ranks: Ints, up: NDArray[np.float32], down: NDArray[np.float32], tie: NDArray[np.float32]
) -> Ints:
    """[tasks, k, 4], from the view of each labeler: what the others say of the pairs that it put so far apart."""
    tasks, _, k = ranks.shape
    first, second = relations.pairs_of(k)
    gaps = np.abs(ranks[..., first] - ranks[..., second])
    ups, downs, ties = (one.sum(axis=1, keepdims=True) for one in (up, down, tie))
    ordered = up + down
    columns: Sequence[NDArray[np.float32]] = (
        ordered * (ups + downs - 1),  # the labeler itself is no other
        up * (ups - 1) + down * (downs - 1),
        ordered * ties + tie * (ups + downs),
        tie * (ties - 1),
    )
    found = np.zeros((tasks, k, 4), dtype=np.int64)
    for distance in range(k):
        at = gaps == distance
        for number, column in enumerate(columns):
            found[:, distance, number] = (column * at).sum(axis=(1, 2), dtype=np.float64)
    return found
