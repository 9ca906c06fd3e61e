"""Each alarm sounds where it should, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from alignloop.models.loading import save_model, scalar_head
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo import alarms
from tests.helpers import PPO, run, tiny_tokenizer

NOISE = [0.01, -0.02, 0.03, -0.01, 0.0, 0.02, -0.03, 0.01, -0.01, 0.0] * 2
RISING = [0.1 * i + n for i, n in enumerate(NOISE)]
FALLING = [-0.1 * i - n for i, n in enumerate(NOISE)]


def test_it_sounds_where_the_reward_rises_and_the_heldout_judge_falls() -> None:
    said = alarms.overoptimised(RISING, FALLING)

    assert said is not None
    assert "rose by 1.000" in said
    assert "fell by 1.000" in said


@pytest.mark.parametrize(
    ("scores", "heldout"),
    [
        (RISING, RISING),
        (FALLING, FALLING),
        (FALLING, RISING),
        (NOISE, FALLING),
        (RISING, NOISE),
        (RISING[1:], FALLING[1:]),
    ],
    ids=["both rise", "both fall", "the other way", "noise", "noise held out", "too early"],
)
def test_it_is_silent_elsewhere(scores: list[float], heldout: list[float]) -> None:
    assert alarms.overoptimised(scores, heldout) is None


def test_the_last_iterations_count() -> None:
    """A fall that ended twenty iterations ago is history."""
    assert alarms.overoptimised(FALLING + RISING, FALLING + RISING) is None
    assert alarms.overoptimised(FALLING + RISING, RISING + FALLING) is not None


def test_a_pretraining_gradient_of_ten_times_ppos_is_the_limit() -> None:
    assert alarms.ptx_dominates(1.0, 10.0) is None
    said = alarms.ptx_dominates(0.5, 6.0)
    assert said is not None
    assert "12 times" in said
    assert alarms.ptx_dominates(0.0, 1.0) is not None


def test_an_average_that_still_holds_the_start_names_a_decay_that_would_not() -> None:
    """The paper's 0.992 over its 4,000 updates holds nothing; over 100 it holds 45 %."""
    assert alarms.start_in_average(0.992, 4000) is None
    said = alarms.start_in_average(0.992, 100)
    assert said is not None
    assert "45 %" in said
    assert "ema_decay = 0.97" in said
    assert alarms.start_in_average(0.97, 100) is None


def test_far_from_the_reference() -> None:
    assert alarms.far_from_reference(49.9) is None
    assert alarms.far_from_reference(71.0) is not None


# --- in a run ---


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ema_decay": 0.999}, "the average still holds 99 % of the initial weights"),
        ({"ptx_coef": 1e4}, "the pretraining gradient is .* times PPO's"),
    ],
    ids=["average", "ptx"],
)
def test_an_alarm_sounds_in_the_run_and_stands_in_its_log(
    inputs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    said: str,
) -> None:
    run("ppo", tmp_path / "run", PPO | changes, **inputs)

    assert re.search(said, (tmp_path / "run" / "log.txt").read_text())
    assert re.search(said, capsys.readouterr().err)


def test_the_alarm_of_a_reward_that_parts_from_the_heldout_judge(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """The reward is a held-out judge with the other sign, and is learned fast."""
    scorer = ScalarModel.load(inputs["reward_model"] / "artifact")
    with torch.no_grad():
        scalar_head(scorer.model).weight.mul_(-1)
    save_model(scorer.model, tiny_tokenizer(), tmp_path / "opposite")
    fast = {"learning_rate": 3e-3, "schedule": "constant"}
    changes = {"episodes": 160, "kl_coef": 0.0, "ptx_coef": 0.0, "policy_optimizer": fast}
    given = {name: path for name, path in inputs.items() if name != "text"}

    run(
        "ppo",
        tmp_path / "run",
        PPO | changes,
        heldout_reward_model=tmp_path / "opposite",
        **given,
    )

    said = (tmp_path / "run" / "log.txt").read_text()
    assert said.count("while the held-out judge fell") == 1
