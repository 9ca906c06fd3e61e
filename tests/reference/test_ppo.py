"""The first PPO update of the package and of an independent float64 implementation: the same gradients."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from alignloop.data.batches import PackedText
from alignloop.models.loading import scalar_head
from alignloop.models.reward_model import ScalarModel, ValueHead
from alignloop.ppo import steps
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.learner import Learner
from alignloop.ppo.rewards import RewardModels
from alignloop.ppo.rollout import Episodes
from alignloop.seeds import derive_seed
from tests.helpers import PPO, prompt, write_ppo_inputs
from tests.reference import ppo as independent
from tests.reference.ppo import Episode, Models, Shape, Switches, Weights

SETTINGS: dict[str, dict[str, Any]] = {
    "the paper's defaults": {},
    "whitened over the batch": {
        "whiten_advantages": "batch",
        "whiten_rewards": True,
        "value_clip_range": "none",
        "ptx_coef": 0,
        "gae_lambda": 0.9,
        "discount": 0.97,
    },
    "one trunk, exact KL": {
        "value_network": "shared",
        "kl_estimator": "exact",
        "kl_coef": 0.3,
        "value_coef": 0.5,
        "ptx_coef": 0,
    },
    "ptx by sequence, colder": {
        "ptx_reduction": "sequence",
        "missing_eos_score": -1.0,
        "whiten_advantages": "none",
    },
}
FREE = (
    "batch_size",
    "minibatch_size",
    "sampling",
    "micro_batch_tokens",
    "ptx_tokens",
    "ptx_ratio",
    "seed",
    "episodes",
)
"""What makes it small; everything else is as the paper has it, or as the setting says."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_ppo_inputs(tmp_path_factory.mktemp("inputs"))


def opened(inputs: dict[str, Path], setting: str) -> Learner:
    values = {name: PPO[name] for name in FREE if name in PPO} | {"batch_size": 6, "episodes": 6}
    values |= {"minibatch_size": 3, "warmup_iterations": 0, "seed": 10}
    values["sampling"] = {"max_new_tokens": 16, "temperature": 0.7 if "colder" in setting else 1.0}
    config = PPOConfig.model_validate(values | SETTINGS[setting])
    judge = inputs["reward_model"] / "artifact"
    scorer = ScalarModel.load(judge)
    learner = Learner.open(config, inputs["policy"], RewardModels([scorer], 64), value_start=judge)
    if config.ptx_coef > 0:
        text = inputs["text"] / "train.jsonl.gz"
        seed = derive_seed(config.seed, "ptx")
        learner.packed = PackedText.read(text, learner.tokenizer, config.ptx_tokens, seed)
    return learner


# --- from the package's models to plain weights ---


def trunk_of(model: nn.Module) -> dict[str, Tensor]:
    return {
        name.removeprefix("model."): parameter.detach().double().clone()
        for name, parameter in model.named_parameters()
        if name.startswith("model.")
    }


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A policy's, a scalar model's or a value head's."""
    if isinstance(model, ScalarModel):
        head = scalar_head(model.model).weight.detach().double()[0].clone()
        return trunk_of(model.model) | {"head": head, "bias": model.bias.detach().double().clone()}
    if isinstance(model, ValueHead):
        head, bias = model.head.weight.detach().double()[0], model.head.bias.detach().double()[0]
        return {"head": head.clone(), "bias": bias.clone()}
    return trunk_of(model)


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    """Under the same names."""
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    plain = {"score.weight": "head", "model.score.weight": "head", "head.weight": "head"}
    plain |= {"head.bias": "bias"}
    return {
        plain.get(name, name.removeprefix("model.").removeprefix("model.")): grad.double().clone()
        for name, grad in found.items()
        if grad is not None
    }


def shape_of(model: LlamaForCausalLM) -> Shape:
    config: Any = model.config
    theta = config.rope_parameters["rope_theta"]
    return Shape(
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        eps=config.rms_norm_eps,
        theta=theta,
    )


def switches_of(config: PPOConfig) -> Switches:
    shared = {
        field.name: getattr(config, field.name)
        for field in fields(Switches)
        if field.name != "temperature"
    }
    return Switches(**shared, temperature=config.sampling.temperature)


@torch.no_grad()
def shaken(module: nn.Module, size: float, seed: int) -> None:
    for parameter in module.parameters():
        parameter += size * torch.randn(
            parameter.shape, generator=torch.Generator().manual_seed(seed)
        )


# --- one update, twice ---


@dataclass
class Update:
    """What both implementations made of the same episodes."""

    learner: Learner
    episodes: Episodes
    drawn: list[Episode]
    models: Models
    shape: Shape
    ours: dict[str, dict[str, Tensor]]
    theirs: dict[str, dict[str, Tensor]]


def with_gradients(weights: Weights) -> dict[str, Tensor]:
    return {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}


def updated(
    inputs: dict[str, Path], setting: str, drift: float, monkeypatch: pytest.MonkeyPatch
) -> Update:
    """Args: `drift`: how far policy and values have moved since the episodes were drawn; 0 at a first update."""
    learner = opened(inputs, setting)
    config = learner.config
    shaken(learner.actor, 0.02, 1)  # away from the reference, so that there is a KL
    if isinstance(learner.critic, ValueHead):
        shaken(learner.critic, 0.3, 2)  # it starts at 0
    assert isinstance(learner.reward, RewardModels)
    reward_model = learner.reward.members[0]
    then = weights_of(learner.actor), weights_of(learner.critic)
    rollout = steps.collect(learner, [prompt(i) for i in range(6)], 0)
    episodes = steps.score(learner, rollout)
    if drift:
        shaken(learner.actor, drift, 3)
        shaken(learner.critic, drift, 4)
    models = Models(
        policy=with_gradients(weights_of(learner.actor)),
        policy_then=then[0],
        reference=weights_of(learner.reference),
        reward_model=weights_of(reward_model),
        value=with_gradients(weights_of(learner.critic)),
        value_then=then[1],
    )

    # The package's: what its real update gives to the optimizers for the first minibatch.
    seen: dict[str, dict[str, Tensor]] = {}

    def recording(module: nn.Module, *_: object, term: str, **__: object) -> tuple[float, float]:
        if term not in seen:
            both = [module] if not isinstance(module, nn.ModuleList) else list(module)
            grads = [gradients_of(m) for m in both]
            seen[term] = grads[0]
            if len(grads) == 2:
                seen["value"] = grads[1]
        module.zero_grad()
        return 0.0, 0.0

    estimates = steps.advantages(episodes, config, config.kl_coef)
    monkeypatch.setattr(steps, "step_optimizer", recording)
    figures = steps.update(learner, episodes, estimates, 0)
    if drift:
        assert figures["clip_fraction"] > 0, "else clipping is not compared"

    # The other one.
    prompts = episodes.batch.prompt_lengths.tolist()
    drawn = [
        Episode(
            episodes.batch.tokens[i, : prompts[i]].tolist(),
            list(response.tokens),
            response.finished,
        )
        for i, response in enumerate(rollout.responses)
    ]
    shape = shape_of(learner.actor)  # type: ignore[arg-type]
    sequences = config.minibatch_size * config.ptx_ratio
    blocks = learner.packed.batch(0, sequences).tolist() if learner.packed else []
    policy, value = independent.losses(
        models, shape, drawn, steps.minibatches(0, config)[0], blocks, switches_of(config)
    )
    policy.backward()
    if config.value_network == "separate":
        value.backward()
    theirs = {
        term: {name: tensor.grad for name, tensor in weights.items() if tensor.grad is not None}
        for term, weights in (("policy", models.policy), ("value", models.value))
    }
    return Update(learner, episodes, drawn, models, shape, seen, theirs)


@pytest.mark.parametrize("drift", [0.0, 0.01], ids=["first", "later"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_an_update_has_the_gradients_of_an_independent_implementation(
    inputs: dict[str, Path], setting: str, drift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package in float32 through its micro-batches, the other in float64: within 1e-5 of the gradient's norm."""
    both = updated(inputs, setting, drift, monkeypatch)

    assert 0 < sum(e.finished for e in both.drawn) < len(both.drawn), "some end, some are cut off"
    for term in ("policy", "value"):
        ours, theirs = both.ours[term], both.theirs[term]
        assert ours.keys() == theirs.keys()
        norm = float(torch.cat([g.flatten() for g in theirs.values()]).norm())
        assert norm > 1e-3
        for name, expected in theirs.items():
            found = ours[name].reshape(expected.shape)
            assert float((found - expected).norm()) < 1e-5 * norm, f"{term}: {name}"


@pytest.mark.parametrize("setting", ["the paper's defaults", "ptx by sequence, colder"])
@torch.no_grad()
def test_what_is_known_of_the_episodes_is_what_an_independent_implementation_says(
    inputs: dict[str, Path], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sampler's own log-probabilities, the reference's and the scores, within 1e-5."""
    with torch.enable_grad():
        both = updated(inputs, setting, 0.0, monkeypatch)
    temperature = both.learner.config.sampling.temperature

    for i, episode in enumerate(both.drawn):
        counts = both.episodes.is_response[i]
        for name, weights in (
            ("log_probs", both.models.policy_then),
            ("reference_log_probs", both.models.reference),
        ):
            expected = independent.response_log_probs(weights, both.shape, episode, temperature)
            found = getattr(both.episodes, name)[i][counts].double()
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        expected = independent.score(both.models.reward_model, both.shape, episode)
        torch.testing.assert_close(both.episodes.scores[i].double(), expected, atol=1e-5, rtol=1e-5)
