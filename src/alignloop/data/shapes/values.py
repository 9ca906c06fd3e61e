"""One JSON array in a file, or objects that go over several lines: in memory as text, row by row as values."""

from __future__ import annotations

import json
import re
from pathlib import Path

from alignloop.data.incoming import Place, Rejected
from alignloop.data.shapes.lines import BOM, DAMAGED, ends_early, open_bytes, why_not_json
from alignloop.data.shapes.rows import MAX_ROW, Row, Rows, cut
from alignloop.errors import DataError

MAX_FILE = 200 * 2**20
"""Bytes, unpacked: such a file cannot be read a piece at a time, and takes about twice its size in memory."""

_BETWEEN = re.compile(r"[\s,]*")
# A string, whole or not, or a mark that nests or parts values.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{},]', re.DOTALL)


def check_size(size: int, file: str) -> None:
    """Whether a file of so many bytes is read.

    Raises:
        DataError: it is larger than MAX_FILE.
    """
    if size > MAX_FILE:
        raise DataError(
            f"{file}: a JSON file that is not JSON Lines is read whole, and this one has more than "
            f"{MAX_FILE // 2**20} MB; save it as JSON Lines or Parquet"
        )


def json_values(path: Path, file: str) -> Rows:
    """The elements of the array; without one, each value of the file. A broken element costs itself alone.

    Raises:
        DataError: as `check_size`, once unpacked.
    """
    content, damage = _read(path, file)
    # What is not UTF-8 is found again in the rows that hold it.
    text = content.removeprefix(BOM).decode("utf-8", "surrogateescape")
    del content
    decode = json.JSONDecoder().raw_decode
    at = _after_space(text, 0)
    is_array = text[at : at + 1] == "["
    at += is_array
    number = 0
    while True:
        at = _after_space(text, at)
        if at == len(text) or (is_array and text[at] == "]"):
            break
        number += 1
        start = at
        try:
            value, at = decode(text, start)
        except (ValueError, RecursionError) as error:
            at = _next_value(text, start)
            if at == len(text) and (is_array or damage is not None):
                number -= 1
                break
            yield Rejected(
                Place(file, number), why_not_json(_here(error, start)), cut(text[start:at])
            )
            continue
        raw = text[start : min(at, start + MAX_ROW)]
        if at - start > MAX_ROW:
            yield Rejected(Place(file, number), f"longer than {MAX_ROW:,} characters", cut(raw))
        else:
            yield Row(Place(file, number), value, raw)
    if damage is not None:
        yield ends_early(file, number, damage, "value")
    elif is_array and at == len(text):
        yield Rejected(Place(file, number + 1), "the file ends early: its array is not closed")
    elif text[at + 1 :].strip():
        yield Rejected(Place(file, number + 1), "something follows the array", cut(text[at + 1 :]))


def _read(path: Path, file: str) -> tuple[bytes, BaseException | None]:
    """The whole file, or what there is of it and what stopped the reading."""
    pieces: list[bytes] = []
    size = 0
    damage = None
    try:
        with open_bytes(path) as stream:
            while piece := stream.read1(2**20):
                pieces.append(piece)
                size += len(piece)
                check_size(size, file)
    except DAMAGED as error:
        damage = error
    return b"".join(pieces), damage


def _after_space(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _here(error: ValueError | RecursionError, start: int) -> ValueError | RecursionError:
    """The error with its column counted from the start of the value."""
    if isinstance(error, json.JSONDecodeError):
        return json.JSONDecodeError(error.msg, " ", error.pos - start)
    return error


def _next_value(text: str, at: int) -> int:
    """Where the comma after a broken value stands, or the bracket that closes the array; else the end."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        mark = token.group()
        if depth == 0 and token.start() > at and mark in (",", "]"):
            return token.start()
        if mark in ("[", "{"):
            depth += 1
        elif mark in ("]", "}"):
            depth -= depth > 0
    return len(text)
