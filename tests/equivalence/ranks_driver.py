"""Runs stages one after another in this process, which may be a rank of several; started by `test_ranks.py`.

python -m torch.distributed.run --nproc-per-node 2 tests/equivalence/ranks_driver.py JOBS.json
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.optim.optimizer import register_optimizer_step_post_hook

from alignloop.errors import Interrupted
from alignloop.runs import checkpoints
from alignloop.runs.shared import SharedRun
from alignloop.workflow.stages import config_class, run_stage

RANK = int(os.environ.get("RANK", "0"))


def perform(job: dict[str, Any]) -> None:
    """One run: keep the gradients of every optimizer's first step; stop at a step by a signal to one rank; or resume.

    Args:
        job: stage, folder, config, inputs; `stop_at` and `stop_rank`, or `resume`; or `dies_after` and `rank`.
    """
    folder = Path(job["folder"])
    config = config_class(job["stage"]).model_validate(job["config"])
    inputs = {
        name: [Path(p) for p in path] if isinstance(path, list) else Path(path)
        for name, path in job["inputs"].items()
    }
    resume = bool(job.get("resume"))
    if job.get("rank") == RANK:
        die_in_save(job["dies_after"])
    if "stop_at" not in job:
        with_gradients(
            folder, lambda: run_stage(job["stage"], folder, config, resume=resume, **inputs)
        )
        return
    log = SharedRun.log

    def logging(run: SharedRun, step: int, *arguments: Any, **timings: Any) -> None:
        log(run, step, *arguments, **timings)
        if step == job["stop_at"] and job["stop_rank"] == RANK:
            os.kill(os.getpid(), signal.SIGTERM)

    SharedRun.log = logging
    try:
        run_stage(job["stage"], folder, config, resume=resume, **inputs)
    except Interrupted as stopped:
        assert stopped.exit_code == 143, stopped.exit_code
    else:
        raise AssertionError(f"rank {RANK} was not stopped")
    finally:
        SharedRun.log = log


def die_in_save(moment: str) -> None:
    """From here on this rank kills itself in its second checkpoint: after half its shard, its shard, and so on."""
    save, seal = SharedRun.save_checkpoint, checkpoints.seal
    number = [0]

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def saving(run: SharedRun, step: int, write: Any, **options: Any) -> None:
        number[0] += 1

        def writing(aside: Path) -> None:
            if number[0] == 2 and moment == "half a shard":
                (aside / f"state-0000{RANK + 1}-of-00002.safetensors").write_bytes(b"half")
                die()
            write(aside)
            if number[0] == 2 and moment == "a shard":
                die()

        save(run, step, writing, **options)
        if number[0] == 2 and moment == "the last mark":
            die()

    def sealing(folder: Path) -> None:
        if number[0] == 2 and moment == "all shards":
            die()
        seal(folder)

    SharedRun.save_checkpoint, checkpoints.seal = saving, sealing


def with_gradients(folder: Path, work: Any) -> None:
    """Do the work; the gradients of each optimizer's first step go to `FOLDER.gradients/RANK-NUMBER.safetensors`."""
    seen: list[torch.optim.Optimizer] = []
    out = folder.with_suffix(".gradients")
    out.mkdir(exist_ok=True)

    def keep(optimizer: torch.optim.Optimizer, *_: object) -> None:
        if any(optimizer is known for known in seen):
            return
        held = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = {f"{i:03d}": p.grad.clone() for i, p in enumerate(held) if p.grad is not None}
        save_file(gradients, out / f"{RANK}-{len(seen)}.safetensors")
        seen.append(optimizer)

    handle = register_optimizer_step_post_hook(keep)
    try:
        work()
    finally:
        handle.remove()


if __name__ == "__main__":
    for one in json.loads(Path(sys.argv[1]).read_text()):
        perform(one)
