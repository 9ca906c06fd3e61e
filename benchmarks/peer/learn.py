"""TRL's PPOTrainer on the same prompts in the same order, with the clock stopped while a policy is saved."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import transformers
from datasets import Dataset
from torch.utils.data import DataLoader
from trl.experimental.ppo import PPOConfig, PPOTrainer

from benchmarks.job import reply
from benchmarks.peer.reward_model import with_bias
from benchmarks.peer.trainer import (
    PACKAGES,
    everywhere,
    language_model,
    recorded,
    start,
    tokenizer,
)
from benchmarks.race.plan import Order

NO_CLIPPING = 1e9
"""`cliprange_value` where values are not clipped: it cannot be turned off."""


def arguments(order: Order) -> dict[str, Any]:
    """What was agreed and what the trials chose.

    The trainer divides a per-device batch by `num_mini_batches` itself, so gradient accumulation stays at 1. Its
    default of a learning rate that falls linearly is set to constant. `vf_coef` stays: policy and value function share
    no weight, and Adam takes no notice of a factor.
    """
    told, shared = order.training, order.shared()
    clip = shared.value_clip_range
    return everywhere(
        Path(order.folder) / "trainer",
        told.precision,
        seed=told.seed,
        per_device_train_batch_size=shared.batch_size,
        gradient_accumulation_steps=1,
        num_mini_batches=shared.batch_size // shared.minibatch_size,
        num_ppo_epochs=told.inner_epochs,
        local_rollout_forward_batch_size=shared.batch_size // told.speed["forward_share"],
        total_episodes=told.iterations * shared.batch_size,
        response_length=shared.max_new_tokens,
        stop_token="eos",
        temperature=shared.temperature,
        kl_coef=shared.kl_coef,
        kl_estimator="k1",
        missing_eos_penalty=shared.missing_eos_penalty,
        gamma=shared.discount,
        lam=shared.gae_lambda,
        cliprange=shared.clip_range,
        cliprange_value=NO_CLIPPING if clip is None else clip,
        learning_rate=told.learning_rate,
        lr_scheduler_type="constant",
        warmup_steps=0,
        adam_beta1=shared.beta1,
        adam_beta2=shared.beta2,
        adam_epsilon=shared.eps,
        weight_decay=shared.weight_decay,
        num_sample_generations=0,
    )


class SavingClock(transformers.TrainerCallback):
    """Seconds of every iteration, and the policy after some of them."""

    def __init__(self, order: Order, policy: transformers.PreTrainedModel) -> None:
        self._order, self._policy = order, policy
        self._since = 0.0
        self.seconds: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._since = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds.append(time.perf_counter() - self._since)
        if len(self.seconds) in self._order.training.steps:
            self._policy.save_pretrained(os.fspath(self._order.point(len(self.seconds))))
        self._since = time.perf_counter()


def main() -> None:
    """Train, and answer with the seconds of every iteration."""
    order = Order.read()
    start(order.threads, order.training.precision)
    transformers.set_seed(
        order.training.seed
    )  # its minibatches are drawn from NumPy's global state
    given, values = order.given(), arguments(order)
    policy_folder, judge_folder = Path(given["policy"]), Path(given["reward_model"])
    count = values["total_episodes"]
    prompts = Dataset.from_dict({"input_ids": order.prompts()["tokens"][:count]})
    policy = language_model(policy_folder)
    clock = SavingClock(order, policy)
    trainer = PPOTrainer(
        args=PPOConfig(**values),
        processing_class=tokenizer(policy_folder, padding_side="left"),
        model=policy,
        ref_model=language_model(policy_folder),
        reward_model=with_bias(judge_folder),
        value_model=with_bias(judge_folder),
        train_dataset=prompts,
        eval_dataset=prompts.select(range(1)),
        callbacks=[clock],
    )
    # It shuffles; both sides are to ask the same prompts in the same order.
    trainer.dataloader = trainer.accelerator.prepare(
        DataLoader(prompts, values["per_device_train_batch_size"], collate_fn=trainer.data_collator)
    )
    trainer.train()
    reply({"seconds": clock.seconds, "config": recorded(values)}, PACKAGES)


if __name__ == "__main__":
    main()
