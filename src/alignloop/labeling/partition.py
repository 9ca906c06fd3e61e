"""Sorting outputs into ranks with ties: the moves of the ranking page, as functions of plain data.

`static/partition.js` holds the same functions, name for name, for the browser; a test compares the two. The server
uses these where a form comes without JavaScript, and never trusts that ranks have no gaps.

A place is where one output stands:

    None    not placed yet
    0       not rankable (APART)
    1..K    a rank; 1 is the best, outputs with the same number are tied

While some output is still to be placed, ranks may have gaps: whoever says "fifth of nine" first and "second" later
means it. As soon as every output has its place, each move ends with the gaps closed, so a finished ranking is always
dense: B > {A, D} > C is (2, 1, 3, 2) for A to D. `dense` closes the gaps at any time.
"""

from __future__ import annotations

from collections.abc import Sequence

Places = tuple[int | None, ...]
"""One place per output, in the order in which the outputs are shown."""

APART = 0
"""The place of an output that cannot be ranked."""


def nothing_placed(count: int) -> Places:
    """The start: no output has a place."""
    return (None,) * count


def is_complete(places: Places) -> bool:
    """Whether every output is ranked, or said to be not rankable."""
    return None not in places


def is_dense(places: Places) -> bool:
    """Whether the ranks in use are 1..m, without a gap."""
    return dense(places) == places


def dense(places: Places) -> Places:
    """The same order and ties, with ranks renumbered 1..m."""
    new_rank = {rank: at for at, rank in enumerate(_ranks(places), start=1)}
    return tuple(new_rank[place] if place else place for place in places)


def put(places: Places, index: int, rank: int) -> Places:
    """Put an output into a rank; ranks outside 1..K are the nearest inside."""
    return _settled(_with(places, index, min(max(rank, 1), len(places))))


def insert(places: Places, index: int, rank: int) -> Places:
    """Give an output a rank of its own: below all ranks better than `rank`, above `rank` and all worse ones.

    `rank` is 1 (before all) to K + 1 (after all).
    """
    count = len(places)
    rank = min(max(rank, 1), count + 1)
    others = _with(places, index, None)
    taken = set(_ranks(others))
    if rank <= count and rank not in taken:
        return _settled(_with(others, index, rank))
    if rank > 1 and rank - 1 not in taken:
        return _settled(_with(others, index, rank - 1))
    # No more than K - 1 ranks are taken, so one is free: the ranks from here to the free one move over.
    free = next((free for free in range(rank, count + 1) if free not in taken), None)
    if free is not None:
        moved = tuple(place + 1 if place and rank <= place < free else place for place in others)
        return _settled(_with(moved, index, rank))
    free = max(free for free in range(1, rank) if free not in taken)
    moved = tuple(place - 1 if place and free < place < rank else place for place in others)
    return _settled(_with(moved, index, rank - 1))


def up(places: Places, index: int) -> Places:
    """Move an output one step better.

    A tied output leaves its rank for a new one just above; one alone changes places with the rank above. What has no
    rank yet enters from below.
    """
    return _step(places, index, -1)


def down(places: Places, index: int) -> Places:
    """Move an output one step worse: `up`, mirrored. What has no rank yet enters from above."""
    return _step(places, index, +1)


def tie(places: Places, index: int) -> Places:
    """Tie an output with the next better rank; what has no rank yet joins the worst one."""
    here = places[index] or len(places) + 1
    above = [rank for rank in _ranks(places) if rank < here]
    return _settled(_with(places, index, above[-1])) if above else places


def set_apart(places: Places, index: int) -> Places:
    """Mark an output as not rankable, or take that mark away again."""
    return _settled(_with(places, index, None if places[index] == APART else APART))


def lift(places: Places, index: int) -> Places:
    """Take an output out of its rank, to place it again later."""
    return _with(places, index, None)


def from_scores(scores: Sequence[int | None]) -> Places:
    """Ranks in the order of scores, the highest first; equal scores are ties, no score is no place."""
    order = sorted({score for score in scores if score is not None}, reverse=True)
    return tuple(None if score is None else order.index(score) + 1 for score in scores)


def _ranks(places: Places) -> list[int]:
    """The ranks in use, best first."""
    return sorted({place for place in places if place})


def _with(places: Places, index: int, place: int | None) -> Places:
    return (*places[:index], place, *places[index + 1 :])


def _settled(places: Places) -> Places:
    return dense(places) if is_complete(places) else places


def _step(places: Places, index: int, direction: int) -> Places:
    """One step better (-1) or worse (+1)."""
    here, count = places[index], len(places)
    if not here:
        return insert(places, index, count + 1 if direction < 0 else 1)
    if places.count(here) > 1:
        return insert(places, index, here if direction < 0 else here + 1)
    there = here + direction
    if not 1 <= there <= count:
        return places
    swapped = {here: there, there: here}
    return _settled(tuple(swapped.get(place, place) if place else place for place in places))
