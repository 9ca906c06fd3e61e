"""Win rates out of reports of any layout; a rate without an interval is never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignloop.workflow.overview.runs import runs_below
from alignloop.workflow.overview.win_rates import rates_in, win_rates
from tests.workflow.overview.folders import make_run

ESTIMATE = {"mean": 0.625, "low": 0.5, "high": 0.75, "n": 40}


def test_the_demos_layout_is_read() -> None:
    (rate,) = rates_in({"win_rate": {"ppo": {"gold": ESTIMATE}}}, "evaluation")

    assert (rate.model, rate.judge, rate.against) == ("ppo", "gold", "sft")
    assert (rate.mean, rate.low, rate.high, rate.n) == (0.625, 0.5, 0.75, 40)
    assert rate.is_simulated is None


@pytest.mark.parametrize(
    ("report", "path"),
    [
        ({"win_rate": {"ppo": {"people": {"heldout": ESTIMATE}}}}, ("ppo", "people", "heldout")),
        ({"win_rates": [{"policy": "ppo", "rate": ESTIMATE}]}, ("ppo", "rate")),
        (
            {"win_rates": {"ppo": {"value": 0.625, "low": 0.5, "high": 0.75, "clusters": 40}}},
            ("ppo",),
        ),
    ],
)
def test_other_layouts_are_read_too(report: dict[str, Any], path: tuple[str, ...]) -> None:
    (rate,) = rates_in(report)

    assert rate.path == path
    assert (rate.mean, rate.n) == (0.625, 40)


@pytest.mark.parametrize(
    "estimate",
    [
        {"mean": 0.6},
        {"mean": 0.6, "low": None, "high": None, "n": 1},
        {"mean": 0.6, "low": 0.5, "high": 0.7},
        {"mean": None, "low": 0.5, "high": 0.7, "n": 3},
        {"mean": True, "low": 0.5, "high": 0.7, "n": 3},
        "0.6",
        None,
    ],
)
def test_a_rate_without_an_interval_is_left_out(estimate: Any) -> None:
    assert rates_in({"win_rate": {"ppo": {"gold": estimate}}}) == []


def test_each_judge_may_say_whether_it_is_code() -> None:
    judges = {"simulated/heldout": {"simulated": True}, "reward": {"simulated": False}}
    rates = {"ppo": {"simulated/heldout": ESTIMATE, "reward": ESTIMATE}}

    found = rates_in({"win_rate": rates, "judges": judges, "baseline": "base"})

    assert [(rate.judge, rate.is_simulated, rate.against) for rate in found] == [
        ("simulated/heldout", True, "base"),
        ("reward", False, "base"),
    ]


def test_a_report_without_rates_has_none() -> None:
    assert rates_in({"accuracy": {"new": ESTIMATE}}) == []
    assert rates_in({"win_rate": ESTIMATE}) == []


def test_judges_made_as_simulated_labelers_are_told(tmp_path: Path) -> None:
    report = {"win_rate": {"ppo": {"heldout_labelers": ESTIMATE}}}
    rankings = make_run(tmp_path / "rankings", "rank", kind="rankings", facts={"simulated": True})
    for name, parents in (("by_code", {"rankings": ("rankings", rankings)}), ("unknown", None)):
        make_run(
            tmp_path / name, "evaluate", kind="evaluation-report", parents=parents, report=report
        )
    make_run(
        tmp_path / "people",
        "votes",
        kind="evaluation-report",
        report={**report, "simulated": False},
    )

    found = {rate.run: rate.is_simulated for rate in win_rates(runs_below(tmp_path))}

    assert found == {"by_code": True, "unknown": None, "people": False}
