"""A learner of tiny models, for tests that call PPO's steps alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignloop.data.batches import PackedText
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.learner import Learner
from alignloop.ppo.rewards import RewardModels
from alignloop.seeds import derive_seed
from tests.helpers import PPO


def open_learner(inputs: dict[str, Path], **changes: Any) -> Learner:
    config = PPOConfig.model_validate(PPO | changes)
    judge = inputs["reward_model"] / "artifact"
    scorer = ScalarModel.load(judge)
    scorer.requires_grad_(False)
    learner = Learner.open(
        config,
        inputs["policy"],
        RewardModels([scorer], config.micro_batch_tokens),
        value_start=judge,
    )
    if config.ptx_coef > 0:
        train = inputs["text"] / "train.jsonl.gz"
        seed = derive_seed(config.seed, "ptx")
        learner.packed = PackedText.read(train, learner.tokenizer, config.ptx_tokens, seed)
    return learner
