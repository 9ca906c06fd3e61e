"""The files that are to be imported: opened, told apart by their bytes, and about how long they are."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignloop.data.incoming import Kind
from alignloop.data.shapes import Opened, read
from alignloop.data.shapes.containers import kind_of
from alignloop.data.shapes.lines import DAMAGED, open_bytes
from alignloop.files import sha256_of
from alignloop.resources import asset

EXAMPLES = "examples"
"""The word that stands for the bundled example prompts."""
_PIECE = 2**22


@dataclass(frozen=True, slots=True)
class Source:
    """A file or folder to import."""

    name: str
    """As the user gave it, and as every message and line calls it."""
    path: Path
    opened: Opened

    def shown(self, file: str) -> str:
        """The name, for people, of a file that a row came from."""
        return self.name if file == str(self.path) else file

    def sha256(self) -> bytes:
        """Of the file's bytes; of a folder, of the names and bytes of the files that are read."""
        if self.path.is_file():
            return bytes.fromhex(sha256_of(self.path))
        digest = hashlib.sha256()
        for file in self.opened.files:
            name = Path(file).relative_to(self.path)
            digest.update(f"{name}\0{sha256_of(Path(file))}\n".encode("utf-8", "surrogateescape"))
        return digest.digest()

    def state(self) -> Any:
        """What changes when somebody writes to it."""
        stats = [Path(file).stat() for file in self.opened.files]
        return [(one.st_size, one.st_mtime_ns) for one in stats]

    def rows(self) -> int | None:
        """About how many rows there are, for a bar that says how long it takes; None where only reading would tell."""
        counts = [_rows(Path(file)) for file in self.opened.files]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None


def sources(names: Sequence[str], *, shape: str | None, kind: Kind) -> list[Source]:
    """Open them all before the first is imported, so that a name misspelt stops nothing half-way.

    Raises:
        DataError: one cannot be read, or its shape is unknown.
        ModuleNotFoundError: one needs pyarrow, which is not installed.
    """
    found: list[Source] = []
    for name in names:
        path = asset("prompts", "examples.jsonl") if name == EXAMPLES else Path(name)
        found.append(Source(name, path, read(path, shape=shape, kind=kind)))
    return found


def _rows(path: Path) -> int | None:
    match kind_of(path):
        case "Parquet":
            parquet: Any = importlib.import_module("pyarrow.parquet")
            return parquet.read_metadata(path).num_rows
        case "JSON Lines" | "CSV" | "TSV" | "text":
            return _lines(path)
        case _:
            return None


def _lines(path: Path) -> int | None:
    """Lines of a file, of which the first pieces are counted where it is packed or long."""
    size = path.stat().st_size
    lines = taken = 0
    try:
        with open_bytes(path) as stream:
            for _ in range(4):
                piece = stream.read(_PIECE)
                lines += piece.count(b"\n")
                taken += len(piece)
            if path.suffix.lower() == ".gz":
                fileobj: Any = getattr(stream, "fileobj", None)
                taken = min(fileobj.tell(), size) if fileobj is not None else size
    except DAMAGED:
        return None  # reading it will say what is wrong
    return max(1, round(lines * size / taken)) if taken else 0
