"""What a PPO run wrote of its answers while it learned: `samples/step_NNNNNN.jsonl`, and what gold makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alignloop.data.jsonl import read_objects, read_records
from alignloop.data.records import Prompt
from alignloop.judges.gold import Gold
from alignloop.runs.artifact import open_artifact


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of the policy as it was at that iteration."""

    iteration: int
    kl: float
    """Summed log-ratio to the reference, in nats."""
    score: float
    """Of the reward model."""
    gold: float
    """Gold's utility."""


def prompts_by_id(prompts: Path) -> dict[str, Prompt]:
    """The prompts that PPO asks, of a `prompts` artefact."""
    file = open_artifact(prompts, "prompts").file("rl.jsonl.gz")
    return {prompt.id: prompt for prompt in read_records(file, Prompt)}


def read_samples(run: Path, prompts: Mapping[str, Prompt], gold: Gold) -> list[Sample]:
    """Every answer that the run in that folder wrote down, in order."""
    return [
        Sample(
            iteration=int(path.stem.removeprefix("step_")),
            kl=row["kl_reference"],
            score=row["score"],
            gold=gold.utility(prompts[row["prompt_id"]], row["response"]),
        )
        for path in sorted((run / "samples").glob("step_*.jsonl"))
        for _, row in read_objects(path)
    ]
