"""What the scripts for TRL share: one set of arguments for its trainers, and the seconds of its steps."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from typing import Any

import torch
import transformers

from benchmarks.job import Job

PACKAGES = ("trl", "torch", "transformers", "accelerate")


def start(job: Job) -> None:
    """The threads that both sides have."""
    torch.set_num_threads(job.threads)


def arguments(job: Job, rows: int, **more: Any) -> dict[str, Any]:
    """What every TRL trainer is told: this CPU, this arithmetic, no files, no reports, no checkpointing of gradients.

    `batch` of the setting is the rows of a forward pass; gradients are accumulated up to `rows`, the rows of an update.
    """
    batch = min(int(job.setting.get("batch", rows)), rows)
    if rows % batch:
        raise SystemExit(f"{rows} rows of an update are not a multiple of a batch of {batch}")
    return {
        "output_dir": os.fspath(job.folder / "trainer"),
        "use_cpu": True,
        "bf16": job.precision == "bfloat16",
        "torch_compile": bool(job.setting.get("compile", False)),
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": rows // batch,
        "max_steps": job.skip + job.steps,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1_000_000,
        "disable_tqdm": True,
        **more,
    }


def recorded(values: dict[str, Any]) -> dict[str, Any]:
    """The arguments without the folder, for the record."""
    return {name: value for name, value in values.items() if name != "output_dir"}


def tokenizer(job: Job, **options: Any) -> transformers.PreTrainedTokenizerFast:
    """The tokenizer beside the weights; the rows are tokens already."""
    found = transformers.AutoTokenizer.from_pretrained(os.fspath(job.folder / "model"), **options)
    return found


def language_model(job: Job) -> transformers.PreTrainedModel:
    """The weights that both sides start from, in float32."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        os.fspath(job.folder / "model"), dtype=torch.float32
    )


def scalar_model(job: Job, folder: str) -> transformers.PreTrainedModel:
    """The same trunk with one output."""
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        os.fspath(job.folder / folder), num_labels=1, dtype=torch.float32
    )


class Clock(transformers.TrainerCallback):
    """Seconds between the ends of steps: those of the first step, which has no step before it, are never known."""

    def __init__(self, job: Job) -> None:
        assert job.skip > 0, "the first step cannot be timed"
        self._job = job
        self._ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._ends.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """One per timed step."""
        ends = self._ends[self._job.skip - 1 :][: self._job.steps + 1]
        return [after - before for before, after in pairwise(ends)]
