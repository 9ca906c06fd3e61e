"""Judgments, and rankings as pair relations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data.records import Completion, Prompt, Ranking
from alignloop.judges.judgment import (
    Judgment,
    by_size,
    by_task,
    judgments_of,
    without_repeats,
)
from alignloop.judges.relations import by_rank, by_score, dense, pairs_of, spearman


def test_pairs_come_in_one_order() -> None:
    first, second = pairs_of(4)

    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
        (2, 3),
    ]


def test_the_lower_rank_and_the_higher_score_are_better() -> None:
    assert by_rank(np.array([1, 2, 2])).tolist() == [1, 1, 0]
    assert by_score(np.array([7, 3, 3])).tolist() == [1, 1, 0]
    assert by_score(np.array([[7.0, np.nan, 3.0]])).tolist() == [[0, 1, 0]]


def test_ranks_are_numbered_without_gaps() -> None:
    assert dense(np.array([[1, 2, 2, 4], [9, 5, 9, 1]])).tolist() == [[1, 2, 2, 3], [3, 2, 3, 1]]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=9))
def test_ranks_without_gaps_say_the_same(ranks: list[int]) -> None:
    given_ranks = np.array(ranks)
    found = dense(given_ranks)

    assert by_rank(found).tolist() == by_rank(given_ranks).tolist()
    assert sorted(set(found.tolist())) == list(range(1, len(set(ranks)) + 1))


def test_spearman_by_hand() -> None:
    # differences of rank 0, 1, 1, 0: 1 - 6 * 2 / (4 * 15) = 0.8
    assert spearman(np.array([1, 2, 3, 4]), np.array([10, 30, 20, 99])) == pytest.approx(0.8)
    assert spearman(np.array([1, 2, 3]), np.array([3, 2, 1])) == pytest.approx(-1)
    # 1, 2.5, 2.5 against 1, 2, 3, less their means: (1.5 * 1 + 0.5 * 1) / sqrt(1.5 * 2)
    tied = spearman(np.array([[1, 2, 2]]), np.array([[1, 2, 3]]))
    assert tied.tolist() == pytest.approx([1.5 / math.sqrt(1.5 * 2)])
    assert np.isnan(spearman(np.array([5, 5]), np.array([1, 2])))


def test_the_first_of_repeats_is_kept() -> None:
    first, again = Judgment("t", "ann", (1, 2)), Judgment("t", "ann", (2, 1))
    other = Judgment("t", "bob", (2, 1))

    assert without_repeats([first, other, again]) == [first, other]


def test_judgments_are_grouped_by_task_and_by_size() -> None:
    two, three = Judgment("t", "ann", (1, 2)), Judgment("u", "ann", (1, 2, 3))

    assert by_task([two, three]) == {"t": [two], "u": [three]}
    assert {k: places.tolist() for k, places in by_size([three, two, three]).items()} == {
        2: [1],
        3: [0, 2],
    }


def test_a_task_has_one_number_of_items() -> None:
    with pytest.raises(ValueError, match="task 't' has 2 items to one labeler and 3 to another"):
        by_task([Judgment("t", "ann", (1, 2, 3)), Judgment("t", "bob", (1, 2))])


def test_what_does_not_fit_the_ranks_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two items"):
        Judgment("t", "ann", (1,))
    with pytest.raises(ValueError, match="2 ranks but 1 of 'likert'"):
        Judgment("t", "ann", (1, 2), likert=(7,))
    with pytest.raises(ValueError, match="2 ranks but 3 of 'harmful'"):
        Judgment("t", "ann", (1, 2), flags={"harmful": (True, False, None)})


def test_rankings_become_judgments_of_the_same_task_where_texts_are_the_same() -> None:
    def ranking(labeler: str, *texts: str) -> Ranking:
        return Ranking(
            prompt=Prompt(id="p", text="Why?"),
            completions=tuple(
                Completion(text=text, model="m", finished=True, tokens=len(text)) for text in texts
            ),
            ranks=tuple(range(1, len(texts) + 1)),
            labeler=labeler,
        )

    rankings = [ranking("ann", "a", "bb"), ranking("bob", "a", "bb"), ranking("bob", "bb", "a")]
    ann, bob, turned = judgments_of(rankings, {"ann": "training"})

    assert ann.task == bob.task != turned.task
    assert ann.cluster == turned.cluster == "p"
    assert (ann.cohort, bob.cohort) == ("training", "")
    assert ann.lengths == (1, 2)
    assert Judgment("t", "ann", (1, 2)).cluster == "t"
