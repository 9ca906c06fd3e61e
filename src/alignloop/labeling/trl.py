"""Labels as a dataset that other tools open: TRL's columns, in a folder that `datasets.load_dataset` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import each_record, write_objects
from alignloop.data.records import Demonstration, Prompt, Ranking, Rating, Record
from alignloop.errors import DataError
from alignloop.files import write_bytes
from alignloop.labeling.config import LabelKind
from alignloop.runs.artifact import Artifact, open_artifact

_SPLITS = {"train": "train", "valid": "validation"}
_RECORDS: Mapping[str, type[Demonstration | Ranking | Rating]] = {
    "demonstrations": Demonstration,
    "rankings": Ranking,
    "ratings": Rating,
}


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


def dataset_rows(records: Iterable[Record], *, ties: bool = False) -> Iterator[dict[str, Any]]:
    """Labels in the columns that other tools read, one kind at a time.

    Args:
        ties: bring the pairs of a ranking that are ties along too; their two ranks are equal.
    """
    for number, record in enumerate(records):
        match record:
            case Demonstration():
                yield {
                    "prompt": _messages(record.prompt),
                    "completion": [_said(record.response)],
                    "labeler": record.labeler,
                    "instructions": record.instructions,
                }
            case Ranking():
                yield from _pairs(number, record, ties)
            case Rating():
                yield {
                    "prompt": _messages(record.prompt),
                    "completion": [_said(record.completion.text)],
                    "score": record.likert,
                    "flags": json.dumps(dict(record.flags)),  # datasets wants one type per column
                    "model": record.completion.model,
                    "labeler": record.labeler,
                    "instructions": record.instructions,
                }
            case Prompt():
                yield {"prompt": _messages(record), "id": record.id}
            case _:
                raise DataError(f"{type(record).__name__} is no label")


def dataset_card(kind: str, files: Mapping[str, str], origin: str) -> str:
    """What the hub's dataset card says: where the files are (split -> path), and what they came from."""
    paths = "\n".join(f"  - split: {split}\n    path: {path}" for split, path in files.items())
    return f"""---
configs:
- config_name: default
  data_files:
{paths}
---

# {kind.capitalize()}

{origin}
"""


def _rows(artifact: Artifact, side: str) -> Iterator[dict[str, Any]]:
    record_class = _RECORDS.get(artifact.kind)
    if record_class is None:
        raise DataError(f"{artifact.path} holds '{artifact.kind}', which are no labels")
    yield from dataset_rows(each_record(artifact.file(f"{side}.jsonl.gz"), record_class))


def _pairs(number: int, ranking: Ranking, ties: bool) -> Iterator[dict[str, Any]]:
    pairs = [*ranking.pairs()]
    if ties:
        ranks = ranking.ranks
        pairs += [(a, b) for a, b in combinations(range(len(ranks)), 2) if ranks[a] == ranks[b]]
    for better, worse in pairs:
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
    files = {name: f"data/{name}.jsonl" for name in _SPLITS.values()}
    return dataset_card(
        artifact.kind,
        files,
        f"Exported by alignloop from an artefact of kind `{artifact.kind}` with SHA-256 `{artifact.sha256}`.\n"
        "Its `export.json` names the query and the rows that it came from.",
    )
