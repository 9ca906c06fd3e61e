"""Our PPO by its steps, with the clock stopped while a policy is saved."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.learner import Learner
from alignloop.ppo.rewards import RewardModels
from alignloop.ppo.steps import advantages, collect, score, update
from benchmarks.job import reply
from benchmarks.ours.stage import PACKAGES
from benchmarks.race.plan import Order

CLIP_NORM = 1.0
"""The demo's; the peer's loop clips no gradient and has no setting for it."""


def config_of(order: Order) -> PPOConfig:
    """What was agreed, what the trials chose, and of the rest what the peer does: whole-batch whitening, no warm-up.

    The learning rate is one for both models, and what is measured are the weights and not their average, since the
    peer has no second rate and no average.
    """
    told, shared = order.training, order.shared()
    optimizer = {
        "learning_rate": told.learning_rate,
        "schedule": "constant",
        "beta1": shared.beta1,
        "beta2": shared.beta2,
        "eps": shared.eps,
        "weight_decay": shared.weight_decay,
        "clip_norm": CLIP_NORM,
    }
    return PPOConfig.model_validate(
        {
            "seed": told.seed,
            "episodes": told.iterations * shared.batch_size,
            "batch_size": shared.batch_size,
            "minibatch_size": shared.minibatch_size,
            "inner_epochs": told.inner_epochs,
            "sampling": {
                "max_new_tokens": shared.max_new_tokens,
                "temperature": shared.temperature,
            },
            "kl_coef": shared.kl_coef,
            "ptx_coef": 0.0,
            "discount": shared.discount,
            "gae_lambda": shared.gae_lambda,
            "clip_range": shared.clip_range,
            "value_clip_range": shared.value_clip_range,
            "whiten_advantages": "batch",
            "missing_eos_penalty": shared.missing_eos_penalty,
            "policy_optimizer": optimizer,
            "value_optimizer": optimizer,
            "warmup_iterations": 0,
            "export": "raw",
            "precision": told.precision,
            **told.speed,
        }
    )


def main() -> None:
    """Train, and answer with the seconds of every iteration."""
    order = Order.read()
    torch.set_num_threads(order.threads)
    config, given, steps = config_of(order), order.given(), order.training.steps
    judge = ScalarModel.load(Path(given["reward_model"]))
    judge.requires_grad_(False)
    learner = Learner.open(
        config,
        Path(given["policy"]),
        RewardModels([judge], config.micro_batch_tokens, precision=config.precision),
        value_start=Path(given["reward_model"]),
    )
    asked = order.prompts()
    by_id = {p.id: p for p in read_records(Path(given["prompts"]) / "rl.jsonl.gz", Prompt)}
    records = [by_id[name] for name in asked["ids"]]
    seconds: list[float] = []
    for iteration in range(config.iterations):
        began = time.perf_counter()
        rows = slice(iteration * config.batch_size, (iteration + 1) * config.batch_size)
        rollout = collect(learner, records[rows], iteration)
        episodes = score(learner, rollout)
        estimates = advantages(episodes, config, learner.kl_coef, iteration)
        update(learner, episodes, estimates, iteration)
        seconds.append(time.perf_counter() - began)
        if iteration + 1 in steps:
            learner.export(order.point(iteration + 1))
    reply({"seconds": seconds, "config": config.model_dump(mode="json")}, PACKAGES)


if __name__ == "__main__":
    main()
