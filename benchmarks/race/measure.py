"""Saved policies of either side, measured by one and the same code: the study's yardstick, always in float32."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from alignloop.generation.engine import SamplingConfig
from alignloop.workflow.measure import Yardstick
from benchmarks.job import reply
from benchmarks.ours.stage import PACKAGES
from benchmarks.race.plan import Shared

SEED = 1
"""Of the answers: the same for every side and training, so that policies of equal step draw with equal numbers."""


def measure(
    given: dict[str, Any], policies: dict[int, Path], folder: Path, copies: int
) -> dict[int, dict[str, float]]:
    """`score`, `gold`, `kl` and so on of each policy by its step, on all validation prompts.

    Args:
        folder: where figures are kept, so that a killed measurement goes on.
        copies: answers per prompt.
    """
    shared = Shared(**given["shared"])
    yardstick = Yardstick(
        folder,
        prompts=Path(given["prompts"]),
        reward_model=Path(given["reward_model"]),
        reference=Path(given["policy"]),
        sampling=SamplingConfig(
            max_new_tokens=shared.max_new_tokens, temperature=shared.temperature
        ),
        seed=SEED,
        copies=copies,
        lexicon=Path(given["lexicon"]),
        baseline=Path(given["policy"]),
    )
    return {
        step: yardstick.measure(policy, f"step_{step:06d}") for step, policy in policies.items()
    }


def main() -> None:
    """Measure what the command line names, as JSON."""
    told = json.loads(sys.argv[1])
    torch.set_num_threads(told["threads"])
    policies = {int(step): Path(path) for step, path in told["policies"].items()}
    found = measure(told["given"], policies, Path(told["folder"]), told["copies"])
    reply({"figures": found}, PACKAGES)


if __name__ == "__main__":
    main()
