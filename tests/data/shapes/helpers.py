"""What the tests of shapes share: files written by hand, and what is read from them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from alignloop.data.incoming import Candidate, Kind, Rejected
from alignloop.data.shapes import read

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = {"role": "user", "content": "Hi"}
SAID = {"role": "assistant", "content": "Hello"}
AGAIN = {"role": "user", "content": "Who are you?"}


def write_lines(path: Path, rows: list[Any]) -> Path:
    """JSON Lines, gzipped where the name says so; bytes and texts are written as they are."""
    lines = [
        row
        if isinstance(row, bytes)
        else row.encode()
        if isinstance(row, str)
        else json.dumps(row).encode()
        for row in rows
    ]
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def things(
    path: Path, shape: str | None = None, kind: Kind = "customer"
) -> list[Candidate | Rejected]:
    """Everything that a file gives."""
    return list(read(path, shape=shape, kind=kind))


def candidates(path: Path, shape: str | None = None, kind: Kind = "customer") -> list[Candidate]:
    """What a file gives, none of it rejected."""
    found = things(path, shape, kind)
    assert not [one for one in found if isinstance(one, Rejected)]
    return [one for one in found if isinstance(one, Candidate)]


def rejections(path: Path, shape: str | None = None) -> list[tuple[int, str]]:
    """(line, reason) of what a file gives and cannot be read."""
    return [
        (one.place.line, one.reason) for one in things(path, shape) if isinstance(one, Rejected)
    ]


def one_row(folder: Path, row: Any, shape: str | None = None, kind: Kind = "customer") -> Candidate:
    """The one candidate of a file with one row."""
    (found,) = candidates(write_lines(folder / "one.jsonl", [row]), shape, kind)
    return found


def reason(folder: Path, row: Any, shape: str) -> str:
    """Why a row is turned away."""
    ((_, said),) = rejections(write_lines(folder / "one.jsonl", [row]), shape)
    return said


def best_first(found: Candidate) -> list[str]:
    """The texts of ranked answers, the best first."""
    assert all(answer.rank is not None for answer in found.answers)
    return [answer.text for answer in sorted(found.answers, key=lambda answer: answer.rank or 0)]


def shape_of(folder: Path, row: Any) -> str:
    return read(write_lines(folder / "shape.jsonl", [row])).shape
