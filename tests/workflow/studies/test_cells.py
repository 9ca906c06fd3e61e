"""Cells: done once, passed over afterwards, made anew for another setting; and the clock's arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from alignloop.errors import ConfigError
from alignloop.runs.run import Run
from alignloop.sft.config import SFTConfig
from alignloop.workflow.studies.cells import Cell, Clock, Row, minutes, read_cell, run_cell


def cell(work: Callable[[Path], Sequence[Row]], **setting: Any) -> Cell:
    return Cell("arm_0.5", "small", 2, {"grid": (1, 2), **setting}, work)


def test_a_cell_is_done_once(tmp_path: Path) -> None:
    calls: list[Path] = []

    def work(folder: Path) -> Sequence[Row]:
        calls.append(folder)
        return [{"loss": 0.25}]

    first, second = run_cell(tmp_path, cell(work)), run_cell(tmp_path, cell(work))

    assert calls == [tmp_path / "small_arm_0.5_seed_2"]
    assert first == second == read_cell(tmp_path, cell(work))
    assert first.rows == [{"loss": 0.25}]
    assert first.setting == {"grid": [1, 2]}, "as JSON has it"


def test_another_setting_is_another_cell(tmp_path: Path) -> None:
    run_cell(tmp_path, cell(lambda _: [{"loss": 1}], epochs=1))
    other = cell(lambda _: [{"loss": 2}], epochs=2)

    assert read_cell(tmp_path, other) is None
    assert run_cell(tmp_path, other).rows == [{"loss": 2}]


def test_a_cell_of_another_setting_loses_the_runs_that_would_refuse_the_new_one(
    tmp_path: Path,
) -> None:
    def train(folder: Path, epochs: int) -> list[Row]:
        with Run.open(folder / "run", "sft", SFTConfig(epochs=epochs), resume=True):
            return [{"loss": epochs}]

    run_cell(tmp_path, cell(lambda folder: train(folder, 1), epochs=1))
    other = cell(lambda folder: train(folder, 2), epochs=2)

    assert run_cell(tmp_path, other).rows == [{"loss": 2}]
    assert run_cell(tmp_path, other) == read_cell(tmp_path, other)


def test_a_killed_cell_of_another_setting_keeps_what_it_made(tmp_path: Path) -> None:
    """The old file is gone once work begins, so a second call does not begin anew."""
    run_cell(tmp_path, cell(lambda _: [{"loss": 1}], epochs=1))

    def killed(folder: Path) -> Sequence[Row]:
        (folder / "half").write_text("trained")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(tmp_path, cell(killed, epochs=2))
    done = run_cell(
        tmp_path, cell(lambda folder: [{"is_there": (folder / "half").is_file()}], epochs=2)
    )

    assert done.rows == [{"is_there": True}]


def test_work_that_fails_leaves_no_cell(tmp_path: Path) -> None:
    def fail(_: Path) -> Sequence[Row]:
        raise ConfigError("not like this")

    with pytest.raises(ConfigError):
        run_cell(tmp_path, cell(fail))

    assert read_cell(tmp_path, cell(fail)) is None


def test_rows_that_are_no_json_leave_no_cell(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        run_cell(tmp_path, cell(lambda _: [{"loss": float("nan")}]))

    assert read_cell(tmp_path, cell(lambda _: [])) is None


def test_the_time_left_is_that_of_its_kind_or_a_corrected_guess() -> None:
    clock = Clock()

    assert clock.left([("train", 60.0), ("measure", 20.0)]) == 80.0, "guesses alone"
    clock.note("train", 60.0, 30.0)
    # Half the guess, so the other kind is thought to be half as long too.
    assert clock.left([("train", 60.0), ("measure", 20.0)]) == 30.0 + 10.0
    clock.note("train", 20.0, 10.0)
    assert clock.left([("train", 1.0)]) == 20.0, "the mean of 30 and 10"
    assert clock.left([("measure", 20.0)]) == 20.0 * (30 + 10) / (60 + 20)


def test_minutes_in_words() -> None:
    assert [minutes(seconds) for seconds in (0, 10, 130)] == [
        "nothing",
        "about 1 min",
        "about 2 min",
    ]
