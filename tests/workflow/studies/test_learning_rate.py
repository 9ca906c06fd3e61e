"""The learning-rate study: a geometric grid, the best epoch of every rate, the best rate, and no test prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alignloop.cli.study import command
from alignloop.errors import ConfigError, Interrupted, NumericsError
from alignloop.runs.artifact import open_artifact
from alignloop.runs.run import Run
from alignloop.workflow.studies import learning_rate
from alignloop.workflow.studies.learning_rate import best_rate
from alignloop.workflow.studies.sweep import geometric, refuse_varied
from tests.helpers import (
    SFT,
    contents,
    signal_at,
    write_judged,
    write_text,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_judged(folder)
    values = SFT | {"pretraining_mix": 0.0, "optimizer": {"learning_rate": 4e-3}}
    (folder / "sft.json").write_text(json.dumps(values))
    return folder


def study(made: Path, out: Path, *more: str, judged: bool = True) -> tuple[dict[str, Any], str]:
    arguments = ["learning-rate", "--out", str(out), "--config", str(made / "sft.json")]
    arguments += ["--max-new-tokens", "8", "--count", "3", "--factor", "4"]
    names = ("model", "demonstrations", *(("reward-model", "prompts") if judged else ()))
    for name in names:
        place = made / name.replace("reward-model", "reward")
        arguments += [f"--{name}", str(place)]
    done = CliRunner().invoke(command, [*arguments, *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads((out / "learning_rate.json").read_text()), done.output


# --- the grid and the rule ---


def test_rates_are_a_factor_apart_around_the_middle() -> None:
    assert geometric(1e-5, 2.0, 3) == [5e-6, 1e-5, 2e-5]
    assert geometric(9.65e-6, 2.0, 7)[3] == 9.65e-6
    assert len(geometric(9.65e-6, 1.1, 7)) == len(set(geometric(9.65e-6, 1.1, 7))) == 7
    assert geometric(1.0, 4.0, 2) == [0.5, 2.0]


def row(rate: float, loss: float | None, score: float | None = None) -> dict[str, Any]:
    return {"learning_rate": rate, "valid_loss": loss, "score": score}


@pytest.mark.parametrize(
    ("by", "rows", "chosen"),
    [
        ("loss", [row(1, 3.0), row(2, 2.0), row(4, 2.5)], 2),
        ("loss", [row(1, 2.0), row(2, 2.0), row(4, None)], 1),
        ("reward", [row(1, 1.0, 0.1), row(2, 2.0, 0.5), row(4, 3.0, 0.9), row(8, None)], 4),
        ("reward", [row(1, 1.0, 0.5), row(2, 2.0, 0.5)], 1),
    ],
)
def test_the_best_rate_and_the_smaller_of_equals(
    by: str, rows: list[dict[str, Any]], chosen: float
) -> None:
    assert best_rate(rows, by) == chosen


def test_where_every_rate_diverged_there_is_none() -> None:
    with pytest.raises(NumericsError, match="try smaller ones"):
        best_rate([row(1, None), row(2, None)], "loss")


def test_the_varied_setting_is_not_the_users_to_set(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="what the study varies"):
        refuse_varied("optimizer.learning_rate", ["optimizer.learning_rate = 1e-3"])
    with pytest.raises(ConfigError, match="what the study varies"):
        study(made, tmp_path / "out", "--set", "optimizer.learning_rate=1e-3")


# --- the study ---


def test_by_score_where_there_is_a_reward_model(made: Path, tmp_path: Path) -> None:
    result, printed = study(made, tmp_path / "out")

    assert result["by"] == "reward"
    assert [found["learning_rate"] for found in result["rows"]] == [1e-3, 4e-3, 1.6e-2]
    scores = [found["score"] for found in result["rows"]]
    assert len(set(scores)) == 3
    best = result["rows"][scores.index(max(scores))]
    assert result["chosen"] == best["learning_rate"]
    assert result["at_edge"] == (result["chosen"] != 4e-3)
    assert f"chosen by reward: {result['chosen']:g}" in printed
    for found in result["rows"]:
        policy = open_artifact(tmp_path / "out" / found["run"], "policy")
        epochs = policy.facts["epochs"]
        assert found["score"] == max(epoch["score"] for epoch in epochs)
        assert found["epoch"] == policy.facts["chosen"]
    page = (tmp_path / "out" / "learning_rate.html").read_text()
    assert page.count("<svg ") == 2
    assert "Validation loss by learning rate." in page


def test_by_loss_where_there_is_none(made: Path, tmp_path: Path) -> None:
    result, printed = study(made, tmp_path / "out", judged=False)

    losses = [found["valid_loss"] for found in result["rows"]]
    assert result["by"] == "loss"
    assert result["chosen"] == result["rows"][losses.index(min(losses))]["learning_rate"]
    assert all(found["score"] is None for found in result["rows"])
    assert "validation loss" in printed
    assert (tmp_path / "out" / "learning_rate.html").read_text().count("<svg ") == 1


def test_it_goes_on_where_it_stopped_and_ends_with_the_same_bytes(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the midst of the second rate's training; the first rate is not trained again."""
    study(made, tmp_path / "whole", judged=False)
    run_stage, calls = learning_rate.run_stage, list[str]()

    def stops(stage: str, *arguments: Any, **inputs: Any) -> Any:
        calls.append(stage)
        with monkeypatch.context() as patch:
            if len(calls) == 3:
                patch.setattr(Run, "log", signal_at(5))
            return run_stage(stage, *arguments, **inputs)

    with monkeypatch.context() as patch:
        patch.setattr(learning_rate, "run_stage", stops)
        with pytest.raises(Interrupted):
            study(made, tmp_path / "cut", judged=False)
    assert calls == ["sft", "epochs", "sft"]
    first = contents(tmp_path / "cut" / "rate_0.001" / "sft")

    study(made, tmp_path / "cut", judged=False)

    def made_of_numbers(path: Path) -> bool:
        return path.name in {"learning_rate.json", "learning_rate.html", "artifact.json"}

    one, other = (contents(tmp_path / name, made_of_numbers) for name in ("whole", "cut"))
    assert len(one) == 2 + 3 * 3, "two of the study, and two epochs and a choice of each rate"
    assert one == other
    assert contents(tmp_path / "cut" / "rate_0.001" / "sft") == first


def test_with_a_pretraining_mix_both_losses_are_told(made: Path, tmp_path: Path) -> None:
    text = str(write_text(tmp_path / "text"))
    mix = ("--set", "pretraining_mix=0.1", "--set", "pretraining_tokens=31", "--set", "epochs=1")
    result, printed = study(made, tmp_path / "out", "--text", text, *mix, judged=False)

    losses = [found["valid_pretraining_loss"] for found in result["rows"]]
    assert len({round(loss, 4) for loss in losses}) == 3
    assert f"of the text {losses[0]:.4f}" in printed


def test_a_rate_at_which_numbers_blow_up_is_noted_and_not_chosen(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage = learning_rate.run_stage

    def blows_up(stage: str, folder: Path, *arguments: Any, **inputs: Any) -> Any:
        if stage == "sft" and "0.016" in str(folder):
            raise NumericsError("step 3: the demonstration loss is nan")
        return run_stage(stage, folder, *arguments, **inputs)

    monkeypatch.setattr(learning_rate, "run_stage", blows_up)
    result, printed = study(made, tmp_path / "out", judged=False)

    assert result["rows"][2] == {
        **dict.fromkeys(
            ("run", "epoch", "valid_loss", "valid_pretraining_loss", "score", "tokens", "finished")
        ),
        "learning_rate": 1.6e-2,
    }
    assert result["chosen"] in (1e-3, 4e-3)
    assert "0.016" in printed
    assert "loss is nan" in printed


def test_one_of_reward_model_and_prompts_is_refused(made: Path, tmp_path: Path) -> None:
    arguments = [
        "learning-rate",
        "--out",
        str(tmp_path / "out"),
        "--prompts",
        str(made / "prompts"),
    ]
    for name in ("model", "demonstrations"):
        arguments += [f"--{name}", str(made / name)]

    done = CliRunner().invoke(command, arguments)

    assert done.exit_code == 2
    assert "go together" in done.output
