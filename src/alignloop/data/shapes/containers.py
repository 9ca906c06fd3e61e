"""Which container a file is, and the rows in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alignloop.data.shapes.arrow import arrow_rows, check_arrow, check_parquet, parquet_rows
from alignloop.data.shapes.lines import BOM, DAMAGED, json_lines, open_bytes, text_lines
from alignloop.data.shapes.rows import MAX_ROW, Rows
from alignloop.data.shapes.tables import table_rows
from alignloop.data.shapes.values import check_size, json_values
from alignloop.errors import DataError

KINDS = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".arrow": "Arrow",
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".jsonlines": "JSON Lines",
    ".json": "JSON",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".tab": "TSV",
    ".txt": "text",
}
"""End of a file's name, before any .gz -> what is in it."""
_LFS = b"version https://git-lfs"
_UNPACKED_ONLY = ("Parquet", "Arrow")


@dataclass(frozen=True, slots=True)
class Container:
    """A file whose rows can be read, any number of times."""

    name: str
    """What it is, for people."""
    file: str
    """As it is called in every message."""
    rows: Callable[[], Rows]
    """Starts at the first row each time."""


def kind_of(path: Path) -> str:
    """What the file's name says it is; '' where it says nothing known."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes[-1:] == [".gz"]:
        kind = KINDS.get(suffixes[0], "") if len(suffixes) == 2 else ""
        return "" if kind in _UNPACKED_ONLY else kind
    return KINDS.get(suffixes[-1], "") if suffixes else ""


def open_file(path: Path, file: str) -> Container:
    """The container that a file is; its beginning is looked at.

    Raises:
        DataError: the file cannot be read, or its name says nothing known.
        ModuleNotFoundError: it needs pyarrow, which is not installed.
    """
    kind = kind_of(path)
    if not kind:
        raise DataError(
            f"{file}: what is in it cannot be told from the end of its name; known are "
            f"{', '.join(KINDS)}, and all but Parquet and Arrow with .gz after it"
        )
    start = _beginning(path, file)
    rows: Callable[[Path, str], Rows]
    match kind:
        case "Parquet":
            check_parquet(path, file)
            rows = parquet_rows
        case "Arrow":
            check_arrow(path, file)
            rows = arrow_rows
        case "CSV" | "TSV":
            rows = partial(table_rows, delimiter="," if kind == "CSV" else "\t")
        case "text":
            rows = text_lines
        case "JSON" if not _is_lines(start):
            rows = json_values
        case _:
            kind = "JSON Lines"
            rows = json_lines
    if kind in ("CSV", "TSV"):
        next(rows(path, file), None)  # a header that cannot be read is no matter for the first row
    if kind == "JSON":
        check_size(path.stat().st_size, file)
    gz = ", gzipped" if path.suffix.lower() == ".gz" else ""
    return Container(kind + gz, file, partial(rows, path, file))


def _beginning(path: Path, file: str) -> bytes:
    """The first line, cut; an unpacked file's where it is packed."""
    try:
        with path.open("rb") as packed:
            is_pointer = packed.read(len(_LFS)) == _LFS
        with open_bytes(path) as stream:
            start = b"" if is_pointer else stream.readline(MAX_ROW).removeprefix(BOM)
    except EOFError:
        return b""
    except DAMAGED as error:
        raise DataError(f"{file}: cannot be read ({error})") from None
    if is_pointer:
        raise DataError(
            f"{file}: stands for a file that Git LFS keeps; fetch it with `git lfs pull`"
        )
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{file}: is in UTF-16; save it as UTF-8")
    return start


def _is_lines(start: bytes) -> bool:
    """Whether a .json file is JSON Lines, as some tools write them: its first line is an object, whole."""
    if not start.lstrip().startswith(b"{"):
        return False
    try:
        json.loads(start)
    except (ValueError, RecursionError):
        return False
    return True
