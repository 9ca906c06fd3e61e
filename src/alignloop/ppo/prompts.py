"""Which prompts PPO asks: customers', not labelers', and not those of earlier stages where the user says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from alignloop.data.batches import epoch_order
from alignloop.data.jsonl import read_objects
from alignloop.data.records import Prompt
from alignloop.errors import ArtifactError, ConfigError, DataError
from alignloop.runs.artifact import Artifact, Kind, kind_of

WITH_PROMPTS: Mapping[Kind, tuple[str, ...]] = {
    "demonstrations": ("train.jsonl.gz", "valid.jsonl.gz"),
    "rankings": ("train.jsonl.gz", "valid.jsonl.gz"),
    "completions": ("rankings.jsonl.gz", "valid.jsonl.gz"),
    "prompts": ("rankings.jsonl.gz",),
}
"""Kinds of artefact whose prompts can be left out, and the files that an earlier stage learned from."""


def kind_with_prompts(path: Path) -> Kind:
    """What kind of artefact lies at `path`, if it holds prompts.

    Raises:
        ArtifactError: it holds none, or there is none.
    """
    kind = kind_of(path)
    if kind not in WITH_PROMPTS:
        raise ArtifactError(
            f"{path} is a '{kind}' artefact; prompts can be excluded from one of {', '.join(WITH_PROMPTS)}"
        )
    return kind


def prompts_in(artifact: Artifact) -> list[Prompt]:
    """Every prompt that an artefact's stage learned from."""
    found: list[Prompt] = []
    for name in WITH_PROMPTS[artifact.kind]:
        path = artifact.file(name)
        if path.is_file():
            rows = (row for _, row in read_objects(path))
            found += [Prompt.model_validate(row.get("prompt", row)) for row in rows]
    return found


def without(
    prompts: Sequence[Prompt], earlier: Mapping[str, Sequence[Prompt]]
) -> tuple[list[Prompt], dict[str, int]]:
    """The prompts that no earlier stage had, and the overlap: how many of them each stage had.

    A prompt is the same where its id or its text is, letter case and white space aside.

    Raises:
        DataError: none is left.
    """
    gone: Set[str] = set()
    overlap: dict[str, int] = {}
    for role, theirs in earlier.items():
        known = {mark for prompt in theirs for mark in _marks(prompt)}
        same = {prompt.id for prompt in prompts if known & _marks(prompt)}
        overlap[role] = len(same)
        gone = gone | same
    kept = [prompt for prompt in prompts if prompt.id not in gone]
    if not kept:
        raise DataError(
            f"all {len(prompts)} prompts are among those to exclude; give PPO prompts of its own"
        )
    return kept, overlap


def _marks(prompt: Prompt) -> Set[str]:
    return {f"id {prompt.id}", f"text {' '.join(prompt.transcript.casefold().split())}"}


def refuse_labelers(prompts: Sequence[Prompt]) -> None:
    """The paper's PPO prompts are customers', none of them a labeler's (A.3, Table 6).

    Raises:
        ConfigError: some are written by labelers.
    """
    written = [prompt for prompt in prompts if prompt.source.startswith("labeler")]
    if written:
        raise ConfigError(
            f"{len(written)} of {len(prompts)} prompts were written by labelers ('{written[0].id}': source "
            f"'{written[0].source}'); the paper trains PPO on customers' alone: "
            "set allow_labeler_prompts = true to use them"
        )


def asked_in(iteration: int, available: int, batch_size: int, seed: int) -> list[int]:
    """Which prompts an iteration asks: each pass over them in a new order."""
    numbers = range(iteration * batch_size, (iteration + 1) * batch_size)
    epochs = {number // available for number in numbers}
    orders = {epoch: epoch_order(available, seed, epoch) for epoch in epochs}
    return [orders[number // available][number % available] for number in numbers]
