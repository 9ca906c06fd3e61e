"""TRL's SFTTrainer on the same tasks: padded, sorted by length, padding-free or packed, as the setting says."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from benchmarks.job import Job, answer
from benchmarks.peer.trainer import (
    PACKAGES,
    Clock,
    arguments,
    language_model,
    recorded,
    start,
    tokenizer,
)

NOT_LEARNED = -100


class CountingTrainer(SFTTrainer):
    """Counts the real tokens of every step: those under the attention mask, or all where nothing is padded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tokens: dict[int, int] = {}

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        is_real = inputs.get("attention_mask")
        count = int(is_real.sum()) if is_real is not None else inputs["input_ids"].numel()
        step = self.state.global_step
        self.tokens[step] = self.tokens.get(step, 0) + count
        return super().training_step(model, inputs, *args, **kwargs)


def main() -> None:
    """Responses alone are learned, as on our side. Packed rows of `length` hold the tokens of several tasks."""
    job = Job.read()
    start(job.threads, job.precision)
    rows = job.rows()
    tokens = [[*p, *r] for p, r in zip(rows["prompts"], rows["responses"], strict=True)]
    labels = [
        [NOT_LEARNED] * len(p) + r for p, r in zip(rows["prompts"], rows["responses"], strict=True)
    ]
    more: dict[str, Any] = {"max_length": job.shape.context, "learning_rate": 1e-4}
    per_update = job.work["batch"]
    if strategy := job.setting.get("packing"):
        more |= {"packing": True, "packing_strategy": strategy}
        more["max_length"] = job.setting["length"]
        # As many tokens in an update as on our side.
        mean = sum(map(len, tokens)) / len(tokens)
        forward = int(job.setting.get("batch", 1))
        forwards = max(round(per_update * mean / job.setting["length"] / forward), 1)
        per_update = forward * forwards
    elif job.setting.get("padding_free"):
        more |= {"padding_free": True, "max_length": None}  # no row is longer than the context
    if job.setting.get("by_length"):
        more["train_sampling_strategy"] = "group_by_length"
    values = arguments(job, per_update, **more)
    clock = Clock(job)
    trainer = CountingTrainer(
        model=language_model(job.folder / "model"),
        args=SFTConfig(**values),
        train_dataset=Dataset.from_dict({"input_ids": tokens, "labels": labels}),
        processing_class=tokenizer(job.folder / "model"),
        callbacks=[clock],
    )
    trainer.train()
    timed = [trainer.tokens[step] for step in range(job.skip, job.skip + job.steps)]
    answer(job, timed, clock.seconds, recorded(values), PACKAGES)


if __name__ == "__main__":
    main()
