"""Contested pairs, and the tasks most worth a look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.judges.agreement_tables import compare_all, overall
from alignloop.judges.contested import ContestedPair, contested_pairs, worth_a_look
from alignloop.judges.judgment import Judgment

ranks = st.lists(st.integers(1, 4), min_size=4, max_size=4).map(tuple)


def judged(*rankings: tuple[int, ...], task: str = "t") -> list[Judgment]:
    return [Judgment(task, f"l{at}", of_one) for at, of_one in enumerate(rankings)]


def test_contested_pairs_by_hand() -> None:
    found = contested_pairs(judged((1, 2, 3), (1, 3, 2), (1, 1, 2), (1, 2, 3)))

    # 12: three for the first, one against, 3 of 6 pairs of labelers opposed, one rank apart each.
    # 01: three for the first, one tie: 3 of 6 pairs a tie against an order. 02: all alike.
    assert found == [
        ContestedPair(1, 2, 3, 1, 0, disagreement=3 / 6, distance=2.0),
        ContestedPair(0, 1, 3, 0, 1, disagreement=1.5 / 6, distance=0.0),
    ]
    assert [pair.is_opposed for pair in found] == [True, False]


def test_the_distance_is_how_far_apart_two_opposed_labelers_put_a_pair() -> None:
    (pair, *_) = contested_pairs(judged((1, 2, 3, 4), (4, 3, 2, 1)))

    assert (pair.first, pair.second, pair.distance) == (0, 3, 6.0)
    # up by 3 and by 1, down by 2: (3 + 2 + 1 + 2) / 2
    rows = judged((1, 2, 3, 4), (3, 1, 2, 4), (3, 2, 2, 1))
    (of_03,) = [one for one in contested_pairs(rows) if (one.first, one.second) == (0, 3)]
    assert of_03.distance == pytest.approx(4.0)


@given(st.lists(ranks, min_size=2, max_size=5))
def test_disagreement_is_what_agreement_leaves(rankings: list[tuple[int, ...]]) -> None:
    rows = judged(*rankings)

    by_pair = sum(pair.disagreement for pair in contested_pairs(rows)) / 6
    tasks = worth_a_look(rows)
    agreement = overall(compare_all(rows), resamples=2).tie_aware.value

    assert agreement == pytest.approx(1 - by_pair)
    assert sum(task.disagreement for task in tasks) == pytest.approx(by_pair)


def test_the_most_contested_task_comes_first() -> None:
    rows = [
        *judged((1, 2, 3), (1, 2, 3), task="agreed"),
        *judged((1, 2, 3), (1, 3, 2), task="a swap below"),
        *judged((1, 2, 3), (2, 1, 3), task="the best differs"),
        *judged((1, 2, 3), (3, 2, 1), task="upside down"),
        *judged((1, 2, 3), (1, 1, 1), task="ties"),
        *judged((1, 2, 3), task="alone"),
    ]

    found = worth_a_look(rows)

    assert [one.task for one in found] == [
        "upside down",
        "the best differs",
        "a swap below",
        "ties",
    ]
    assert [one.disagreement for one in found] == pytest.approx([1, 1 / 3, 1 / 3, 1 / 2])
    assert [one.is_best_contested for one in found] == [True, True, False, False]
    assert [one.pattern for one in found] == ["split", "split", "split", "ties only"]
    assert worth_a_look(rows, limit=1) == found[:1]
    assert worth_a_look([]) == []


def test_one_against_the_rest_is_named() -> None:
    (found,) = worth_a_look(judged((1, 2, 3), (3, 2, 1), (1, 2, 3), (1, 2, 2)))

    assert (found.pattern, found.odd_one_out) == ("one against the rest", "l1")


def test_two_odd_ones_are_a_split() -> None:
    # Without l1 the pair 12 is still contested, without l2 the pair 01.
    (found,) = worth_a_look(judged((1, 2, 3), (2, 1, 3), (1, 3, 2)))

    assert (found.pattern, found.odd_one_out) == ("split", "")
    (halves,) = worth_a_look(judged((1, 2), (1, 2), (2, 1), (2, 1)))
    assert halves.pattern == "split"


def test_a_tie_for_the_best_that_holds_both_bests_is_no_contest() -> None:
    (found,) = worth_a_look(judged((1, 2, 3), (1, 1, 2)))

    assert not found.is_best_contested


def test_pairs_of_two_tasks_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="one task"):
        contested_pairs([*judged((1, 2)), *judged((1, 2), task="u")])
    with pytest.raises(ValueError, match="2 items to one labeler"):
        contested_pairs(judged((1, 2), (1, 2, 3)))
    assert contested_pairs(judged((1, 2))) == []
