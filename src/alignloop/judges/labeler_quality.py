"""One labeler against the others, the gold, the screen and itself: what a researcher looks at before a talk.

None of these figures says that somebody works badly. A labeler who differs may be the careful one; a bias may lie in
the texts. They say where to look.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from alignloop.judges import relations
from alignloop.judges.agreement import Agreement, compare_ranks
from alignloop.judges.agreement_tables import agreement_with_rest, by_labeler, compare_all
from alignloop.judges.intervals import RESAMPLES
from alignloop.judges.judgment import Judgment, by_size, without_repeats
from alignloop.judges.measure import Floats, Measure, listed, numbered, ratios, summed, undefined

Relation = Literal[-1, 0, 1]
"""+1 where the first item of a pair is the better, -1 where the second is, 0 where they are equal."""
Gold = Mapping[str, Mapping[tuple[int, int], Relation]]
"""Task -> pair of items -> what is known about it; not every pair need be known."""

K = TypeVar("K", bound=Hashable)

NO_SHARED_TASK = "undefined: no task shared with another labeler"


_MISSING = {
    "tie_rate": "undefined: nothing to count",
    "contradictions": "undefined: no pair is ordered both by rank and by Likert score",
    "earlier_wins": "undefined: no ordered pair with a known place on the screen",
    "position_correlation": "undefined: no ranking with an order and known places on the screen",
    "longer_wins": "undefined: no ordered pair of known and unequal lengths",
    "length_correlation": "undefined: no ranking with an order and known, unequal lengths",
}
"""Of what a ranking tells by itself: measure -> why there is none where nothing is counted."""


@dataclass(frozen=True, slots=True)
class LabelerQuality:
    """Figures of one labeler; each is undefined, with the reason, where nothing was recorded."""

    rankings: int
    """Without repeats."""
    agreement: Measure
    """With all others on shared tasks, over the pairs that both ordered."""
    tie_aware_agreement: Measure
    """The same over all pairs, a tie against an order as one half."""
    tie_rate: Measure
    """Tied pairs, of all pairs."""
    contradictions: Measure
    """Pairs that the ranks order one way and the Likert scores the other, of those that both order."""
    earlier_wins: Measure
    """Pairs whose item shown earlier was ranked better, of the ordered ones; 1/2 without position bias."""
    position_correlation: Measure
    """Mean over rankings of Spearman's rho between being shown early and being ranked well."""
    longer_wins: Measure
    """Pairs whose longer item was ranked better, of the ordered ones of unequal length."""
    length_correlation: Measure
    """Mean over rankings of Spearman's rho between length and being ranked well."""
    consistency: Measure
    """Tie-aware agreement of the first ranking of a task with later ones by the same labeler."""
    gold_accuracy: Measure
    """Tie-aware agreement with what is known of gold pairs."""


@dataclass(frozen=True, slots=True)
class SessionHour:
    """What labelers do in one hour of a session."""

    agreement: Measure
    """Tie-aware, with the others' answers to the same tasks, whenever they gave them."""
    tie_rate: Measure
    seconds: Measure
    """Mean active time per ranking."""


def labeler_quality(
    judgments: Sequence[Judgment],
    *,
    gold: Gold | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, LabelerQuality]:
    """All figures of each labeler; intervals resample tasks, those of one prompt together.

    Args:
        judgments: in the order in which they were made: a second ranking of a task by the same labeler is a repeat.
        gold: known relations, for `gold_accuracy`.
        seed: of the resampling.
        resamples: how many.

    Raises:
        ValueError: two judgments of one task rank different numbers of items, or gold names an item that is not there.
    """
    kept = without_repeats(judgments)
    comparisons = compare_all(kept)
    agreement = by_labeler(comparisons, seed=seed, resamples=resamples)
    tallies = {
        **_pair_tallies(kept),
        "consistency": _repeats(judgments),
        "gold_accuracy": _gold(kept, gold or {}),
    }
    found = {
        name: _by_key(
            [kept[at].labeler for at in listed(tally.judgments)],
            [kept[at].cluster for at in listed(tally.judgments)],
            tally,
            seed=seed,
            resamples=resamples,
        )
        for name, tally in tallies.items()
    }
    rankings, names = numbered(judgment.labeler for judgment in kept)
    counts = np.bincount(rankings)
    alone = undefined(NO_SHARED_TASK)
    return {
        name: LabelerQuality(
            rankings=int(counts[names.index(name)]),
            agreement=agreement[name].strict if name in agreement else alone,
            tie_aware_agreement=agreement[name].tie_aware if name in agreement else alone,
            **{
                measure: of_labelers.get(name, undefined(tallies[measure].missing))
                for measure, of_labelers in found.items()
            },
        )
        for name in sorted(names)
    }


def by_session_hour(
    judgments: Sequence[Judgment],
    *,
    labeler: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[int, SessionHour]:
    """Drift: the figures of hour 0, 1, ... of a session, of one labeler or of all of them together.

    Judgments without `session_hours` are left out here, and yet serve as the others that one is compared with.
    """
    kept = without_repeats(judgments)
    comparisons = compare_all(kept)
    agreed, pairs = agreement_with_rest(comparisons)
    ordered = {(one.task, one.labeler): at for at, one in enumerate(comparisons.judgments)}
    ties = _pair_tallies(kept)["tie_rate"]
    chosen = [
        at
        for at, judgment in enumerate(kept)
        if judgment.session_hours is not None and labeler in (None, judgment.labeler)
    ]
    hours = [int(kept[at].session_hours or 0) for at in chosen]
    clusters = [kept[at].cluster for at in chosen]
    rest = np.array([ordered[kept[at].task, kept[at].labeler] for at in chosen], dtype=np.int64)
    timed = [(at, seconds) for at in chosen if (seconds := kept[at].seconds) is not None]
    places = np.array(chosen, dtype=np.int64)

    def measured(tally: _Tally, keys: list[int], of_units: list[str]) -> dict[int, Measure]:
        return _by_key(keys, of_units, tally, seed=seed, resamples=resamples)

    agreement = measured(_Tally(places, agreed[rest], pairs[rest], NO_SHARED_TASK), hours, clusters)
    tie_rate = measured(
        _Tally(places, ties.above[places], ties.below[places], ties.missing), hours, clusters
    )
    seconds = measured(
        _Tally(
            np.array([at for at, _ in timed], dtype=np.int64),
            np.array([spent for _, spent in timed], dtype=np.float64),
            np.ones(len(timed)),
            "undefined: no time was recorded",
            is_share=False,
        ),
        [int(kept[at].session_hours or 0) for at, _ in timed],
        [kept[at].cluster for at, _ in timed],
    )
    return {
        hour: SessionHour(
            agreement.get(hour, undefined(NO_SHARED_TASK)),
            tie_rate[hour],
            seconds.get(hour, undefined("undefined: no time was recorded")),
        )
        for hour in sorted(set(hours))
    }


@dataclass(frozen=True, slots=True)
class _Tally:
    """A ratio of sums over some judgments."""

    judgments: NDArray[np.int64]
    """Places in the list of judgments; the arrays go with it."""
    above: Floats
    below: Floats
    missing: str
    """Why there is no figure where nothing is counted."""
    is_share: bool = True


def _by_key(
    keys: Sequence[K], units: Sequence[str], tally: _Tally, *, seed: int, resamples: int
) -> dict[K, Measure]:
    """The ratio of each key."""
    groups, names = numbered(keys)
    clusters, all_units = numbered(units)
    shape = (len(all_units), len(names))
    if not names:
        return {}
    found = ratios(
        summed(clusters, groups, tally.above, shape),
        summed(clusters, groups, tally.below, shape),
        seed=seed,
        resamples=resamples,
        are_shares=tally.is_share,
    )
    return {
        name: measure if measure.value is not None else undefined(tally.missing)
        for name, measure in zip(names, found, strict=True)
    }


def _pair_tallies(judgments: Sequence[Judgment]) -> dict[str, _Tally]:
    """What a ranking tells by itself, per judgment."""
    size = len(judgments)
    above: dict[str, Floats] = {name: np.zeros(size) for name in _MISSING}
    below: dict[str, Floats] = {name: np.zeros(size) for name in _MISSING}
    for k, places in by_size(judgments).items():
        ranks = np.array([judgments[at].ranks for at in listed(places)], dtype=np.float64)
        signs = relations.by_rank(ranks)
        above["tie_rate"][places] = (signs == 0).sum(axis=1)
        below["tie_rate"][places] = signs.shape[1]
        likert = _recorded(judgments, places, k, lambda one: one.likert)
        early = -_recorded(judgments, places, k, lambda one: one.positions)
        length = _recorded(judgments, places, k, lambda one: one.lengths)
        for name, scores, counts in (
            ("contradictions", likert, -1),
            ("earlier_wins", early, 1),
            ("longer_wins", length, 1),
        ):
            product = signs * relations.by_score(scores)
            above[name][places] = (product == counts).sum(axis=1)
            below[name][places] = (product != 0).sum(axis=1)
        for name, scores in (("position_correlation", early), ("length_correlation", length)):
            rho = relations.spearman(-ranks, scores)
            above[name][places] = np.nan_to_num(rho)
            below[name][places] = ~np.isnan(rho)
    return {
        name: _Tally(
            np.arange(size),
            above[name],
            below[name],
            missing,
            is_share=not name.endswith("correlation"),
        )
        for name, missing in _MISSING.items()
    }


def _recorded(
    judgments: Sequence[Judgment],
    places: NDArray[np.int64],
    k: int,
    values_of: Callable[[Judgment], Sequence[int | None]],
) -> Floats:
    """[judgments, k]; NaN where a value is missing."""
    rows = [values_of(judgments[at]) or (None,) * k for at in listed(places)]
    return np.array(
        [[np.nan if value is None else value for value in row] for row in rows], dtype=np.float64
    )


def _repeats(judgments: Sequence[Judgment]) -> _Tally:
    """Later rankings of a task against the labeler's first; places count judgments without repeats."""
    first: dict[tuple[str, str], tuple[int, Judgment]] = {}
    found: list[tuple[int, Agreement]] = []
    for judgment in judgments:
        key = (judgment.task, judgment.labeler)
        if key in first:
            at, earlier = first[key]
            found.append((at, compare_ranks(earlier.ranks, judgment.ranks)))
        else:
            first[key] = (len(first), judgment)
    return _tie_aware(found, "undefined: no task was ranked twice")


def _gold(judgments: Sequence[Judgment], gold: Gold) -> _Tally:
    """Rankings against known relations: each known pair is a ranking of two items."""
    found: list[tuple[int, Agreement]] = []
    for at, judgment in enumerate(judgments):
        for (i, j), relation in gold.get(judgment.task, {}).items():
            if not (0 <= i < len(judgment.ranks) and 0 <= j < len(judgment.ranks)) or i == j:
                raise ValueError(f"gold of task '{judgment.task}' names the pair ({i}, {j})")
            known = (1, 1 + relation) if relation >= 0 else (2, 1)
            found.append((at, compare_ranks((judgment.ranks[i], judgment.ranks[j]), known)))
    return _tie_aware(found, "undefined: no gold pair was judged")


def _tie_aware(found: Iterable[tuple[int, Agreement]], missing: str) -> _Tally:
    rows = list(found)
    return _Tally(
        np.array([at for at, _ in rows], dtype=np.int64),
        np.array([one.same_order + one.both_ties + one.one_tie / 2 for _, one in rows]),
        np.array([one.pairs for _, one in rows], dtype=np.float64),
        missing,
    )
