"""Where labelers disagree: contested pairs of a task, and the tasks most worth an adjudicator's look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alignloop.judges import relations
from alignloop.judges.judgment import Judgment, by_task, without_repeats
from alignloop.judges.measure import listed

Pattern = Literal["one against the rest", "split", "ties only"]
"""`one against the rest`: without one labeler nobody contradicts anybody. `ties only`: orders against ties alone."""


@dataclass(frozen=True, slots=True)
class ContestedPair:
    """Two items of a task that labelers do not see alike."""

    first: int
    second: int
    """Places of the items in the task."""
    prefer_first: int
    prefer_second: int
    ties: int
    """Labelers."""
    disagreement: float
    """1 less the mean tie-aware agreement of two of the labelers on this pair: opposite orders 1, tie and order 1/2."""
    distance: float
    """How many ranks apart two labelers who order it oppositely put it, both taken together, on average; 0 if none do.
    2 is a swap of neighbours; a slip of the mouse or a difference of taste goes further."""

    @property
    def is_opposed(self) -> bool:
        """Whether two labelers order it oppositely."""
        return self.prefer_first > 0 and self.prefer_second > 0


@dataclass(frozen=True, slots=True)
class ContestedTask:
    """A task that its labelers do not see alike."""

    task: str
    labelers: int
    disagreement: float
    """1 less the tie-aware agreement over all pairs of items and labelers; 1/2 is what coins would give."""
    pairs: tuple[ContestedPair, ...]
    """The most contested first."""
    is_best_contested: bool
    """Whether two labelers have no best item in common: the best of a ranking is in the most pairs, and is what
    demonstrations and best-of-n are made from."""
    pattern: Pattern
    odd_one_out: str
    """Who, under `one against the rest`; else empty. With two labelers nobody can tell."""


def contested_pairs(judgments: Sequence[Judgment]) -> list[ContestedPair]:
    """Pairs of one task on which not all agree, the most contested first; of repeats the first judgment counts.

    Raises:
        ValueError: the judgments are of different tasks, or rank different numbers of items.
    """
    of_task = without_repeats(judgments)
    if len({judgment.task for judgment in of_task}) > 1:
        raise ValueError("contested pairs are those of one task")
    by_task(of_task)
    return _pairs(of_task) if len(of_task) > 1 else []


def worth_a_look(judgments: Iterable[Judgment], limit: int | None = None) -> list[ContestedTask]:
    """Tasks with a contested pair, the most worth a look first.

    First those on which labelers contradict one another, then those on which they merely tie what others order; in
    each by disagreement, a contested best first among equals, and by name.

    Args:
        judgments: of any tasks; a task of one labeler has nothing to compare.
        limit: how many to return; all where absent.

    Raises:
        ValueError: two judgments of one task rank different numbers of items.
    """
    found: list[ContestedTask] = []
    for task, of_task in by_task(without_repeats(judgments)).items():
        pairs = _pairs(of_task) if len(of_task) > 1 else []
        if pairs:
            found.append(_contested(task, of_task, pairs))
    found.sort(
        key=lambda one: (
            one.pattern == "ties only",
            -one.disagreement,
            not one.is_best_contested,
            one.task,
        )
    )
    return found[:limit]


def _contested(
    task: str, judgments: Sequence[Judgment], pairs: Sequence[ContestedPair]
) -> ContestedTask:
    k = len(judgments[0].ranks)
    pattern, odd = _pattern(judgments, pairs)
    best = [
        {item for item, rank in enumerate(judgment.ranks) if rank == min(judgment.ranks)}
        for judgment in judgments
    ]
    return ContestedTask(
        task=task,
        labelers=len(judgments),
        disagreement=sum(pair.disagreement for pair in pairs) / (k * (k - 1) / 2),
        pairs=tuple(pairs),
        is_best_contested=any(not (a & b) for at, a in enumerate(best) for b in best[at + 1 :]),
        pattern=pattern,
        odd_one_out=odd,
    )


def _pairs(judgments: Sequence[Judgment]) -> list[ContestedPair]:
    """Contested pairs of a task with two labelers or more."""
    ranks = relations.dense(np.array([judgment.ranks for judgment in judgments], dtype=np.int64))
    signs = relations.by_rank(ranks)
    first, second = relations.pairs_of(ranks.shape[1])
    gaps = np.abs(ranks[:, first] - ranks[:, second])
    up, down = signs == 1, signs == -1
    n_up, n_down = up.sum(axis=0), down.sum(axis=0)
    n_tie = len(judgments) - n_up - n_down
    raters = len(judgments) * (len(judgments) - 1) / 2
    disagreement = (n_up * n_down + n_tie * (n_up + n_down) / 2.0) / raters
    # Of two labelers who order a pair oppositely: the mean of the sum of their gaps is the sum of the two means.
    apart = (gaps * up).sum(axis=0) / np.maximum(n_up, 1)
    apart = (apart + (gaps * down).sum(axis=0) / np.maximum(n_down, 1)) * (n_up * n_down > 0)
    found = [
        ContestedPair(
            first=int(first[at]),
            second=int(second[at]),
            prefer_first=int(n_up[at]),
            prefer_second=int(n_down[at]),
            ties=int(n_tie[at]),
            disagreement=float(disagreement[at]),
            distance=float(apart[at]),
        )
        for at in listed(np.flatnonzero(disagreement))
    ]
    return sorted(found, key=lambda one: (-one.disagreement, -one.distance, one.first, one.second))


def _pattern(judgments: Sequence[Judgment], pairs: Sequence[ContestedPair]) -> tuple[Pattern, str]:
    opposed = [pair for pair in pairs if pair.is_opposed]
    if not opposed:
        return "ties only", ""
    if len(judgments) < 3:
        return "split", ""
    odd = [
        judgment.labeler
        for judgment in judgments
        if all(_is_alone(judgment, pair) for pair in opposed)
    ]
    return ("one against the rest", odd[0]) if len(odd) == 1 else ("split", "")


def _is_alone(judgment: Judgment, pair: ContestedPair) -> bool:
    """Whether nobody else orders an opposed pair as this labeler does."""
    a, b = judgment.ranks[pair.first], judgment.ranks[pair.second]
    return (a < b and pair.prefer_first == 1) or (a > b and pair.prefer_second == 1)
