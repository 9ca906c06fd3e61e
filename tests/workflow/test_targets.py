"""The demo's targets: figures that meet them, and for each one that does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from alignloop.workflow.targets import judge_targets


def rate(mean: float, low: float, high: float) -> dict[str, float]:
    return {"mean": mean, "low": low, "high": high, "n": 350}


WINS = {
    "gold": rate(0.65, 0.551, 0.75),
    "heldout_labelers": rate(0.6, 0.501, 0.7),
    "outside_judge": rate(0.4, 0.3, 0.5),
}
MET: dict[str, Any] = {
    "win_rate": {"ppo_ptx": WINS},
    "win_rate_length_matched": {"ppo_ptx": {"gold": rate(0.6, 0.501, 0.7)}},
    "win_rate_against": {
        "rl_init": {"ppo_ptx": {"gold": rate(0.6, 0.501, 0.7)}},
        "sft_more": {"ppo_ptx": {"gold": rate(0.6, 0.501, 0.7)}},
    },
    "rm": {
        "pair_accuracy": {"train_labelers": 0.6801, "longer_wins": 0.5, "bag_of_words": 0.6},
        "pair_accuracy_length_matched": {
            "train_labelers": 0.6101,
            "longer_wins": 0.56,
            "bag_of_words": 0.5,
        },
    },
    "pretrain_loss": {"rl_init": 4.0, "ppo_ptx": 4.119, "ppo": 4.12},
}


def missed(results: dict[str, Any]) -> list[str]:
    return [target["name"] for target in judge_targets(results) if not target["met"]]


def test_figures_on_the_right_side_of_every_line_meet_all() -> None:
    found = judge_targets(MET)

    assert missed(MET) == []
    assert len(found) == 11
    assert found[0]["measured"] == "65.0 % (55.1 to 75.0)"


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("win_rate.ppo_ptx.gold", rate(0.649, 0.551, 0.75), "PPO-ptx against SFT, gold"),
        ("win_rate.ppo_ptx.gold", rate(0.65, 0.55, 0.75), "PPO-ptx against SFT, gold"),
        (
            "win_rate.ppo_ptx.heldout_labelers",
            rate(0.6, 0.5, 0.7),
            "PPO-ptx against SFT, held-out simulated labelers",
        ),
        (
            "win_rate.ppo_ptx.outside_judge",
            rate(0.4, 0.3, 0.499),
            "PPO-ptx against SFT, outside judge",
        ),
        (
            "win_rate_length_matched.ppo_ptx.gold",
            rate(0.6, 0.5, 0.7),
            "PPO-ptx against SFT at like length, gold",
        ),
        ("win_rate_length_matched.ppo_ptx.gold", None, "PPO-ptx against SFT at like length, gold"),
        (
            "win_rate_against.rl_init.ppo_ptx.gold",
            rate(0.6, 0.5, 0.7),
            "PPO-ptx against RL init, gold",
        ),
        (
            "win_rate_against.sft_more.ppo_ptx.gold",
            rate(0.6, 0.5, 0.7),
            "PPO-ptx against SFT trained longer, gold",
        ),
        ("pretrain_loss.ppo", 4.119, "Pretraining loss: PPO loses more than PPO-ptx"),
        ("pretrain_loss.rl_init", 3.99, "Pretraining loss of PPO-ptx against RL init"),
        (
            "rm.pair_accuracy.train_labelers",
            0.6799,
            "Reward model's pair accuracy on held-out prompts",
        ),
        ("rm.pair_accuracy.longer_wins", 0.6302, "The same, above the better of two simple rivals"),
        (
            "rm.pair_accuracy_length_matched.bag_of_words",
            0.57,
            "The same, on pairs of equal length",
        ),
        ("rm.pair_accuracy_length_matched.longer_wins", None, "The same, on pairs of equal length"),
    ],
)
def test_one_figure_on_the_wrong_side_misses_its_target_alone(
    path: str, value: Any, name: str
) -> None:
    results = copy.deepcopy(MET)
    *tables, last = path.split(".")
    table: Any = results
    for key in tables:
        table = table[key]
    table[last] = value

    assert missed(results) == [name]
