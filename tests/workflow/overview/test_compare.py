"""Runs side by side: differences, last and best values, what is missing, and the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.errors import MissingExtraError, RunError
from alignloop.runs.metrics import METRICS
from alignloop.workflow.overview.compare import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    Comparison,
    compare_runs,
    sparkline,
)
from alignloop.workflow.overview.side_by_side import side_by_side
from tests.workflow.overview.folders import make_run


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two PPO runs that differ in one setting, one input and their curves."""
    for name, coefficient, rewards, scores in (
        ("a", 0.02, "r" * 64, (0.1, 0.9, 0.4)),
        ("b", 0.05, "s" * 64, (0.2, 0.3, 0.5)),
    ):
        make_run(
            tmp_path / name,
            "ppo",
            config={"seed": 1, "kl_coef": coefficient, "sampling": {"temperature": 1.0}},
            parents={
                "policy": ("policy", "p" * 64),
                "reward_model": ("reward-model", rewards),
            },
            facts={"response_tokens": 1234},
            metrics=[
                {"step": at, "score_mean": score, "pretraining_loss": 3 - score, "entropy": 2.0}
                for at, score in enumerate(scores, start=1)
            ],
            seconds=(30.0, 40.0),
        )
    return [tmp_path / "a", tmp_path / "b"]


def text_of(found: Comparison, width: int = 120, **options: object) -> str:
    return "\n".join(side_by_side(found, width, **options))  # type: ignore[arg-type]


def test_only_what_differs_is_shown(runs: list[Path]) -> None:
    found = compare_runs(runs)

    assert found.config_rows() == [("kl_coef", [0.02, 0.05])]
    assert [role for role, _ in found.input_rows()] == ["reward_model"]
    assert [key for key, _ in found.config_rows(all_keys=True)] == [
        "seed",
        "kl_coef",
        "sampling.temperature",
    ]
    assert [role for role, _ in found.input_rows(all_inputs=True)] == ["policy", "reward_model"]


def test_last_and_best_values_are_told_where_better_means_something(runs: list[Path]) -> None:
    first = compare_runs(runs).runs[0]

    assert first.series["score_mean"].last == 0.4
    assert first.series["score_mean"].best("score_mean") == (0.9, 2)
    assert first.series["pretraining_loss"].best("pretraining_loss") == (pytest.approx(2.1), 2)
    assert first.series["entropy"].best("entropy") is None
    assert (first.seconds, first.tokens) == (70.0, 1234)
    text = text_of(compare_runs(runs))
    assert "0.4 (0.9 at 2)" in text
    assert "1 min 10 s" in text
    assert "1,234" in text


def test_metrics_with_a_better_side_are_in_the_glossary() -> None:
    assert set(METRICS) >= LOWER_IS_BETTER | HIGHER_IS_BETTER
    assert not LOWER_IS_BETTER & HIGHER_IS_BETTER


def test_a_series_is_drawn(runs: list[Path]) -> None:
    text = text_of(compare_runs(runs), metrics=["score_mean"])

    assert "_^." in text  # 0.1, 0.9, and 0.4, in the second fifth between the two
    assert "0.1 to 0.4, best 0.9 at 2" in text
    assert "entropy" not in text


def test_what_is_missing_is_told(runs: list[Path]) -> None:
    (runs[1] / "metrics.jsonl").write_text('{"step": 1, "score_mean": 0.5}\n{"step": 2, "scor')
    (runs[1] / "timings.jsonl").unlink()
    (runs[1] / "config.json").write_text("{")

    found = compare_runs(runs)

    assert found.runs[1].missing == ("config.json", "timings.jsonl")
    assert found.runs[1].series["score_mean"].values == (0.5,)
    assert "..timings.jsonl" in text_of(found) or "timings.jsonl" in text_of(found)


def test_settings_that_another_stage_does_not_have_are_no_difference(
    runs: list[Path], tmp_path: Path
) -> None:
    make_run(tmp_path / "sft", "sft", config={"seed": 2, "epochs": 3})

    found = compare_runs([*runs, tmp_path / "sft"])

    assert found.config_rows() == [("seed", [1, 1, 2]), ("kl_coef", [0.02, 0.05, "-"])]
    assert "different stages" in text_of(found)


def test_a_setting_that_one_of_the_same_stage_lacks_is_a_difference(
    runs: list[Path], tmp_path: Path
) -> None:
    make_run(tmp_path / "old", "ppo", config={"seed": 1, "kl_coef": 0.02})

    found = compare_runs([runs[0], tmp_path / "old"])

    assert found.config_rows() == [("sampling.temperature", [1.0, "-"])]


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_run(tmp_path / name / "ppo", "ppo")
    places = [tmp_path / "one" / "ppo", tmp_path / "two" / "ppo"]

    assert [one.name for one in compare_runs(places).runs] == ["one/ppo", "two/ppo"]
    again = compare_runs([places[0], places[0]])
    assert [one.name for one in again.runs] == ["ppo (1)", "ppo (2)"]


def test_what_is_no_run_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run here"):
        compare_runs([runs[0], tmp_path])
    with pytest.raises(RunError, match="two run folders"):
        compare_runs(runs[:1])


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_terminal(runs: list[Path], width: int) -> None:
    lines = [*side_by_side(compare_runs(runs), width, all_keys=True)]
    lines += side_by_side(compare_runs(runs), width, metrics=["score_mean"])

    assert max(map(len, lines)) <= width


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200),
    st.integers(1, 80),
)
def test_a_sparkline_has_its_width_and_its_ends(values: list[float], width: int) -> None:
    drawn = sparkline(values, width)

    assert len(drawn) == min(width, len(values))
    if len(values) <= width and max(values) - min(values) > 1e-3:
        assert drawn[values.index(max(values))] == "^"
        assert drawn[values.index(min(values))] == "_"


def test_the_page_has_the_curves_and_stands_alone(runs: list[Path], tmp_path: Path) -> None:
    from alignloop.workflow.overview.page import write_page

    write_page(tmp_path / "page.html", compare_runs(runs), ["score_mean"])
    write_page(tmp_path / "again.html", compare_runs(runs), ["score_mean"])

    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 1
    assert "kl_coef" in page
    assert "a goes from 0.10 to 0.40" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page == (tmp_path / "again.html").read_text()


def test_without_matplotlib_the_page_is_refused_in_one_line(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alignloop.workflow.overview.page import write_page

    for name in [one for one in sys.modules if one.startswith("alignloop.workflow.report.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)

    with pytest.raises(MissingExtraError, match="--html"):
        write_page(tmp_path / "page.html", compare_runs(runs))
    assert not (tmp_path / "page.html").exists()
