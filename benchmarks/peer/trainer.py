"""What the scripts for TRL share: one set of arguments for its trainers, and the seconds of its steps."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.job import Job, Precision

PACKAGES = ("trl", "torch", "transformers", "accelerate")


def start(threads: int, precision: Precision) -> None:
    """The threads that both sides have, and the arithmetic.

    TRL's PPOTrainer makes its Accelerator without a precision, so its `bf16` alone changes nothing: what counts is the
    variable that `accelerate launch --mixed_precision bf16` sets.
    """
    torch.set_num_threads(threads)
    if precision == "bfloat16":
        os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"


def everywhere(folder: Path, precision: Precision, **more: Any) -> dict[str, Any]:
    """What every TRL trainer is told: this CPU, this arithmetic, no files or reports, no checkpointing of gradients."""
    return {
        "output_dir": os.fspath(folder),
        "use_cpu": True,
        "bf16": precision == "bfloat16",
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1_000_000,
        "disable_tqdm": True,
        **more,
    }


def arguments(job: Job, rows: int, **more: Any) -> dict[str, Any]:
    """`everywhere`, and the sizes of a job.

    `batch` of the setting is the rows of a forward pass; gradients are accumulated up to `rows`, the rows of an update.
    """
    batch = min(int(job.setting.get("batch", rows)), rows)
    if rows % batch:
        raise SystemExit(f"{rows} rows of an update are not a multiple of a batch of {batch}")
    sizes = {
        "torch_compile": bool(job.setting.get("compile", False)),
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": rows // batch,
        "max_steps": job.skip + job.steps,
    }
    return everywhere(job.folder / "trainer", job.precision, **sizes, **more)


def recorded(values: dict[str, Any]) -> dict[str, Any]:
    """The arguments without the folder, for the record."""
    return {name: value for name, value in values.items() if name != "output_dir"}


def tokenizer(folder: Path, **options: Any) -> transformers.PreTrainedTokenizerFast:
    """The tokenizer beside the weights; the rows are tokens already."""
    found = transformers.AutoTokenizer.from_pretrained(os.fspath(folder), **options)
    return found


def language_model(folder: Path) -> transformers.PreTrainedModel:
    """The weights that both sides start from, in float32."""
    return transformers.AutoModelForCausalLM.from_pretrained(os.fspath(folder), dtype=torch.float32)


def scalar_model(folder: Path) -> transformers.PreTrainedModel:
    """A trunk with one output."""
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        os.fspath(folder), num_labels=1, dtype=torch.float32
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
