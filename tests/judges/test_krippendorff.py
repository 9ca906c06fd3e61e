"""Krippendorff's alpha: published examples, the definition value by value, and what must not change it."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction
from random import Random
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alignloop.judges.krippendorff import (
    NO_PAIR,
    NO_VARIANCE,
    Metric,
    alpha,
    long_form,
)
from alignloop.judges.measure import ONE_CLUSTER

_ = None
PUBLISHED = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3),
    (_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _),
)
"""Four observers, twelve units: Krippendorff 2011, section C, and Hayes and Krippendorff 2007."""

METRICS: tuple[Metric, ...] = get_args(Metric)
tables = st.integers(2, 5).flatmap(
    lambda raters: st.lists(
        st.lists(st.one_of(st.none(), st.integers(1, 5)), min_size=raters, max_size=raters),
        min_size=1,
        max_size=8,
    )
)
"""One row per unit."""


def of_units(units: list[list[int | None]], metric: Metric, resamples: int = 5) -> float | None:
    rows = [(at, value) for at, unit in enumerate(units) for value in unit if value is not None]
    return alpha([at for at, _ in rows], [v for _, v in rows], metric, resamples=resamples).value


def by_definition(units: list[list[int | None]], metric: Metric) -> Fraction | None:
    """1 - D_o / D_e, both as means over pairs of single values; None where D_e is 0 or there is no pair."""
    paired = [[v for v in unit if v is not None] for unit in units]
    paired = [unit for unit in paired if len(unit) > 1]
    every = [value for unit in paired for value in unit]
    if not every:
        return None
    count = Counter(every)

    def delta(c: int, k: int) -> Fraction:
        if metric == "nominal":
            return Fraction(c != k)
        if metric == "interval":
            return Fraction((c - k) ** 2)
        low, high = min(c, k), max(c, k)
        between = sum(count[g] for g in count if low <= g <= high)
        return (between - Fraction(count[low] + count[high], 2)) ** 2

    observed = sum(
        Fraction(1, len(unit) - 1) * delta(a, b)
        for unit in paired
        for a, b in itertools.permutations(unit, 2)
    )
    expected = sum(delta(a, b) for a, b in itertools.permutations(every, 2))
    if not expected:
        return None
    return 1 - observed / len(every) / (Fraction(expected) / (len(every) * (len(every) - 1)))


@pytest.mark.parametrize(
    ("metric", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_the_published_figures(metric: Metric, published: float) -> None:
    found = alpha(*long_form(PUBLISHED), metric)

    assert found.value is not None
    assert round(found.value, 3) == published
    assert (found.cases, found.clusters) == (40, 11)  # the twelfth unit has one value


def test_the_published_figures_of_two_observers() -> None:
    binary = ((0, 1, 0, 0, 0, 0, 0, 0, 1, 0), (1, 1, 1, 0, 0, 1, 0, 0, 0, 0))
    nominal = tuple(
        tuple("abcde".index(c) for c in row) for row in ("aabbdcccedda", "babbbccceddd")
    )

    assert round(alpha(*long_form(binary), "nominal").value or 0, 3) == 0.095
    assert round(alpha(*long_form(nominal), "nominal").value or 0, 3) == 0.692


def test_two_raters_by_hand() -> None:
    # Units (1,1), (1,2), (2,2): o_12 = o_21 = 1, n_1 = n_2 = 3; D_o = 2/6, D_e = 2 * 9 / 30.
    assert of_units([[1, 1], [1, 2], [2, 2]], "nominal") == pytest.approx(1 - (2 / 6) / (18 / 30))


@given(tables, st.sampled_from(METRICS))
def test_it_is_the_definition(units: list[list[int | None]], metric: Metric) -> None:
    expected = by_definition(units, metric)
    found = of_units(units, metric)

    assert (found is None) == (expected is None)
    if expected is not None:
        assert found == pytest.approx(float(expected))


@given(tables, st.sampled_from(METRICS), st.randoms())
def test_neither_who_rated_nor_the_order_of_units_matters(
    units: list[list[int | None]], metric: Metric, random: Random
) -> None:
    shuffled = [random.sample(unit, len(unit)) for unit in random.sample(units, len(units))]

    assert of_units(shuffled, metric) == pytest.approx(of_units(units, metric))


@given(tables)
def test_each_metric_ignores_what_its_scale_does_not_have(units: list[list[int | None]]) -> None:
    def with_values(*names: int) -> list[list[int | None]]:
        return [[None if v is None else names[v - 1] for v in unit] for unit in units]

    assume(of_units(units, "nominal") is not None)
    assert of_units(with_values(30, 10, 50, 20, 40), "nominal") == pytest.approx(
        of_units(units, "nominal")
    )
    assert of_units(with_values(1, 10, 11, 500, 501), "ordinal") == pytest.approx(
        of_units(units, "ordinal")
    )
    assert of_units(with_values(-7, -4, -1, 2, 5), "interval") == pytest.approx(
        of_units(units, "interval")
    )


@pytest.mark.parametrize("metric", METRICS)
def test_agreement_on_one_value_alone_is_undefined_and_not_perfect(metric: Metric) -> None:
    found = alpha([0, 0, 1, 1], [4, 4, 4, 4], metric)

    assert (found.value, found.low, found.high) == (None, None, None)
    assert found.reason == NO_VARIANCE == str(found)
    assert alpha([0, 0, 1, 1], [4, 4, 5, 5], metric).value == 1.0


def test_without_a_unit_rated_twice_it_is_undefined() -> None:
    assert alpha([0, 1, 2], [1, 2, 3], "nominal").reason == NO_PAIR
    assert alpha([], [], "nominal").reason == NO_PAIR


def test_a_value_that_nobody_else_saw_does_not_count_as_variance() -> None:
    assert alpha([0, 0, 1], [4, 4, 5], "nominal").reason == NO_VARIANCE


def test_disagreement_as_a_rule_is_below_0() -> None:
    assert (of_units([[1, 2]] * 10, "nominal") or 0) < 0


def test_the_interval_is_drawn_over_clusters() -> None:
    # 200 units in 10 clusters that each say one thing twenty times
    pairs = [(1, 1)] * 4 + [(2, 2)] * 3 + [(1, 2)] * 3
    units = [unit for unit in range(200) for _ in range(2)]
    values = [value for pair in pairs for _ in range(20) for value in pair]
    by_cluster = [unit // 20 for unit in units]

    alone = alpha(units, values, "nominal")
    clustered = alpha(units, values, "nominal", clusters=by_cluster)

    assert alone.value == clustered.value
    assert (alone.clusters, clustered.clusters) == (200, 10)
    assert alone.low is not None and alone.high is not None
    assert clustered.low is not None and clustered.high is not None
    assert clustered.high - clustered.low > 3 * (alone.high - alone.low)
    assert alpha(units, values, "nominal", clusters=[0] * 400).reason == ONE_CLUSTER


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValueError, match="per row"):
        alpha([0], [1, 2], "nominal")
    with pytest.raises(ValueError, match="not finite"):
        alpha([0, 0], [1, float("nan")], "nominal")
    with pytest.raises(ValueError, match="two clusters"):
        alpha([0, 0], [1, 2], "nominal", clusters=["p", "q"])
