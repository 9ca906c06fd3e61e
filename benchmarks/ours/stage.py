"""A stage of the package, run as its command line runs it, and timed by its own log."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from alignloop.workflow.stages import config_class, run_stage
from benchmarks.job import Job, answer

PACKAGES = ("alignloop", "torch", "transformers")
NEVER = 1_000_000
"""Steps between checkpoints, validations or samples, for a run that is to have none."""


def measure(
    stage: str, job: Job, values: dict[str, Any], units: Sequence[float], **inputs: Path
) -> None:
    """Run the stage in a folder of its own and answer with the seconds that `timings.jsonl` has for the timed steps.

    Args:
        values: of the stage's config; the job's setting goes on top.
        units: what each timed step did.
    """
    torch.set_num_threads(job.threads)
    config = config_class(stage).model_validate(values | job.setting)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        run_stage(stage, folder, config, resume=False, **inputs)
        lines = (folder / "timings.jsonl").read_text(encoding="utf-8").splitlines()
    seconds = [float(json.loads(line)["seconds"]) for line in lines]
    timed = seconds[job.skip : job.skip + job.steps]
    answer(job, units, timed, config.model_dump(mode="json"), PACKAGES)
