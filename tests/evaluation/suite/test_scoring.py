"""Figures with intervals, chance, and signed differences, against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.evaluation.suite.scoring import (
    Cell,
    Scored,
    cells,
    difference,
    figure,
    measured,
    scored,
)
from alignloop.evaluation.tasks.choice import HELLASWAG
from alignloop.evaluation.tasks.task import Item, Metric, Output, mean_of
from alignloop.judges.intervals import pooled
from alignloop.judges.measure import Measure
from alignloop.judges.proportions import wilson

VALUES = st.lists(st.floats(0, 1), min_size=3, max_size=12)


def number(_item: Item, output: Output) -> float | None:
    return output.toxicity


MEAN = mean_of("mean", "a mean", number, better="higher", chance=lambda item: item.about["chance"])


def rows(
    values: list[float | None], clusters: list[str] | None = None, kinds: str = ""
) -> list[Scored]:
    items = [
        Item(
            f"item {i}",
            "?",
            cluster=clusters[i] if clusters else "",
            kind=kinds[i] if kinds else "",
            about={"chance": 0.5},
        )
        for i in range(len(values))
    ]
    return scored(items, [Output(toxicity=value) for value in values], [MEAN])


def measure(values: list[float | None], clusters: list[str] | None = None) -> Measure:
    return figure(MEAN, rows(values, clusters), seed=3, resamples=400)


def test_a_mean_has_the_interval_of_a_bootstrap_over_clusters() -> None:
    values, clusters = [0.0, 1.0, 0.5, 0.25, 1.0], ["a", "a", "b", "c", "d"]
    expected = pooled(values, clusters, seed=3, resamples=400)

    found = measure(values, clusters)

    assert found.value == pytest.approx(0.55) == pytest.approx(expected.mean)
    assert (found.cases, found.clusters) == (5, 4)
    # the same clusters in another draw: near, not equal
    assert found.low == pytest.approx(expected.low, abs=0.05)
    assert found.high == pytest.approx(expected.high, abs=0.05)
    assert found == measure(values, clusters)


def test_what_does_not_count_is_left_out() -> None:
    found = measure([0.0, None, 1.0, 0.5])

    assert (found.value, found.cases) == (0.5, 3)
    assert measure([None, None]).reason.startswith("undefined")


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_rate_that_is_settled_has_wilsons_interval(value: float) -> None:
    found = measure([value] * 6, ["a", "a", "b", "b", "c", "d"])

    assert (found.low, found.high) == wilson(int(value) * 4, 4)


def test_no_spread_and_one_cluster_give_no_interval_and_no_value_is_told() -> None:
    for found in (measure([0.5, 0.5, 0.5]), measure([0.2, 0.4], ["a", "a"])):
        assert found.low is None
        told = measured(found)
        assert "value" not in told
        assert told["reason"]


def test_chance_is_the_mean_over_what_counts_and_marked_within_the_interval() -> None:
    items = [
        Item("a", "?", choices=("x", "y"), about={"label": 0}),
        Item("b", "?", choices=("x", "y", "z", "w"), about={"label": 1}),
        Item("c", "?", choices=("x", "y"), about={"label": 1}),
    ]
    outputs = [
        Output(
            log_probs=(0.0,) + (-1.0,) * (len(item.choices) - 1), tokens=(1,) * len(item.choices)
        )
        for item in items
    ]

    [cell] = cells(
        "base",
        "hellaswag",
        "0-shot",
        HELLASWAG.metrics,
        scored(items, outputs, HELLASWAG.metrics),
        seed=1,
        resamples=200,
        by_kind=False,
    )

    assert cell.measure.value == pytest.approx(1 / 3)
    assert cell.chance == pytest.approx((1 / 2 + 1 / 4 + 1 / 2) / 3)
    assert cell.is_at_chance
    assert cell.as_json()["at_chance"] is True


def test_an_interval_beside_chance_is_not_at_chance() -> None:
    one = Cell("p", "t", "s", "m", "", Measure(0.7, 0.6, 0.8, 10, 10), 0.5)
    assert not one.is_at_chance
    assert not Cell("p", "t", "s", "m", "", Measure(0.7, 0.4, 0.8, 10, 10), None).is_at_chance


def test_figures_are_split_by_kind() -> None:
    found = cells(
        "p", "t", "s", [MEAN], rows([0.0, 0.5, 1.0, 0.25], kinds="aabb"), seed=1, resamples=200,
        by_kind=True,
    )  # fmt: skip

    assert [(cell.kind, cell.measure.value, cell.measure.cases) for cell in found] == [
        ("", 0.4375, 4),
        ("a", 0.25, 2),
        ("b", 0.625, 2),
    ]


# --- differences ---


def less(before: list[float | None], after: list[float | None]) -> Measure:
    return difference(MEAN, rows(before), rows(after), seed=2, resamples=400)


def test_a_difference_is_signed_and_paired() -> None:
    before, after = [0.1, 0.5, 0.9, 0.3], [0.3, 0.7, 1.0, 0.4]
    found = less(before, after)

    assert found.value == pytest.approx(0.15)
    assert found.low is not None
    assert found.high is not None
    # items differ by 0.8, their differences by 0.1: only the latter widen it
    assert 0.1 - 1e-9 <= found.low < found.high <= 0.2 + 1e-9


def test_a_difference_of_what_counts_is_that_of_the_cells() -> None:
    before, after = [0.1, None, 0.9, 0.3], [None, 0.7, 1.0, 0.4]

    found = less(before, after)

    assert found.cases == 4
    assert less([None, 0.5, 0.25], [None, 0.5, None]).cases == 2
    own, other = measure(after).value, measure(before).value
    assert own is not None
    assert other is not None
    assert found.value == pytest.approx(own - other)


def test_no_change_at_all_is_as_sure_as_its_number() -> None:
    found = less([0.5, 1.0, 0.0], [0.5, 1.0, 0.0])

    assert found.value == 0.0
    assert found.high == wilson(0, 3)[1]
    assert found.low == -wilson(0, 3)[1]


def test_other_items_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same items"):
        difference(MEAN, rows([0.1, 0.2]), rows([0.1]), seed=1, resamples=200)


@given(VALUES, st.randoms(use_true_random=False))
def test_a_difference_the_other_way_round_is_its_mirror(values: list[float], random) -> None:
    others = values[:]
    random.shuffle(others)

    one, other = less(list(values), list(others)), less(list(others), list(values))

    assert one.value == pytest.approx(-other.value)
    if one.low is not None and other.high is not None:
        assert one.low == pytest.approx(-other.high, abs=1e-9)


def test_a_figure_that_is_no_mean_is_made_anew_from_sums() -> None:
    ratio = Metric(
        "ratio",
        "a ratio of sums",
        lambda _item, output: (output.toxicity or 0.0, 1.0, 2.0),
        lambda sums: np.where(sums[:, 2] > 0, (sums[:, 0] / sums[:, 2]) ** 2, np.nan),
    )
    items = [Item(str(i), "?") for i in range(4)]
    outputs = [Output(toxicity=value) for value in (0.0, 1.0, 1.0, 0.5)]

    found = figure(ratio, scored(items, outputs, [ratio]), seed=1, resamples=300)

    assert found.value == pytest.approx((2.5 / 8) ** 2)
    assert found.low is not None
    assert found.low < found.value
