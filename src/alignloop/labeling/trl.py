"""Labels as a dataset that other tools open: TRL's columns, in a folder that `datasets.load_dataset` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import each_record, write_objects
from alignloop.data.records import Demonstration, Prompt, Ranking, Rating
from alignloop.errors import DataError
from alignloop.files import write_bytes
from alignloop.labeling.config import LabelKind
from alignloop.runs.artifact import Artifact, open_artifact

_SPLITS = {"train": "train", "valid": "validation"}


def write_dataset(run: Path, folder: Path, kind: LabelKind) -> int:
    """Write an export's labels for TRL; returns the number of rows.

    Demonstrations become prompt and completion, rankings a row per pair that is not a tie (prompt, chosen, rejected,
    with the group that keeps a ranking together, ranks and labeler), ratings prompt, completion, score and flags: all
    in the conversational form, which `apply_chat_template` reads.

    Raises:
        DataError: the folder is not empty.
        ArtifactError: the run holds no labels.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; choose another folder")
    artifact = open_artifact(run, kind)
    rows = 0
    for side, name in _SPLITS.items():
        found = list(_rows(artifact, side))
        write_objects(folder / "data" / f"{name}.jsonl", found)
        rows += len(found)
    write_bytes(folder / "README.md", _card(artifact).encode("utf-8"))
    return rows


def _rows(artifact: Artifact, side: str) -> Iterator[dict[str, Any]]:
    path = artifact.file(f"{side}.jsonl.gz")
    match artifact.kind:
        case "demonstrations":
            for record in each_record(path, Demonstration):
                yield {
                    "prompt": _messages(record.prompt),
                    "completion": [_said(record.response)],
                    "labeler": record.labeler,
                    "instructions": record.instructions,
                }
        case "rankings":
            for number, ranking in enumerate(each_record(path, Ranking)):
                yield from _pairs(number, ranking)
        case "ratings":
            for rating in each_record(path, Rating):
                yield {
                    "prompt": _messages(rating.prompt),
                    "completion": [_said(rating.completion.text)],
                    "score": rating.likert,
                    "flags": json.dumps(dict(rating.flags)),  # datasets wants one type per column
                    "model": rating.completion.model,
                    "labeler": rating.labeler,
                    "instructions": rating.instructions,
                }
        case _:
            raise DataError(f"{artifact.path} holds '{artifact.kind}', which are no labels")


def _pairs(number: int, ranking: Ranking) -> Iterator[dict[str, Any]]:
    for better, worse in ranking.pairs():
        yield {
            "prompt": _messages(ranking.prompt),
            "chosen": [_said(ranking.completions[better].text)],
            "rejected": [_said(ranking.completions[worse].text)],
            "ranking": number,  # pairs of one ranking are not independent: keep them in one batch
            "rank_chosen": ranking.ranks[better],
            "rank_rejected": ranking.ranks[worse],
            "labeler": ranking.labeler,
            "instructions": ranking.instructions,
        }


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    said = [{"role": turn.role, "content": turn.text} for turn in prompt.history]
    return [*said, {"role": "user", "content": prompt.text}]


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _card(artifact: Artifact) -> str:
    """What the hub's dataset card says: where the files are, and what they came from."""
    return f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train.jsonl
  - split: validation
    path: data/validation.jsonl
---

# {artifact.kind.capitalize()}

Exported by alignloop from an artefact of kind `{artifact.kind}` with SHA-256 `{artifact.sha256}`.
Its `export.json` names the query and the rows that it came from.
"""
