"""Agreement between labelers, by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data.records import Completion, Prompt, Ranking
from alignloop.judges.agreement import REFERENCES, Agreement, agreement_of, compare_ranks

ranks = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=7)


def ranking(labeler: str, given_ranks: tuple[int, ...], prompt: str = "p") -> Ranking:
    return Ranking(
        prompt=Prompt(id=prompt, text=""),
        completions=tuple(
            Completion(text=f"text {number}", model="m", finished=True, tokens=2)
            for number in range(len(given_ranks))
        ),
        ranks=given_ranks,
        labeler=labeler,
    )


def test_pairs_are_counted_by_hand() -> None:
    # Pairs of texts: 12 and 13 alike, 14, 24 and 34 against one another, 23 a tie against an order.
    found = compare_ranks((1, 2, 2, 3), (2, 3, 4, 1))

    assert found == Agreement(ordered=5, same_order=2, one_tie=1, both_ties=0)
    assert found.pairs == 6
    assert found.ordered_share == pytest.approx(2 / 5)
    assert found.three_way_share == pytest.approx(2 / 6)
    assert found.tie_aware_share == pytest.approx(2.5 / 6)


def test_a_tie_agrees_with_a_tie() -> None:
    found = compare_ranks((1, 1, 2), (1, 1, 1))

    assert found == Agreement(ordered=0, same_order=0, one_tie=2, both_ties=1)
    assert math.isnan(found.ordered_share)
    assert found.three_way_share == pytest.approx(1 / 3)
    assert found.tie_aware_share == pytest.approx(2 / 3)
    assert math.isnan(Agreement().tie_aware_share)


def test_what_was_published_is_at_hand_with_its_source() -> None:
    assert [(one.share, one.plus_minus) for one in REFERENCES] == [
        (0.726, 0.015),
        (0.773, 0.013),
        (0.73, 0.04),
    ]
    assert all("section" in one.source for one in REFERENCES)


def test_counts_add_up() -> None:
    assert Agreement(1, 1, 2, 3) + Agreement(4, 2, 0, 1) == Agreement(5, 3, 2, 4)


@given(ranks)
def test_agreement_is_symmetric_and_counts_every_pair(pairs: list[tuple[int, int]]) -> None:
    a, b = [left for left, _ in pairs], [right for _, right in pairs]

    found = compare_ranks(a, b)

    assert found == compare_ranks(b, a)
    assert found.pairs == len(pairs) * (len(pairs) - 1) // 2
    assert compare_ranks(a, a).three_way_share == 1


def test_rankings_of_different_texts_are_not_compared() -> None:
    with pytest.raises(ValueError, match="texts"):
        compare_ranks((1, 2), (1, 2, 3))


def test_labelers_are_compared_where_they_ranked_the_same_prompt() -> None:
    rankings = [
        ranking("ann", (1, 2)),
        ranking("bob", (2, 1)),
        ranking("cyd", (1, 2)),
        ranking("ann", (1, 2), prompt="q"),
        ranking("cyd", (1, 1), prompt="q"),
        ranking("bob", (1, 2), prompt="alone"),
    ]

    found = agreement_of(rankings)

    assert found == {
        ("ann", "bob"): Agreement(1, 0, 0, 0),
        ("ann", "cyd"): Agreement(1, 1, 1, 0),
        ("bob", "cyd"): Agreement(1, 0, 0, 0),
    }
    assert sum(found.values(), Agreement()).ordered_share == pytest.approx(1 / 3)
