"""TRL's PPOTrainer, which 1.12.0 was the last release to have; its four models are of one size."""

from __future__ import annotations

from datasets import Dataset
from trl.experimental.ppo import PPOConfig, PPOTrainer

from benchmarks.job import Job, answer
from benchmarks.peer.trainer import (
    PACKAGES,
    Clock,
    arguments,
    language_model,
    recorded,
    scalar_model,
    start,
    tokenizer,
)


def main() -> None:
    """As many updates as on our side.

    The trainer divides a per-device batch by `num_mini_batches` itself. Gradient accumulation stays at 1: with it,
    accelerate would step once for several minibatches, and so take fewer updates than were asked for.
    """
    job, work = Job.read(), Job.read().work
    start(job.threads, job.precision)
    values = arguments(
        job,
        work["batch"],
        num_mini_batches=work["minibatches"],
        num_ppo_epochs=work["epochs"],
        local_rollout_forward_batch_size=job.setting.get("forward", work["batch"]),
        response_length=work["response"],
        total_episodes=work["batch"] * (job.skip + job.steps),
        stop_token="eos",
        temperature=1.0,
        kl_coef=0.02,
        missing_eos_penalty=1.0,
        learning_rate=1e-5,
        num_sample_generations=0,
    )
    del values["max_steps"]
    prompts = Dataset.from_dict({"input_ids": job.rows()["prompts"]})
    clock = Clock(job)
    PPOTrainer(
        args=PPOConfig(**values),
        processing_class=tokenizer(job.folder / "model", padding_side="left"),
        model=language_model(job.folder / "model"),
        ref_model=language_model(job.folder / "model"),
        reward_model=scalar_model(job.folder / "reward-model"),
        value_model=scalar_model(job.folder / "reward-model"),
        train_dataset=prompts,
        eval_dataset=prompts.select(range(1)),
        callbacks=[clock],
    ).train()
    answer(job, [work["batch"]] * job.steps, clock.seconds, recorded(values), PACKAGES)


if __name__ == "__main__":
    main()
