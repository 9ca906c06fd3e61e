"""The doctor's estimate of memory: what it counts is what there is, and what it measures holds for longer rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from alignloop.data.batches import Ragged
from alignloop.models.adapters import AdaptersConfig
from alignloop.models.backbone import scorer_on
from alignloop.models.policy import hidden_states
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.learner import Learner, open_backbone
from alignloop.ppo.rewards import RewardModels
from alignloop.ppo.steps import advantages, collect, score, update
from alignloop.training.step import autocast
from alignloop.workflow.doctor import memory
from tests.helpers import ARCHITECTURES, PPO, REWARD, prompt, run, tiny_model, write_ppo_inputs

LORA = {"adapters": {"kind": "lora", "rank": 4, "alpha": 8.0}}


def bytes_of(tensors: Any) -> int:
    return sum(t.untyped_storage().nbytes() for t in {t.data_ptr(): t for t in tensors}.values())


@pytest.mark.parametrize(
    "changes", [{}, LORA, {"value_network": "shared"}], ids=["whole", "lora", "shared"]
)
def test_what_stands_is_what_a_learner_holds(tmp_path: Path, changes: dict[str, Any]) -> None:
    given = write_ppo_inputs(tmp_path)
    if "adapters" in changes:
        inputs = {"rankings": tmp_path / "rankings", "demonstrations": tmp_path / "demos"}
        given["reward_model"] = tmp_path / "lora"
        run("reward", tmp_path / "lora", REWARD | changes, model=given["policy"], **inputs)
    config = PPOConfig.model_validate(PPO | changes | {"ptx_coef": 0})
    judge_path = given["reward_model"] / "artifact"
    backbone = open_backbone(config, given["policy"])
    judge = (
        ScalarModel.load(judge_path)
        if backbone is None
        else scorer_on(backbone, "judge", judge_path)
    )
    judge.requires_grad_(False)
    learner = Learner.open(
        config,
        given["policy"],
        RewardModels([judge], 512),
        value_start=judge_path if backbone is None else judge,
        backbone=backbone,
    )
    episodes = score(learner, collect(learner, [prompt(i) for i in range(4)], 0))
    update(learner, episodes, advantages(episodes, config, learner.kl_coef), 0)

    models = [learner.actor, learner.reference, judge]
    models += [learner.critic] if isinstance(learner.critic, ScalarModel) else []
    models += [backbone.model] if backbone is not None else []
    moments = [
        tensor
        for optimizer in learner.optimizers.values()
        for state in optimizer.state.values()
        for tensor in state.values()
        if tensor.ndim
    ]
    shape, judged = (
        memory.shape_of(model.config, "float32", config.adapters)
        for model in (learner.actor, judge.model)
    )
    counted = memory.ppo_memory(config, shape, [judged], 96).standing

    # Scalar heads and a head on the trunk are left out of the count: they are a row each.
    assert counted["weights"] == pytest.approx(
        bytes_of(p for m in models for p in m.parameters()), rel=0.02
    )
    assert counted["optimizers"] == pytest.approx(bytes_of(moments), rel=0.02)
    assert counted["average"] == pytest.approx(bytes_of(learner.ema.weights.values()), rel=0.01)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_two_short_rows_keep_tells_what_a_long_one_keeps(
    architecture: str, precision: Any
) -> None:
    model = tiny_model(architecture, context=256, vocabulary=16)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t), autocast(precision):
        hidden = hidden_states(model, Ragged.of([[5] * 200], [[6]], 0))
    del hidden
    shape = memory.shape_of(model.config, precision, None)

    assert shape.casts + 201 * shape.token == pytest.approx(sum(storages.values()), rel=0.05)


def test_a_shape_needs_no_weights_and_counts_parameters() -> None:
    model = tiny_model("qwen3")

    shape = memory.shape_of(model.config, "float32", AdaptersConfig(rank=4))

    assert shape.parameters == sum(p.numel() for p in model.parameters())
    sizes = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 48), (32, 48), (48, 32)]
    assert shape.adapter == 2 * 4 * sum(a + b for a, b in sizes)
    assert shape.kv_width == 2 * 2 * 16
    assert shape.copied == shape.parameters - 32 * shape.vocabulary


def test_the_peak_is_what_stands_and_the_largest_phase() -> None:
    estimate = memory.Estimate({"weights": 2 * memory.GIB}, {"a": memory.GIB, "b": 3 * memory.GIB})

    assert estimate.peak == 5 * memory.GIB
    assert estimate.line == "about 5 GiB at the peak (weights 2, b 3)"


def test_more_text_per_pass_takes_more_and_adapters_less() -> None:
    config = tiny_model("qwen3").config

    def peak(**changes: Any) -> float:
        made = PPOConfig.model_validate(PPO | changes)
        shape = memory.shape_of(config, "float32", made.adapters)
        return memory.ppo_memory(made, shape, [shape], 96).peak

    assert peak(micro_batch_tokens=4096) > 2 * peak(micro_batch_tokens=1024)
    assert peak(**LORA) < peak()


def test_too_little_memory_is_worth_a_look() -> None:
    config, model = PPOConfig.model_validate(PPO), tiny_model("qwen3").config

    short = memory.memory_suffices(config, model, model, [model], 96, free=1e3)
    enough = memory.memory_suffices(config, model, model, [model], 96, free=1e12)

    assert short.verdict == "look"
    assert "adapters.kind" in short.detail
    assert enough.verdict == "ok"
    assert memory.free_memory() > 1e6
