"""Your own records as an artefact: read from JSON Lines, split by group, written where the stages look. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from alignloop.config import Config
from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Demonstration, Prompt, Ranking, Record, Text
from alignloop.data.split import draw, side_of
from alignloop.errors import DataError
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run

ImportKind = Literal["pretraining-text", "demonstrations", "prompts", "rankings"]


class ImportConfig(Config):
    """What the file holds, and how its groups are shared out."""

    kind: ImportKind
    """`pretraining-text` (id, text), `demonstrations` (prompt, response), `prompts` (text) or `rankings`
    (prompt, completions, ranks, labeler); `messages` may stand for prompt and response."""
    valid: float = Field(default=0.05, gt=0, lt=1)
    """Share of the groups for validation."""
    test: float = Field(default=0.1, gt=0, lt=1)
    """Share of the groups for the test side."""
    rankings: float = Field(default=0.4, gt=0, lt=1)
    """For prompts: share of the training groups whose prompts get completions to rank; the rest are RL prompts."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid {self.valid} and test {self.test} leave nothing to train on")
        return self


def import_records(config: ImportConfig, run: Run, *, source: Path) -> Artifact:
    """Split a file of records by group and leave an artefact of `config.kind`.

    A record's group is its prompt's `group` (the user or organisation), or the prompt's id where none is given: then
    every prompt may land on another side. The turns of one conversation stay together even so.

    Raises:
        DataError: the file cannot be read, or a side would be empty.
    """
    sides: dict[str, list[Record]] = {name: [] for name in _files(config.kind)}
    records = _read(config.kind, run.input_file("source", source))
    left_out = 0
    for record in records:
        side = _side(_group(record), config)
        if side in sides:
            sides[side].append(record)
        else:
            left_out += (
                1  # rankings have no test side, and held-out groups may not train a reward model
            )
    for side, chosen in sides.items():
        if not chosen:
            raise DataError(
                f"{source}: its {len(records)} records leave nothing for '{side}'; "
                "give more groups, or other shares (--set valid=..., --set test=...)"
            )

    def write(folder: Path) -> None:
        for side, chosen in sides.items():
            write_records(folder / f"{side}.jsonl.gz", chosen)

    facts: dict[str, object] = {"rows": {side: len(r) for side, r in sides.items()}}
    if left_out:
        facts["left_out_of_held_out_groups"] = left_out
    return run.finish(config.kind, write, facts)


def _files(kind: ImportKind) -> tuple[str, ...]:
    match kind:
        case "prompts":
            return ("rankings", "rl", "valid", "test")
        case "rankings":
            return ("train", "valid")
        case _:
            return ("train", "valid", "test")


def _read(kind: ImportKind, source: Path) -> Sequence[Record]:
    match kind:
        case "pretraining-text":
            return read_records(source, Text)
        case "demonstrations":
            return read_records(source, Demonstration)
        case "prompts":
            return read_records(source, Prompt)
        case "rankings":
            return read_records(source, Ranking)


def _group(record: Record) -> str:
    match record:
        case Text():
            return record.group or record.id
        case Prompt():
            return record.group or record.opening_id
        case Demonstration() | Ranking():
            return _group(record.prompt)
        case _:
            raise AssertionError(f"records of {type(record).__name__} are not imported")


def _side(group: str, config: ImportConfig) -> str:
    side = side_of(group, config.valid, config.test)
    if side != "train" or config.kind != "prompts":
        return side
    return "rankings" if draw("purpose", group) < config.rankings else "rl"
