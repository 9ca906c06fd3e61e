"""Text a line at a time, plain or gzipped: JSON Lines and lists of prompts. Nothing but one line is in memory."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from alignloop.data.incoming import Place, Rejected
from alignloop.data.shapes.rows import MAX_ROW, Row, Rows, cut

BOM = b"\xef\xbb\xbf"
DAMAGED = (EOFError, OSError, zlib.error)
"""What reading a cut or broken file raises."""


def open_bytes(path: Path) -> io.BufferedIOBase:
    """The bytes of a file, unpacked where its name ends in .gz.

    No second buffer stands before the unpacking one: it would lose what was unpacked before a file breaks off.
    """
    if path.suffix.lower() == ".gz":
        return gzip.GzipFile(path, "rb")
    return io.BufferedReader(io.FileIO(path), 2**17)


def physical_lines(stream: io.BufferedIOBase) -> Iterator[tuple[int, bytes, bool]]:
    """(number, line, whether it is whole); of a line longer than MAX_ROW bytes the beginning, and the rest is skipped.

    A byte order mark is taken off the first line.

    Raises:
        one of DAMAGED: the rest of the file cannot be read.
    """
    number = 0
    while line := stream.readline(MAX_ROW + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(BOM)
        is_whole = len(line) <= MAX_ROW or line.endswith(b"\n")
        if not is_whole:
            while (rest := stream.readline(MAX_ROW)) and not rest.endswith(b"\n"):
                pass
        yield number, line, is_whole


def json_lines(path: Path, file: str) -> Rows:
    """One JSON value per line; blank lines are passed over."""
    decode = json.JSONDecoder().decode
    number = 0
    try:
        with open_bytes(path) as stream:
            for number, line, is_whole in physical_lines(stream):
                if not is_whole:
                    yield _too_long(file, number, line)
                    continue
                try:
                    text = line.decode().strip()
                    if text:
                        yield Row(Place(file, number), decode(text), line)
                except (ValueError, RecursionError) as error:
                    yield Rejected(Place(file, number), why_not_json(error), cut(line))
    except DAMAGED as error:
        yield ends_early(file, number, error)


def text_lines(path: Path, file: str) -> Rows:
    """One text per line, blank ones too."""
    number = 0
    try:
        with open_bytes(path) as stream:
            for number, line, is_whole in physical_lines(stream):
                if not is_whole:
                    yield _too_long(file, number, line)
                    continue
                try:
                    yield Row(Place(file, number), line.decode().rstrip("\r\n"), line)
                except UnicodeDecodeError as error:
                    yield Rejected(Place(file, number), why_not_json(error), cut(line))
    except DAMAGED as error:
        yield ends_early(file, number, error)


def why_not_json(error: ValueError | RecursionError) -> str:
    """One line on what is wrong with a text that should be JSON."""
    match error:
        case UnicodeDecodeError():
            byte = error.object[error.start]
            return f"not UTF-8 (byte 0x{byte:02x} at position {error.start + 1})"
        case json.JSONDecodeError():
            return f"not JSON ({error.msg}, column {error.colno})"
        case RecursionError():
            return "nested too deeply"
        case _:  # a number of thousands of digits
            return f"not JSON ({str(error).partition(';')[0]})"


def ends_early(file: str, line: int, error: BaseException, unit: str = "line") -> Rejected:
    """What stands for the part of a file that cannot be read."""
    if isinstance(error, EOFError):
        reason = f"the file ends early: it is cut off after {unit} {line}"
    else:
        reason = f"the rest of the file, after {unit} {line}, cannot be read ({error})"
    return Rejected(Place(file, line + 1), " ".join(reason.split()))


def _too_long(file: str, number: int, line: bytes) -> Rejected:
    return Rejected(Place(file, number), f"longer than {MAX_ROW:,} bytes", cut(line))
