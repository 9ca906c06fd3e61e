"""SFT, reward model and PPO with LoRA adapters, through their real loops: four roles on one set of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from alignloop.distributed import World
from alignloop.errors import Interrupted, ModelError
from alignloop.models.backbone import AdaptedModel
from alignloop.models.loading import load_causal_lm
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.inputs import frozen
from alignloop.ppo.learner import Learner, open_backbone
from alignloop.ppo.rewards import RewardModels
from alignloop.runs.run import Run
from tests.helpers import (
    PPO,
    REWARD,
    SFT,
    metrics,
    results,
    run,
    signal_at,
    write_demonstrations,
    write_model,
    write_prompts,
    write_rankings,
    write_text,
)

LORA: dict[str, Any] = {"adapters": {"rank": 4, "alpha": 8}}
CONFIGS: dict[str, dict[str, Any]] = {"sft": SFT | LORA, "reward": REWARD | LORA, "ppo": PPO | LORA}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """SFT with adapters from a base model; the reward model and PPO from what it left."""
    folder = tmp_path_factory.mktemp("inputs")
    text, demonstrations = write_text(folder / "text"), write_demonstrations(folder / "demos")
    found = {
        "sft": {
            "model": write_model(folder / "base"),
            "demonstrations": demonstrations,
            "text": text,
        },
        "reward": {
            "model": folder / "sft",
            "rankings": write_rankings(folder / "rankings"),
            "demonstrations": demonstrations,
        },
        "ppo": {
            "policy": folder / "sft",
            "reward_model": folder / "reward",
            "prompts": write_prompts(folder / "prompts"),
            "text": text,
        },
    }
    for stage in ("sft", "reward", "ppo"):
        run(stage, folder / stage, CONFIGS[stage], **found[stage])
    return found


def finished(inputs: dict[str, dict[str, Path]], stage: str) -> Path:
    return inputs["ppo"]["policy"].parent / stage


@pytest.mark.parametrize("stage", ["sft", "reward"])
def test_the_loss_falls(inputs: dict[str, dict[str, Path]], stage: str) -> None:
    faster = CONFIGS[stage] | {"epochs": 6, "optimizer": {"learning_rate": 1e-2}}
    folder = finished(inputs, stage).parent / f"faster-{stage}"
    run(stage, folder, faster, **inputs[stage])

    losses = [row["loss"] for row in metrics(folder)]
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])


def test_at_the_start_policy_and_reference_are_the_same_weights(
    inputs: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    frozen = {
        "policy_optimizer": {"learning_rate": 1e-15, "schedule": "constant"},
        "value_optimizer": {"learning_rate": 1e-15, "schedule": "constant"},
    }
    run("ppo", tmp_path / "run", CONFIGS["ppo"] | frozen, **inputs["ppo"])

    for row in metrics(tmp_path / "run"):
        assert row["ratio_max"] == pytest.approx(1, abs=1e-5)
        assert abs(row["kl_reference"]) < 1e-4
    rows = metrics(finished(inputs, "ppo"))
    assert abs(rows[-1]["kl_reference"]) > 1e-3, "and the policy does move when it may"


def test_adapters_and_full_copies_agree_before_they_learn(
    inputs: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    """The same first iteration: answers, scores, values; only what learns differs."""
    run("ppo", tmp_path / "full", PPO, **inputs["ppo"])

    full, shared = metrics(tmp_path / "full")[0], metrics(finished(inputs, "ppo"))[0]
    for name in ("score_mean", "eos_rate", "response_tokens", "entropy", "advantage_std"):
        assert shared[name] == pytest.approx(full[name], abs=1e-4), name


def test_four_roles_hold_one_set_of_weights(inputs: dict[str, dict[str, Path]]) -> None:
    """Every tensor that PPO keeps for its models, counted once by its storage."""
    paths = inputs["ppo"]["policy"] / "artifact", inputs["ppo"]["reward_model"] / "artifact"

    def held(values: dict[str, Any]) -> int:
        config = PPOConfig.model_validate(values)
        backbone = open_backbone(config, paths[0])
        scorer = frozen(config, paths[1], "reward_model", backbone, World())
        start = paths[1] if backbone is None else scorer
        learner = Learner.open(
            config, paths[0], RewardModels([scorer], 1000), value_start=start, backbone=backbone
        )
        modules = [learner.actor, learner.reference, learner.critic, scorer]
        tensors = [p for module in modules for p in module.parameters()]
        if backbone is not None:
            assert isinstance(learner.actor, AdaptedModel)
            tensors += list(backbone.model.parameters())
        stored = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(stored.values())

    one = sum(p.nbytes for p in load_causal_lm(paths[0]).parameters())
    assert held(PPO) > 3.9 * one
    assert held(CONFIGS["ppo"]) < 1.6 * one, "rank 4 of width 32: the adapters weigh a tenth each"


@pytest.mark.parametrize("stage", ["sft", "reward", "ppo"])
def test_a_stopped_run_resumes_to_the_same_bytes(
    inputs: dict[str, dict[str, Path]],
    stage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(Run, "log", signal_at(3))
        run(stage, tmp_path / "run", CONFIGS[stage], **inputs[stage])

    run(stage, tmp_path / "run", CONFIGS[stage], resume=True, **inputs[stage])

    assert results(tmp_path / "run") == results(finished(inputs, stage))


def test_values_may_share_the_policys_adapter_or_start_from_nothing(
    inputs: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    for name, change in (
        ("shared", {"value_network": "shared"}),
        ("zero", {"value_start": "policy"}),
    ):
        run("ppo", tmp_path / name, CONFIGS["ppo"] | change, **inputs["ppo"])
        assert metrics(tmp_path / name)[-1]["value_loss"] > 0


def test_a_reward_model_that_cannot_share_is_refused(
    inputs: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    run("reward", tmp_path / "full", REWARD, **inputs["reward"])

    with pytest.raises(ModelError, match=r"trained with all its weights.*adapters\.kind=lora"):
        run(
            "ppo",
            tmp_path / "run",
            CONFIGS["ppo"],
            **inputs["ppo"] | {"reward_model": tmp_path / "full"},
        )


@torch.no_grad()
def test_the_exported_policy_is_whole(inputs: dict[str, dict[str, Path]]) -> None:
    """The average of the adapter, merged: no tool needs to know of adapters to open it."""
    policy = load_causal_lm(finished(inputs, "ppo") / "artifact")
    start = load_causal_lm(inputs["ppo"]["policy"] / "artifact")

    changed = {
        name
        for name, parameter in policy.named_parameters()
        if not torch.equal(parameter, start.get_parameter(name))
    }
    assert changed == {name for name, _ in start.named_parameters() if "_proj" in name}
