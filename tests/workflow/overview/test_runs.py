"""Runs as they are on disk: their states, what goes on with them, what was damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from alignloop.workflow.overview.runs import resume_command, run_at, runs_below, seconds_of
from tests.workflow.overview.folders import PROGRAM, make_run, write


def test_every_run_below_is_found_and_what_lies_inside_one_is_not(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "sft", "sft")
    make_run(tmp_path / "runs" / "sft" / "inner", "sft")
    make_run(tmp_path / "alone", "ppo")
    make_run(tmp_path / ".hidden", "ppo")
    make_run(tmp_path / "a" / "b" / "c" / "too-deep", "ppo")

    assert [run.name for run in runs_below(tmp_path)] == ["alone", "runs/sft"]


def test_a_folder_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    assert runs_below(tmp_path / "nowhere") == []


def test_a_run_that_nobody_holds_was_killed(tmp_path: Path) -> None:
    make_run(tmp_path / "ppo", "ppo", status="running")
    assert run_at(tmp_path / "ppo").state == "killed"

    lock = FileLock(tmp_path / "ppo" / ".lock")
    with lock:
        assert run_at(tmp_path / "ppo").state == "running"
    assert run_at(tmp_path / "ppo").state == "killed"


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_an_unfinished_run_says_what_goes_on_with_it(tmp_path: Path, status: str) -> None:
    words = ("ppo", "--run", "runs/my ppo", "--policy", "runs/rl_init")
    make_run(tmp_path / "ppo", "ppo", status=status, argv=words)

    run = run_at(tmp_path / "ppo")

    assert run.state == status
    assert resume_command(run) == (
        "alignloop ppo --run 'runs/my ppo' --policy runs/rl_init --resume"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("demo", "--out", "mine"),
        ("loop", "--project", "lab"),
        ("study", "ptx-coef"),
        ("sample", "expert-iteration", "--out", "x"),
        ("sft", "--resume"),
    ],
)
def test_commands_that_go_on_by_themselves_get_no_resume(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    make_run(tmp_path / "run", "sft", status="interrupted", argv=words)

    assert resume_command(run_at(tmp_path / "run")) == " ".join(("alignloop", *words))


def test_a_program_of_the_users_own_is_told_to_call_again(tmp_path: Path) -> None:
    make_run(tmp_path / "run", "sft", status="failed")
    manifest = (tmp_path / "run" / "manifest.json").read_text()
    (tmp_path / "run" / "manifest.json").write_text(manifest.replace(PROGRAM, "train_all.py"))

    assert resume_command(run_at(tmp_path / "run")) == "the same command with --resume"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"stage": "sft", "status": "resting"}'])
def test_a_manifest_that_cannot_be_read_is_damage(tmp_path: Path, content: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(content)

    assert run_at(tmp_path / "run").state == "damaged"


def test_a_finished_run_without_its_artefact_is_damage(tmp_path: Path) -> None:
    make_run(tmp_path / "run", "sft")
    (tmp_path / "run" / "artifact" / "artifact.json").unlink()

    assert run_at(tmp_path / "run").state == "damaged"


def test_time_is_the_sum_of_the_steps_or_from_start_to_end(tmp_path: Path) -> None:
    make_run(tmp_path / "steps", "sft", seconds=(2.0, 3.5))
    make_run(tmp_path / "clock", "rank")
    make_run(tmp_path / "begun", "rank", status="failed")

    times = [seconds_of(run_at(tmp_path / name)) for name in ("steps", "clock", "begun")]

    assert times == [5.5, 60.0, None]


def test_epochs_are_known_by_their_hash(tmp_path: Path) -> None:
    make_run(tmp_path / "sft", "sft")
    write(tmp_path / "sft" / "epochs" / "epoch_01" / "artifact.json", {"kind": "policy"})

    assert list(run_at(tmp_path / "sft").also.values()) == ["sft, epoch 1"]
