"""One process of `roles_memory.py`: write the inputs, or run PPO, or do nothing but load the libraries."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from alignloop.workflow.stages import config_class, run_stage
from benchmarks.job import Shape, reply
from benchmarks.models import prepare
from benchmarks.ours.stage import NEVER, PACKAGES

EPISODES, PROMPT, RESPONSE = 8, 32, 32
LORA = {"adapters": {"kind": "lora"}}


def main() -> None:
    """Do what the JSON on the command line says and answer with the peak memory."""
    told = json.loads(sys.argv[1])
    torch.set_num_threads(told["threads"])
    folder = Path(told["folder"])
    if told["kind"] == "inputs":
        _write(folder, Shape(**told["shape"]))
    elif told["kind"] != "nothing":
        _learn(folder, told["kind"])
    reply({}, PACKAGES)


def _write(folder: Path, shape: Shape) -> None:
    """Weights, prompts, a reward model, and one that is an adapter on the same weights."""
    sizes = {"prompt": PROMPT, "response": RESPONSE, "completions": 2}
    prepare("ppo-one-epoch", folder, shape, sizes, EPISODES)
    prepare("reward", folder / "judged", shape, sizes, 1)
    _run(
        "reward",
        folder / "lora-reward-model",
        {"batch_size": 1, "checkpoint_every": NEVER, **LORA},
        model=folder / "model",
        rankings=folder / "judged" / "rankings",
        demonstrations=folder / "judged" / "demonstrations",
    )


def _learn(folder: Path, kind: str) -> None:
    """Two updates of PPO."""
    values: dict[str, Any] = {
        "episodes": EPISODES,
        "batch_size": EPISODES,
        "minibatch_size": EPISODES // 2,
        "sampling": {"max_new_tokens": RESPONSE},
        "ptx_coef": 0.0,
        "micro_batch_tokens": 2 * (PROMPT + RESPONSE),
        "checkpoint_every": NEVER,
        "samples_every": NEVER,
    }
    _run(
        "ppo",
        folder / f"run-{kind}",
        values | (LORA if kind == "lora" else {}),
        policy=folder / "model",
        reward_model=folder / ("lora-reward-model" if kind == "lora" else "reward-model"),
        prompts=folder / "prompts",
    )


def _run(stage: str, folder: Path, values: dict[str, Any], **inputs: Path) -> None:
    run_stage(stage, folder, config_class(stage).model_validate(values), resume=False, **inputs)


if __name__ == "__main__":
    main()
