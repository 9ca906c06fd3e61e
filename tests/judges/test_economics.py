"""Pairs, bits, and what labels cost."""

from __future__ import annotations

import itertools
import math

import pytest

from alignloop.judges.economics import (
    bits,
    bits_per_hour,
    break_even_by_bits,
    break_even_by_pairs,
    pairs,
    pairs_per_hour,
    reading_model,
    seconds_per_ranking,
    weak_orders,
)
from alignloop.judges.economics_tables import (
    NO_TIME,
    TimedRanking,
    break_even,
    cost_table,
    cost_table_by_labeler,
    label_costs,
    timed,
)
from alignloop.judges.judgment import Judgment

# --- the calculator ---


def test_pairs_of_four_to_nine_items() -> None:
    assert [pairs(k) for k in range(4, 10)] == [6, 10, 15, 21, 28, 36]


def test_weak_orders_are_the_fubini_numbers() -> None:
    known = [1, 1, 3, 13, 75, 541, 4683, 47293, 545835, 7087261]

    assert [weak_orders(k) for k in range(10)] == known


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_weak_orders_are_the_rankings_without_gaps(k: int) -> None:
    rankings = itertools.product(range(k), repeat=k)

    assert weak_orders(k) == sum(set(ranks) == set(range(max(ranks) + 1)) for ranks in rankings)


def test_bits_of_a_ranking() -> None:
    assert [round(bits(k), 2) for k in (4, 6, 9)] == [6.23, 12.19, 22.76]
    assert bits(2) == pytest.approx(math.log2(3))


def test_break_even_points_follow_from_pairs_and_bits() -> None:
    assert break_even_by_pairs(9, 4) == 6.0
    assert round(break_even_by_bits(9, 4), 2) == 3.65
    assert break_even_by_bits(9, 4) == pytest.approx(math.log2(7087261) / math.log2(75))


def test_the_lectures_times_give_four_and_a_half_times_the_pairs() -> None:
    read, per_item = reading_model((4, 30.0), (9, 40.0))

    assert (read, per_item) == (22.0, 2.0)
    assert seconds_per_ranking(6, read, per_item) == 34.0
    assert pairs_per_hour(4, read, per_item) == pytest.approx(720)
    assert pairs_per_hour(9, read, per_item) == pytest.approx(3240)
    assert bits_per_hour(9, read, per_item) == pytest.approx(90 * bits(9))


def test_what_makes_no_ranking_is_refused() -> None:
    for wrong in (lambda: pairs(1), lambda: bits(1), lambda: pairs_per_hour(1, 1, 1)):
        with pytest.raises(ValueError, match="two items"):
            wrong()
    with pytest.raises(ValueError, match="not both 0"):
        pairs_per_hour(4, 0, 0)
    with pytest.raises(ValueError, match="two numbers of items"):
        reading_model((4, 30), (4, 40))
    with pytest.raises(ValueError, match="no reading time fits"):
        reading_model((4, 10), (9, 40))
    with pytest.raises(ValueError, match="negative"):
        weak_orders(-1)


# --- as measured ---


def rows() -> list[TimedRanking]:
    """Two tasks of each K, over two labelers."""
    return [
        TimedRanking("a", "ann", 4, 20.0, 1),
        TimedRanking("b", "ann", 4, 40.0, 0),
        TimedRanking("c", "bob", 9, 50.0, 6),
        TimedRanking("d", "bob", 9, 50.0, 0),
    ]


def test_the_table_by_hand() -> None:
    found = cost_table(rows(), wage=18.0)

    assert list(found) == [4, 9]
    four = found[4]
    assert (four.pairs, round(four.bits, 2), four.rankings) == (6, 6.23, 2)
    assert four.seconds.value == pytest.approx(30)
    assert four.tie_rate.value == pytest.approx(1 / 12)
    assert four.pairs_per_hour.value == pytest.approx(12 * 60)
    assert four.ordered_pairs_per_hour.value == pytest.approx(11 * 60)
    assert four.bits_per_hour.value == pytest.approx(2 * bits(4) * 60)
    assert four.cost_per_pair.value == pytest.approx(18 / 60 / 11)
    assert (four.cost_per_pair.cases, four.cost_per_pair.clusters) == (11, 2)
    nine = found[9]
    assert nine.ordered_pairs_per_hour.value == pytest.approx(66 * 36)
    # resamples: a twice, both, b twice
    assert (four.seconds.low, four.seconds.high) == pytest.approx((20, 40))
    assert (four.pairs_per_hour.low, four.pairs_per_hour.high) == pytest.approx((540, 1080))


def test_each_labeler_has_a_table() -> None:
    found = cost_table_by_labeler(rows(), wage=18.0)

    assert {name: list(table) for name, table in found.items()} == {"ann": [4], "bob": [9]}
    assert found["ann"][4].seconds.value == pytest.approx(30)
    assert cost_table([], wage=18.0) == {}


def test_judgments_with_a_time_are_rankings_with_a_cost() -> None:
    found = timed(
        [
            Judgment("t", "ann", (1, 1, 2, 2, 2), seconds=12.5, prompt="p"),
            Judgment("u", "ann", (1, 2)),
        ]
    )

    assert found == [TimedRanking("p", "ann", 5, 12.5, 1 + 3)]


@pytest.mark.parametrize(
    ("seconds", "by_pairs", "by_bits"),
    [(40, "larger", "larger"), (150, "larger", "smaller"), (200, "smaller", "smaller")],
)
def test_break_even_by_the_measured_times(seconds: int, by_pairs: str, by_bits: str) -> None:
    timings = [TimedRanking(f"a{at}", "ann", 4, 29.0 + at % 3, 0) for at in range(30)]
    timings += [TimedRanking(f"b{at}", "ann", 9, seconds - 1.0 + at % 3, 0) for at in range(30)]

    found = break_even(timings)

    assert found.time_ratio.value == pytest.approx(seconds / 30)
    assert (found.by_pairs, round(found.by_bits, 2)) == (6.0, 3.65)
    assert (found.more_pairs, found.more_bits) == (by_pairs, by_bits)


def test_an_interval_that_holds_the_break_even_decides_nothing() -> None:
    timings = [TimedRanking(f"a{at}", "ann", 4, 10.0 + 20 * (at % 2), 0) for at in range(10)]
    timings += [TimedRanking(f"b{at}", "ann", 9, 73.0, 0) for at in range(10)]

    found = break_even(timings)

    assert found.time_ratio.value == pytest.approx(3.65)
    assert (found.more_pairs, found.more_bits) == ("larger", "undecided")


def test_without_one_of_the_two_nothing_is_known() -> None:
    found = break_even([TimedRanking("a", "ann", 4, 30.0, 0)])

    assert found.time_ratio.reason == NO_TIME
    assert (found.more_pairs, found.more_bits) == ("unknown", "unknown")
    with pytest.raises(ValueError, match="4 is not above 9"):
        break_even([], large=4, small=9)


def test_a_demonstration_costs_more_than_a_ranking() -> None:
    found = label_costs([("p", 600.0), ("q", 300.0)], rows(), wage=36.0)

    assert found.demonstration.value == pytest.approx(4.5)  # 450 s at a cent a second
    assert found.ranking.value == pytest.approx(0.4)
    assert found.comparison.value == pytest.approx(1.6 / 77)
    assert found.rankings_per_demonstration == pytest.approx(11.25)
    assert found.comparisons_per_demonstration == pytest.approx(4.5 / (1.6 / 77))
    alone = label_costs([], rows(), wage=36.0)
    assert alone.demonstration.value is None
    assert alone.rankings_per_demonstration is None


def test_what_cannot_be_paid_is_refused() -> None:
    with pytest.raises(ValueError, match="wage"):
        cost_table(rows(), wage=-1)
    with pytest.raises(ValueError, match="wage"):
        label_costs([], rows(), wage=-1)
    with pytest.raises(ValueError, match="cannot be"):
        TimedRanking("t", "ann", 4, 0.0, 0)
    with pytest.raises(ValueError, match="7 tied pairs of 4 items"):
        TimedRanking("t", "ann", 4, 9.0, 7)
