"""TRL's RewardTrainer on rankings written out as explicit pairs, which is all that it reads."""

from __future__ import annotations

from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from benchmarks.job import Job, answer
from benchmarks.peer.trainer import (
    PACKAGES,
    Clock,
    arguments,
    recorded,
    scalar_model,
    start,
    tokenizer,
)


def main() -> None:
    """Every pair of a ranking is two whole rows; an update has the pairs of as many rankings as ours."""
    job = Job.read()
    start(job.threads, job.precision)
    rows = job.rows()
    chosen: list[list[int]] = []
    rejected: list[list[int]] = []
    for prompt, completions in zip(rows["prompts"], rows["responses"], strict=True):
        for better, response in enumerate(completions):
            for worse in completions[better + 1 :]:
                chosen.append([*prompt, *response])
                rejected.append([*prompt, *worse])
    completions = job.work["completions"]
    pairs = job.work["batch"] * completions * (completions - 1) // 2
    values = arguments(job, pairs, max_length=job.shape.context)
    clock = Clock(job)
    RewardTrainer(
        model=scalar_model(job.folder / "model"),
        args=RewardConfig(**values),
        train_dataset=Dataset.from_dict({"chosen_ids": chosen, "rejected_ids": rejected}),
        processing_class=tokenizer(job.folder / "model"),
        callbacks=[clock],
    ).train()
    answer(job, [pairs] * job.steps, clock.seconds, recorded(values), PACKAGES)


if __name__ == "__main__":
    main()
