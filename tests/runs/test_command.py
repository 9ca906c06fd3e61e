"""The command that an interrupted run tells: as it was called, quoted, with --resume where that is needed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from alignloop.runs.command import command_to_go_on

SFT = ["sft", "--run", "runs/a b", "--set", "epochs=2"]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALIGNLOOP_PROGRAM", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def called(monkeypatch: pytest.MonkeyPatch, program: str | Path, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(program), *arguments])


def test_a_program_on_the_path_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "alignloop"
    program.touch(mode=0o755)
    called(monkeypatch, program, *SFT)

    elsewhere = command_to_go_on(asks_for_resume=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    by_name = command_to_go_on(asks_for_resume=True)

    assert by_name == "alignloop sft --run 'runs/a b' --set epochs=2 --resume"
    assert shlex.split(elsewhere) == [str(program), *SFT, "--resume"]


def test_the_entry_script_and_the_module_are_called_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called(monkeypatch, "/somewhere/alignloop/__main__.py", *SFT, "--resume")

    module = command_to_go_on(asks_for_resume=True)
    monkeypatch.setenv("ALIGNLOOP_PROGRAM", "./alignloop")
    script = command_to_go_on(asks_for_resume=True)

    assert shlex.split(module) == [sys.executable, "-m", "alignloop", *SFT, "--resume"]
    assert script == "./alignloop sft --run 'runs/a b' --set epochs=2 --resume", "not twice"


def test_a_command_that_always_goes_on_is_given_again_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALIGNLOOP_PROGRAM", "./alignloop")
    called(monkeypatch, "/somewhere/alignloop/__main__.py", "demo", "--smoke")

    assert command_to_go_on(asks_for_resume=False) == "./alignloop demo --smoke"


@pytest.mark.parametrize(
    ("asks", "said"), [(True, "the same command with --resume"), (False, "the same command")]
)
def test_where_the_command_is_not_known_none_is_made_up(
    monkeypatch: pytest.MonkeyPatch, asks: bool, said: str
) -> None:
    """A script of the user's; and a rank, of which torchrun started several."""
    called(monkeypatch, "my_loop.py", "--fast")
    assert command_to_go_on(asks_for_resume=asks) == said

    called(monkeypatch, "/somewhere/alignloop/__main__.py", "ppo")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command_to_go_on(asks_for_resume=asks) == said
