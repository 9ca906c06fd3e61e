"""`alignloop loop` as it is typed: what it refuses, what it waits for, what it tells to type next."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from alignloop.cli.loop import command


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seeds", "2"], "--seeds needs --labelers simulated"),
        (["--control"], "a control begins with the second round"),
        (["--control", "--rounds", "1", "--labelers", "simulated"], "the second round"),
        (["--set", "control=true"], "a control begins with the second round"),
        (["--seeds", "11", "--labelers", "simulated"], "1<=x<=10"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, words: list[str], told: str) -> None:
    done = CliRunner().invoke(command, ["--project", str(tmp_path / "lab"), *words])

    assert done.exit_code == 2
    assert told in done.output
    assert not (tmp_path / "lab").exists()


def test_the_next_call_is_the_same_as_this_one(tmp_path: Path) -> None:
    lab = str(tmp_path / "my lab")

    done = CliRunner().invoke(command, ["--project", lab, "--rounds", "2", "--control"])

    assert done.exit_code == 0
    assert "waits for prompts" in done.output
    again = f"then call again: alignloop loop --project '{lab}' --rounds 2 --control"
    assert again in done.output.splitlines()
    assert f"alignloop loop --project '{lab}' --labelers simulated" in done.output
