"""Measures, their bootstrap over clusters, and shares of independent cases, by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.judges.intervals import pooled
from alignloop.judges.measure import (
    NOTHING,
    ONE_CLUSTER,
    Measure,
    bootstrap,
    numbered,
    ratio,
    ratios,
    summed,
    undefined,
)
from alignloop.judges.proportions import cases_for, fair_coin_p, half_width, wilson

# --- bootstrap and ratios ---


def test_keys_are_numbered_as_they_appear() -> None:
    index, keys = numbered(["b", "a", "b", "c"])

    assert (index.tolist(), keys) == ([0, 1, 0, 2], ["b", "a", "c"])


def test_values_are_added_up_into_a_table() -> None:
    table = summed(np.array([0, 1, 0]), np.array([1, 0, 1]), np.array([1.0, 2.0, 4.0]), (2, 2))

    assert table.tolist() == [[0.0, 5.0], [2.0, 0.0]]


def test_a_ratio_of_sums_weighs_a_cluster_by_what_is_counted_in_it() -> None:
    found = ratio([1, 0, 0, 0], [1, 1, 1, 1], ["p", "q", "q", "q"], seed=0)

    assert found.value == pytest.approx(1 / 4)
    assert (found.cases, found.clusters) == (4, 2)


def test_the_interval_of_two_clusters_is_what_their_four_resamples_give() -> None:
    # A quarter of the resamples is (q, q) = 0, half is (p, q) = 1/4, a quarter is (p, p) = 1.
    found = ratio([1, 0, 0, 0], [1, 1, 1, 1], ["p", "q", "q", "q"], seed=0)

    assert (found.low, found.high) == (0.0, 1.0)


def test_clusters_and_not_items_are_resampled() -> None:
    # 50 clusters of 40 equal items: as certain as 50 items, not as 2,000.
    generator = np.random.default_rng(3)
    ones = generator.integers(0, 2, size=50)
    values, clusters = np.repeat(ones, 40), np.repeat(np.arange(50), 40)

    clustered = ratio(values, np.ones(2000), clusters.tolist(), seed=1)
    alone = ratio(ones, np.ones(50), list(range(50)), seed=1)

    assert (clustered.low, clustered.high) == pytest.approx((alone.low, alone.high))
    assert clustered.low is not None and clustered.high is not None
    assert 0.10 < (clustered.high - clustered.low) / 2 < half_width(50) + 0.02


def test_it_is_the_interval_of_the_evaluation_page() -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 60, size=400)
    values = (generator.random(400) < 0.3 + 0.4 * (groups % 2)).astype(float)

    ours = ratio(values, np.ones(400), groups.tolist(), seed=5)
    theirs = pooled(values, groups.tolist(), seed=6)

    assert ours.value == pytest.approx(theirs.mean)
    assert ours.clusters == theirs.n
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(11)
    held = 0
    for trial in range(200):
        chances = generator.beta(3, 2, size=80)  # mean 0.6, clusters differ
        won = generator.binomial(5, chances)
        found = ratio(won, np.full(80, 5), list(range(80)), seed=trial, resamples=400)
        assert found.low is not None and found.high is not None
        held += found.low <= 0.6 <= found.high
    assert 178 <= held <= 199  # 190 expected, standard deviation 3


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).random(30).round()

    def measured(seed: int) -> Measure:
        return ratio(values, np.ones(30), list(range(30)), seed=seed, resamples=50)

    assert measured(1) == measured(1)
    assert measured(1) != measured(2)


def test_where_nothing_is_counted_the_measure_says_so() -> None:
    assert ratio([], [], [], seed=0) == undefined(NOTHING)
    assert ratio([0], [0], ["p"], seed=0) == undefined(NOTHING)
    assert str(undefined(NOTHING)) == "undefined: nothing to count"


def test_one_cluster_has_a_value_and_no_interval() -> None:
    found = ratio([1, 0], [1, 1], ["p", "p"], seed=0)

    assert (found.value, found.low, found.high, found.reason) == (0.5, None, None, ONE_CLUSTER)
    assert str(found) == "0.500 (one task gives no interval)"


def test_where_all_clusters_say_the_same_the_interval_is_wilsons() -> None:
    # 10 of 10: z^2 / (10 + z^2) = 3.8415 / 13.8415 below 1
    found = ratio([2] * 10, [2] * 10, list(range(10)), seed=0)

    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1 - 3.8415 / 13.8415, abs=1e-4)
    assert ratio([0] * 10, [2] * 10, list(range(10)), seed=0).high == pytest.approx(
        0.2775, abs=1e-4
    )


def test_a_mean_that_is_no_share_has_no_such_bound() -> None:
    found = ratio([6.0, 6.0], [1, 1], ["p", "q"], seed=0, is_share=False)

    assert (found.value, found.low, found.high) == (6.0, 6.0, 6.0)
    assert str(found) == "6.000 (6.000 to 6.000)"


def test_figures_of_one_call_share_their_draws_and_may_be_empty() -> None:
    above = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    below = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [2.0, 0.0, 2.0]])

    first, empty, third = ratios(above, below, seed=4)

    assert first == third
    assert empty == undefined(NOTHING)


def test_resamples_in_which_a_figure_is_undefined_are_left_out() -> None:
    def statistic(sums: np.ndarray) -> np.ndarray:
        return np.where(sums > 0, 1.0, np.nan)

    value, low, high = bootstrap(np.array([[1.0], [0.0]]), statistic, seed=0, resamples=100)

    assert (value[0], low[0], high[0]) == (1.0, 1.0, 1.0)


def test_sequences_must_go_together() -> None:
    with pytest.raises(ValueError, match="per item"):
        ratio([1], [1, 1], ["p", "q"], seed=0)


# --- shares of independent cases ---


def test_wilsons_interval_by_hand() -> None:
    # 8 of 10: centre (0.8 + 0.19207) / 1.38415, spread 1.96 sqrt(0.016 + 0.0096036) / 1.38415
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10)[1] == 1.0


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_stays_within_0_and_1_and_mirrors(case: tuple[int, int]) -> None:
    won, cases = case
    low, high = wilson(won, cases)

    assert 0.0 <= low <= won / cases <= high <= 1.0
    assert low < high
    assert wilson(cases - won, cases) == pytest.approx((1 - high, 1 - low))


def test_the_fair_coin_by_hand() -> None:
    assert fair_coin_p(8, 10) == pytest.approx(2 * (45 + 10 + 1) / 1024)
    assert fair_coin_p(2, 10) == pytest.approx(2 * (45 + 10 + 1) / 1024)
    assert fair_coin_p(5, 10) == 1.0
    assert fair_coin_p(0, 0) == 1.0
    assert fair_coin_p(0, 3) == pytest.approx(1 / 4)


@given(st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_fair_coin_is_the_chance_of_what_is_no_likelier(case: tuple[int, int]) -> None:
    heads, tosses = case
    ways = [math.comb(tosses, at) for at in range(tosses + 1)]
    exact = Fraction(sum(way for way in ways if way <= ways[heads]), 2**tosses)

    assert fair_coin_p(heads, tosses) == pytest.approx(float(exact))


def test_many_tosses_are_no_trouble() -> None:
    # The normal approximation with a correction for steps: z = (50,500 - 50,000 - 1/2) / sqrt(25,000)
    z = 499.5 / math.sqrt(25_000)
    assert fair_coin_p(50_500, 100_000) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)


@pytest.mark.parametrize(("cases", "points"), [(100, 9.8), (200, 6.9), (400, 4.9), (800, 3.5)])
def test_a_plan_says_how_wide_the_interval_will_be(cases: int, points: float) -> None:
    assert round(100 * half_width(cases), 1) == points


@given(st.floats(0.005, 0.4), st.floats(0.0, 1.0))
def test_a_plan_finds_the_fewest_cases(half: float, share: float) -> None:
    cases = cases_for(half, share)

    assert half_width(cases, share) <= half
    assert cases == 1 or half_width(cases - 1, share) > half


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="no share"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="3 heads of 2"):
        fair_coin_p(3, 2)
    with pytest.raises(ValueError, match="at least one case"):
        half_width(0)
    with pytest.raises(ValueError, match="width above 0"):
        cases_for(0.0)
