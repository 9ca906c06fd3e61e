"""`alignloop sample` with and without a verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alignloop.cli import sample
from alignloop.cli.main import app
from alignloop.runs.artifact import open_artifact
from tests.helpers import REWARD, run, write_inputs

GIVEN = ["--model", "m", "--prompts", "p", "--run", "r"]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the stages were called with."""
    found: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        sample, "call_stage", lambda stage, **options: found.append((stage, options))
    )
    return found


@pytest.mark.parametrize(
    "options",
    [
        [*GIVEN, "--name", "sft", "--config", "c.toml"],
        ["--file", "rl", *GIVEN, "--file", "valid", "--resume", "--set", "k_min=2"],
    ],
    ids=["named", "files"],
)
def test_without_a_verb_it_is_completions(
    called: list[tuple[str, dict[str, Any]]], options: list[str]
) -> None:
    for words in (["sample"], ["sample", "completions"]):
        done = CliRunner().invoke(app, [*words, *options], standalone_mode=False)
        assert done.exception is None, done.output

    plain, named = called
    assert plain == named
    assert plain[0] == "sample"
    assert plain[1]["files"] in (("rankings", "valid"), ("rl", "valid"))


def test_the_other_verbs_run_their_stages(called: list[tuple[str, dict[str, Any]]]) -> None:
    for verb in ("best-of-n", "rejection"):
        words = ["sample", verb, *GIVEN, "--reward-model", "j"]
        assert CliRunner().invoke(app, words, standalone_mode=False).exception is None

    assert [stage for stage, _ in called] == ["best_of_n", "reject"]
    assert (called[0][1]["files"], called[1][1]["file"]) == (("valid",), "rl")


def test_expert_iteration_by_its_command(tmp_path: Path) -> None:
    """With real models: each round draws, keeps the best and learns; the last policy is there to go on with."""
    given = write_inputs(tmp_path, tmp_path)
    run("reward", tmp_path / "reward", REWARD, **given["reward"])
    words = [
        *("sample", "expert-iteration", "--model", str(tmp_path / "model")),
        *("--reward-model", str(tmp_path / "reward"), "--prompts", str(tmp_path / "prompts")),
        *("--out", str(tmp_path / "rounds"), "--set", "rounds=2", "--set", "rejection.n=8"),
        *("--set", "rejection.sampling.max_new_tokens=24"),
    ]

    done = CliRunner().invoke(app, words, standalone_mode=False)

    assert done.exception is None, done.output
    last = tmp_path / "rounds" / "round_02" / "sft"
    assert f"policy in {last}" in done.output
    assert open_artifact(last, "policy").facts["stage"] == "sft"


def test_help_is_the_groups_before_an_option_and_the_verbs_after_one() -> None:
    group, verb = (
        CliRunner().invoke(app, ["sample", *words]).output
        for words in (["--help"], ["--model", "m", "--help"])
    )

    assert "best-of-n" in group and "--prompts" not in group
    assert "--prompts" in verb
