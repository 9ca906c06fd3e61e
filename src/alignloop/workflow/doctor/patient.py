"""The patient: what a PPO run would hold in memory at its start, and some answers that it would draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from alignloop.data.batches import PackedText, Ragged
from alignloop.data.formatter import encode_texts
from alignloop.data.jsonl import each_record
from alignloop.data.records import Prompt, Text
from alignloop.distributed import ALONE
from alignloop.generation.engine import Response
from alignloop.models.loading import context_length
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.inputs import frozen
from alignloop.ppo.learner import Learner, open_backbone
from alignloop.ppo.prompts import asked_in
from alignloop.ppo.rewards import FunctionReward, Reward, RewardModels, load_function
from alignloop.ppo.rollout import Episodes
from alignloop.ppo.steps import Rollout, collect, score
from alignloop.runs.artifact import open_artifact
from alignloop.seeds import derive_seed
from alignloop.training.optimizer import OptimizerConfig

PROMPTS = 16
"""Most prompts that are answered."""
LONGEST = 128
"""Longest answer that is drawn; a config that asks for longer ones is examined on their beginnings."""
DOCUMENTS = 64
"""Documents of pretraining text that are read."""


@dataclass(frozen=True, slots=True)
class Patient:
    """The models of a run, and answers of its policy with all that PPO makes of them."""

    config: PPOConfig
    """The run's, not the small one with which the learner was opened."""
    learner: Learner
    scorers: Sequence[ScalarModel]
    rollout: Rollout
    episodes: Episodes

    @property
    def batch(self) -> Ragged:
        """Prompts and answers, right-padded."""
        return self.rollout.answered.batch

    @property
    def responses(self) -> Sequence[Response]:
        """The answers."""
        return self.rollout.responses

    @property
    def temperature(self) -> float:
        """That of the run."""
        return self.config.sampling.temperature


def open_learner(
    config: PPOConfig,
    policy: Path,
    reward_models: Sequence[Path],
    heldout: Sequence[Path],
    reference: Path | None,
    reward_function: str | None,
    text: Path | None,
) -> tuple[Learner, list[ScalarModel], list[ScalarModel]]:
    """The learner of a small run with a learning rate of 0, the reward models, and those that are held out.

    Args:
        policy, reward_models, heldout, reference: model folders.
        reward_function: where absent, and without a reward model too, every answer scores 0.
    """
    backbone = open_backbone(config, policy)
    judges = [
        frozen(config, path, f"judge-{n}", backbone, ALONE)
        for n, path in enumerate([*reward_models, *heldout])
    ]
    scorers, watched = judges[: len(reward_models)], judges[len(reward_models) :]
    start: Any = None
    if scorers:
        start = reward_models[0] if backbone is None else scorers[0]
    elif config.value_start == "reward_model":
        config = config.model_copy(update={"value_start": "policy"})
    learner = Learner.open(
        config,
        policy,
        _reward(config, scorers, reward_function),
        value_start=start,
        reference=reference,
        backbone=backbone,
    )
    learner.context = min([learner.context, *(context_length(one.model) for one in watched)])
    if config.ptx_coef > 0 and text is not None:
        learner.packed = _some_text(config, learner, text)
    return learner, scorers, watched


def _reward(config: PPOConfig, scorers: list[ScalarModel], function: str | None) -> Reward:
    if function is not None:
        return FunctionReward(load_function(function)[0], function)
    if scorers:
        budget = config.micro_batch_tokens
        return RewardModels(scorers, budget, config.reward_combine, config.precision)
    return FunctionReward(lambda _, texts: [0.0] * len(texts), "zero")


def _some_text(config: PPOConfig, learner: Learner, text: Path) -> PackedText:
    """A few documents, packed as PPO packs all of them; repeated where they are shorter than one block."""
    source = open_artifact(text, "pretraining-text").file("train.jsonl.gz")
    some = islice(each_record(source, Text), DOCUMENTS)
    documents = encode_texts(learner.tokenizer, [record.text for record in some])
    tokens = sum(len(document) + 1 for document in documents)
    copies = config.ptx_tokens // max(tokens, 1) + 1
    seed = derive_seed(config.seed, "ptx")
    return PackedText(documents * copies, learner.formatter.end, config.ptx_tokens, seed)


def small(config: PPOConfig, prompts: int) -> PPOConfig:
    """The config of one iteration over a few prompts that changes no weight, with seeds of its own."""

    def still(optimizer: OptimizerConfig) -> OptimizerConfig:
        return optimizer.model_copy(update={"learning_rate": 0.0, "warmup_steps": 0})

    longest = min(config.sampling.max_new_tokens, LONGEST)
    return config.model_copy(
        update={
            "seed": derive_seed(config.seed, "doctor"),
            "episodes": prompts,
            "batch_size": prompts,
            "minibatch_size": max(prompts // 2, 1),
            "inner_epochs": 1,
            "compile": False,  # the run compiles for itself
            "kl_stop": None,
            "adaptive_kl": None,
            "warmup_iterations": 0,
            "sampling": config.sampling.model_copy(update={"max_new_tokens": longest}),
            "policy_optimizer": still(config.policy_optimizer),
            "value_optimizer": still(config.value_optimizer),
        }
    )


def chosen(prompts: Sequence[Prompt], seed: int) -> list[Prompt]:
    """A few prompts, an even number where there are two."""
    count = min(len(prompts), PROMPTS)
    count -= count % 2 if count > 1 else 0
    return [prompts[i] for i in asked_in(0, len(prompts), count, derive_seed(seed, "doctor"))]


def draw(
    config: PPOConfig, learner: Learner, scorers: list[ScalarModel], prompts: Sequence[Prompt]
) -> Patient:
    """Answer the prompts and look at the answers, as the first iteration of a run does."""
    rollout = collect(learner, prompts, 0)
    return Patient(config, learner, scorers, rollout, score(learner, rollout))
