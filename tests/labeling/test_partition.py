"""The moves of the ranking page: any sequence of them keeps an ordered partition, and each does what it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.labeling import partition
from alignloop.labeling.partition import APART, Places

A, B, C, D = range(4)

MOVES: dict[str, Callable[..., Places]] = {
    "put": partition.put,
    "insert": partition.insert,
    "up": partition.up,
    "down": partition.down,
    "tie": partition.tie,
    "set_apart": partition.set_apart,
    "lift": partition.lift,
}
WITH_RANK = {"put", "insert"}


@st.composite
def any_places(draw: st.DrawFn, *, is_complete: bool = False) -> Places:
    """Places of 2 to 9 outputs, as moves could leave them."""
    count = draw(st.integers(2, 9))
    place = st.integers(0, count) if is_complete else st.none() | st.integers(0, count)
    drawn = tuple(draw(place) for _ in range(count))
    return partition.dense(drawn) if None not in drawn else drawn


@st.composite
def any_move(draw: st.DrawFn, count: int) -> tuple[str, tuple[int, ...]]:
    name = draw(st.sampled_from(sorted(MOVES)))
    index = draw(st.integers(0, count - 1))
    rank = (draw(st.integers(-1, count + 2)),) if name in WITH_RANK else ()
    return name, (index, *rank)


def order(places: Places, without: int | None = None) -> set[tuple[int, int]]:
    """Pairs (better, worse) of outputs that have ranks, but for one output."""
    ranked = [at for at, place in enumerate(places) if place and at != without]
    return {(a, b) for a in ranked for b in ranked if (places[a] or 0) < (places[b] or 0)}


@given(st.data())
def test_any_sequence_of_moves_keeps_a_partition_without_gaps(data: st.DataObject) -> None:
    places = partition.nothing_placed(data.draw(st.integers(2, 9)))
    for _ in range(data.draw(st.integers(0, 25))):
        name, arguments = data.draw(any_move(len(places)))
        places = MOVES[name](places, *arguments)

        ranks = {place for place in partition.dense(places) if place}
        assert ranks == set(range(1, len(ranks) + 1))
        assert all(place is None or 0 <= place <= len(places) for place in places)
        if partition.is_complete(places):
            assert partition.is_dense(places)


@given(st.data())
def test_a_move_leaves_the_others_as_they_were(data: st.DataObject) -> None:
    """Their order and ties among one another do not change, and neither does what has no rank."""
    places = data.draw(any_places())
    name, (index, *rest) = data.draw(any_move(len(places)))

    moved = MOVES[name](places, index, *rest)

    assert order(moved, index) == order(places, index)
    others = [at for at in range(len(places)) if at != index]
    assert [bool(moved[at]) for at in others] == [bool(places[at]) for at in others]
    assert [moved[at] is None for at in others] == [places[at] is None for at in others]


@given(any_places())
def test_closing_gaps_changes_neither_order_nor_ties(places: Places) -> None:
    closed = partition.dense(places)

    assert order(closed) == order(places)
    assert partition.dense(closed) == closed
    assert [place in (None, APART) for place in closed] == [
        place in (None, APART) for place in places
    ]


@given(any_places(is_complete=True))
def test_every_ranking_can_be_reached(goal: Places) -> None:
    """Place the worst first; each next one is tied with the one before, or enters above it."""
    places = partition.nothing_placed(len(goal))
    previous: int | None = None
    for index in sorted(range(len(goal)), key=lambda at: -(goal[at] or 0)):
        if goal[index] == APART:
            places = partition.set_apart(places, index)
        elif previous is not None and goal[previous] == goal[index]:
            places = partition.put(places, index, places[previous] or 1)
        else:
            places = partition.insert(places, index, 1)
        previous = index if goal[index] else previous

    assert places == goal


@given(any_places(is_complete=True), st.data())
def test_up_undoes_down_for_an_output_alone(places: Places, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(places) - 1))
    alone = bool(places[index]) and places.count(places[index]) == 1
    if alone and places[index] != max(place or 0 for place in places):
        assert partition.up(partition.down(places, index), index) == places


@given(any_places(), st.data())
def test_an_inserted_output_is_alone_and_where_it_was_wanted(
    places: Places, data: st.DataObject
) -> None:
    count = len(places)
    index, rank = data.draw(st.integers(0, count - 1)), data.draw(st.integers(1, count + 1))
    better = {at for at in range(count) if at != index and places[at] and (places[at] or 0) < rank}
    worse = {at for at in range(count) if at != index and (places[at] or 0) >= rank}

    moved = partition.insert(places, index, rank)

    here = moved[index] or 0
    assert moved.count(here) == 1
    assert all((moved[at] or 0) < here for at in better)
    assert all((moved[at] or 0) > here for at in worse)


@pytest.mark.parametrize(
    ("places", "name", "arguments", "expected"),
    [
        # Whoever says "fourth" first and "second" later means it; gaps close when all have a place.
        ((None, None, None, None), "put", (A, 4), (4, None, None, None)),
        ((4, None, None, None), "put", (B, 2), (4, 2, None, None)),
        ((4, 2, 2, None), "put", (D, 1), (3, 2, 2, 1)),
        ((4, 2, 2, None), "set_apart", (D,), (2, 1, 1, 0)),
        # Ranks are clamped to 1..K.
        ((1, 2, 3, 4), "put", (A, 99), (3, 1, 2, 3)),
        ((1, 2, 3, 4), "put", (D, -3), (1, 2, 3, 1)),
        # B > {A, D} > C.
        ((2, 1, 3, 2), "up", (A,), (2, 1, 4, 3)),
        ((2, 1, 3, 2), "down", (A,), (3, 1, 4, 2)),
        ((2, 1, 3, 2), "up", (C,), (3, 1, 2, 3)),
        ((2, 1, 3, 2), "up", (B,), (2, 1, 3, 2)),
        ((2, 1, 3, 2), "down", (B,), (1, 2, 3, 1)),
        ((2, 1, 3, 2), "tie", (C,), (2, 1, 2, 2)),
        ((2, 1, 3, 2), "tie", (D,), (2, 1, 3, 1)),
        ((2, 1, 3, 2), "tie", (B,), (2, 1, 3, 2)),
        ((2, 1, 3, 2), "set_apart", (B,), (1, 0, 2, 1)),
        ((2, 1, 3, 2), "lift", (B,), (2, None, 3, 2)),
        # "Not rankable" twice takes the mark away.
        ((1, 0, 2, 3), "set_apart", (B,), (1, None, 2, 3)),
        # What has no rank enters from below going up, from above going down, and ties with the worst.
        ((1, 2, None, 3), "up", (C,), (1, 2, 4, 3)),
        ((1, 2, None, 3), "down", (C,), (2, 3, 1, 4)),
        ((1, 2, None, 3), "tie", (C,), (1, 2, 3, 3)),
        ((None, None), "tie", (A,), (None, None)),
        # Alone, with a free rank beside it: it moves there while others are still to be placed.
        ((3, None, None, None), "up", (A,), (2, None, None, None)),
        ((1, None, None, None), "up", (A,), (1, None, None, None)),
        # A full board makes room: below if there is any, above otherwise.
        ((1, 2, None, None), "insert", (C, 2), (1, 3, 2, None)),
        ((1, 3, 4, None), "insert", (D, 5), (1, 2, 3, 4)),
        ((2, 3, 4, None), "insert", (D, 4), (1, 2, 4, 3)),
        ((1, 1, 1, 1), "insert", (B, 1), (2, 1, 2, 2)),
    ],
)
def test_moves_worked_out_by_hand(
    places: Places, name: str, arguments: tuple[int, ...], expected: Places
) -> None:
    assert MOVES[name](places, *arguments) == expected


def test_grades_become_ranks() -> None:
    assert partition.from_scores([7, 1, 3, 3]) == (1, 3, 2, 2)
    assert partition.from_scores([None, 2, 5]) == (None, 2, 1)
    assert partition.from_scores([]) == ()
