"""Charts: right positions, every number in the table, nothing that the policy forbids."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.labeling.app.charts import (
    HEIGHT,
    LEFT,
    TOP,
    Series,
    bar_chart,
    chart_words,
    interval_chart,
    line_chart,
    ticks_for,
)
from alignloop.labeling.app.i18n import catalogue
from alignloop.labeling.app.pages.common import Estimate

WORDS = chart_words(catalogue("en"))


def shapes(chart: str, tag: str, class_: str) -> list[dict[str, str]]:
    """Attributes of the shapes of a class; it also checks that the markup is well-formed."""
    tree = ElementTree.fromstring(f"<div>{chart}</div>")
    return [found.attrib for found in tree.iter(tag) if class_ in found.get("class", "").split()]


def number(text: str) -> float:
    return float(text.removesuffix("%"))


def test_bars_stand_on_zero_and_are_as_high_as_their_values() -> None:
    chart = bar_chart(
        "Labels per day", [("Mon", 0.0), ("Tue", 50.0), ("Wed", 100.0)], WORDS, label="Day"
    )

    bars = shapes(chart, "rect", "bar")
    assert [number(bar["height"]) for bar in bars] == [0.0, HEIGHT / 2, HEIGHT]
    assert all(number(bar["y"]) + number(bar["height"]) == TOP + HEIGHT for bar in bars)
    width = (100 - LEFT) / 3
    assert [number(bar["x"]) for bar in bars] == pytest.approx(
        [LEFT + width * (at + 0.15) for at in range(3)], abs=0.01
    )


def test_a_line_has_a_gap_where_a_value_is_missing() -> None:
    values = [1.0, 2.0, None, 4.0, 3.0]
    chart = line_chart("Trend", list("abcde"), [Series("one", values)], WORDS, label="Day")

    assert len(shapes(chart, "line", "line")) == 2
    assert len(shapes(chart, "circle", "point")) == 4
    assert "<td class='number'>–</td>" in chart


def test_lines_are_told_apart_by_name() -> None:
    chart = line_chart(
        "T",
        ["a", "b"],
        [Series("Training", [1, 2]), Series("Held-out", [2, 1])],
        WORDS,
        label="Day",
    )

    tree = ElementTree.fromstring(f"<div>{chart}</div>")
    names = [text.text for text in tree.iter("text") if "series" in text.get("class", "")]
    assert names == ["Training", "Held-out"]


def test_intervals_and_references_share_a_scale() -> None:
    rows = [("Mina", Estimate(0.5, 0.25, 0.75, 10)), ("Otto", Estimate(0.75, 0.5, 1.0, 20))]
    chart = interval_chart(
        "A", rows, WORDS, label="Labeler", references=[("Paper", 0.5)], span=(0.0, 1.0)
    )

    first, second = shapes(chart, "line", "interval")
    (reference,) = shapes(chart, "line", "reference")
    points = [point["cx"] for point in shapes(chart, "circle", "point")]
    assert number(reference["x1"]) == 50.0
    assert points[0] == reference["x1"] == second["x1"]
    assert points[1] == first["x2"]
    assert number(first["x2"]) - number(first["x1"]) == pytest.approx(50 / 1.08, abs=0.02)
    assert "<td class='number'>20</td>" in chart


def test_a_chart_without_data_is_a_chart() -> None:
    for chart in (
        bar_chart("T", [], WORDS, label="Day"),
        line_chart("T", [], [], WORDS, label="Day"),
        interval_chart("T", [], WORDS, label="Day"),
    ):
        assert ElementTree.fromstring(f"<div>{chart}</div>")[0].get("aria-label") == "T"


def test_words_are_escaped_and_nothing_is_inline() -> None:
    hostile = "<img src=x onerror=alert(1)> & \"'"
    charts = [
        bar_chart(hostile, [(hostile, 1.0)], WORDS, label=hostile),
        line_chart(hostile, [hostile], [Series(hostile, [1.0])] * 2, WORDS, label=hostile),
        interval_chart(
            hostile,
            [(hostile, Estimate(0.5, 0.4, 0.6, 3))],
            WORDS,
            label=hostile,
            references=[(hostile, 0.5)],
        ),
    ]

    for chart in charts:
        assert "<img" not in chart
        assert not re.search(r"\sstyle=|\sfill=|\sstroke=", chart)
        assert ElementTree.fromstring(f"<div>{chart}</div>")[0].get("aria-label") == hostile


@given(
    st.floats(-1e6, 1e6).flatmap(lambda low: st.tuples(st.just(low), st.floats(low, low + 1e6))),
    st.sampled_from(["{:.0f}".format, "{:.0%}".format, "{:.2f}".format]),
)
def test_ticks_hold_the_data_and_read_differently(ends: tuple[float, float], write: object) -> None:
    low, high = ends

    ticks = ticks_for(high, low, write)  # type: ignore[arg-type]

    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 7
    assert len({write(tick) for tick in ticks}) == len(ticks)  # type: ignore[operator]
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-6, abs_tol=slack) for step in steps)
