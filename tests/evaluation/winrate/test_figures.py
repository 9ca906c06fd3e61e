"""Figures of a report on verdicts that can be counted by hand, and the page that shows them."""

from __future__ import annotations

import re

import pytest

from alignloop.data.records import Completion, Prompt
from alignloop.evaluation.page.chart import Row, win_rate_chart
from alignloop.evaluation.page.words import amount, share
from alignloop.evaluation.winrate.config import WinRateConfig
from alignloop.evaluation.winrate.contestants import Answered
from alignloop.evaluation.winrate.figures import Setting, agreement_of, figures_of, report_of
from alignloop.evaluation.winrate.panel import Bench
from alignloop.evaluation.winrate.view import win_rate_page
from alignloop.judges.verdicts import Verdict

CONFIG = WinRateConfig(resamples=200, like_length=2)
PROMPTS = [
    Prompt(id=f"p{n}", text=f"Prompt {n}", use_case="begin" if n < 2 else "", group=f"user-{n % 3}")
    for n in range(6)
]
SETTING = Setting.of(CONFIG, "sft", PROMPTS)


def verdicts(a: str, b: str, outcomes: list[float], **fields: float | str) -> list[Verdict]:
    return [
        Verdict(prompt.id, a, b, outcome, **{"by": "ann", **fields})  # type: ignore[arg-type]
        for prompt, outcome in zip(PROMPTS, outcomes, strict=False)
    ]


WINS = verdicts("ppo", "sft", [1, 1, 0, 1, 0.5, 1], length_a=20.0, length_b=19.0)


def test_parts_add_up_to_the_whole() -> None:
    found = figures_of(WINS, SETTING)

    assert found["win_rate"]["ppo"]["mean"] == pytest.approx(0.75)
    parts = found["win_rate_by_use_case"]["ppo"]
    assert (parts["begin"]["mean"], parts["begin"]["n"]) == (1.0, 2)
    assert (parts["not given"]["mean"], parts["not given"]["n"]) == (0.625, 4)
    assert found["win_rate_over_groups"]["ppo"]["n"] == 3


def test_the_matrix_has_both_halves() -> None:
    found = figures_of(WINS, SETTING)["pairs"]

    one, other = found["ppo"]["sft"], found["sft"]["ppo"]
    assert one["mean"] + other["mean"] == pytest.approx(1.0)
    assert one["low"] + other["high"] == pytest.approx(1.0)
    assert one["n"] == other["n"] == 6


def test_cohorts_stand_apart_where_there_are_two() -> None:
    found = figures_of(
        [
            *verdicts("ppo", "sft", [1, 1, 1], cohort="training"),
            *verdicts("ppo", "sft", [0, 1, 0], cohort="heldout"),
        ],
        SETTING,
    )

    by_cohort = found["win_rate_by_cohort"]["ppo"]
    assert by_cohort["training"]["mean"] == 1.0
    assert by_cohort["heldout"]["mean"] == pytest.approx(1 / 3)
    assert "win_rate_by_cohort" not in figures_of(WINS, SETTING)


def test_like_length_says_of_how_many() -> None:
    far = verdicts("ppo", "sft", [0, 0, 0, 0], length_a=90.0, length_b=10.0)
    near = [Verdict(f"p{n}", "ppo", "sft", 1.0, "ann", "", 10, 10) for n in (4, 5)]

    cell = figures_of([*far, *near], SETTING)["win_rate_length_matched"]["ppo"]

    assert (cell["mean"], cell["n"], cell["of"], cell["band"]) == (1.0, 2, 6, 1.1)


def test_policies_that_were_never_compared_leave_the_win_rates_standing() -> None:
    found = figures_of([*WINS, *verdicts("x", "y", [1, 0])], SETTING)

    assert found["bradley_terry"] == {}
    assert "{sft, ppo} and {x, y}" in found["bradley_terry_missing"]
    assert found["win_rate"]["ppo"]["mean"] == 0.75


def test_two_judges_agree_where_both_prefer_the_same() -> None:
    """On p0 and p1 alike, on p2 not; on p3 one ties, and p4 was judged by one alone."""
    said = {
        "one": verdicts("ppo", "sft", [1, 0, 1, 0.5, 1]),
        "other": verdicts("sft", "ppo", [0, 1, 1, 1]),
        "silent": [],
    }

    found = agreement_of(said, SETTING)

    assert list(found) == ["one"] and list(found["one"]) == ["other"]
    assert (found["one"]["other"]["mean"], found["one"]["other"]["n"]) == (pytest.approx(2 / 3), 3)


# --- the page ---


def report() -> dict[str, object]:
    answered = {
        name: Answered(
            name,
            "0" * 64,
            {p.id: Completion(text="x" * 9, model=name, finished=True, tokens=3) for p in PROMPTS},
            {"asked": None, "sampling": {"temperature": 1.0}, "seed": 1},
        )
        for name in ("sft", "ppo")
    }
    bench = Bench("reward/<b>rm</b>", "the reward model", WINS)
    return report_of([bench], answered, SETTING, None, CONFIG)


def test_every_percentage_on_the_page_has_an_interval_and_n() -> None:
    page = win_rate_page(report())

    cells = re.findall(r"<td>([^<]*%[^<]*)</td>", page)
    assert len(cells) > 8
    for cell in cells:
        assert re.search(r"\(.* to .*\), n\u00a0\d|of 6, up to", cell), cell
    assert "<b>rm</b>" not in page and "&lt;b&gt;rm" in page


def test_the_same_report_gives_the_same_bytes() -> None:
    assert win_rate_page(report()) == win_rate_page(report())


def test_the_chart_reads_itself_aloud_and_leaves_out_what_has_no_interval() -> None:
    cell = {"mean": 0.6, "low": 0.5, "high": 0.7, "n": 40}
    none = {"mean": 0.6, "low": None, "high": None, "n": 1, "reason": "one task"}

    svg = win_rate_chart([Row("ppo"), Row("people", cell), Row("one", none)], "Win rates.")

    assert svg.count("<circle") == 1
    assert "people: 60.0\u00a0% (50.0 to 70.0), n\u00a040" in svg
    label = re.search(r'aria-label="([^"]*)"', svg)
    assert label and "60.0\u00a0%" in label[1]


def test_a_figure_without_an_interval_is_not_printed() -> None:
    none = {"mean": 0.6, "low": None, "high": None, "n": 1, "reason": "one task gives no interval"}

    for written in (share(none), amount(none)):
        assert "60" not in written and "0.6" not in written
        assert "one task gives no interval" in written
    assert share(None) == "\u2013"
    assert share({"mean": None, "low": None, "high": None, "n": 0, "reason": "why"}) == "why"
    cell = {"mean": -0.004, "low": -1.0, "high": 2.0, "n": 7}
    assert amount(cell, signed=True) == "0.00 (\u22121.00 to +2.00), n\u00a07"
