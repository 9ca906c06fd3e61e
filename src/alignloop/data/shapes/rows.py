"""What passes from a container to a shape: rows, why one is turned away, and limits. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from alignloop.data.incoming import Candidate, Kind, Place, Rejected

MAX_ROW = 2**20
"""A row may be this long: bytes of a line, characters of what was read from it. No prompt of a person is longer, and a
file without line ends would otherwise be read into memory whole."""
RAW_CHARACTERS = 500
"""How much of a rejected row is kept."""


class Row(NamedTuple):
    """One row as its container gave it."""

    place: Place
    value: Any
    """What JSON can say; from Parquet and Arrow also numbers, dates and bytes."""
    raw: bytes | str = ""
    """The row as it stood; empty: made from `value` where it is needed."""


class Unreadable(Exception):
    """A row that does not have its shape; the message is the reason, in one line."""


Found = Sequence[Candidate | Rejected]
"""What one row gives: at least one thing."""
Rows = Iterator[Row | Rejected]


@dataclass(frozen=True, slots=True)
class Shape:
    """How to know one way to write prompts down, and how to read it."""

    name: str
    keys: tuple[str, ...]
    """The keys of a row that it reads, beside those that every shape has."""
    fits: Callable[[Any], str]
    """Row -> the keys that were seen, or '' where it is not of this shape."""
    read: Callable[[Any, Place, Kind], Found]
    """Row, its place, the kind where the row does not say -> what it gives. Raises `Unreadable`."""
    gather: Callable[[Rows], Rows] | None = None
    """Where several rows make one thing: rows -> rows put together."""


def rejected(row: Row, reason: str) -> Rejected:
    """A row turned away, with its place and what it said."""
    return Rejected(row.place, reason, cut(row.raw) or as_text(row.value))


def cut(raw: bytes | str) -> str:
    """The beginning of a row, as text that can be stored and printed anywhere."""
    if isinstance(raw, bytes):
        raw = raw[: 4 * RAW_CHARACTERS].decode("utf-8", "replace")
    text = raw[:RAW_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").rstrip("\r\n")


def as_text(value: Any) -> str:
    """A value as JSON, cut; what JSON cannot say is put in its own words."""
    try:
        return cut(json.dumps(value, ensure_ascii=False, default=str))
    except (ValueError, TypeError, RecursionError):
        return ""


def what(value: Any) -> str:
    """What a value is, as a message puts it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"of type {type(value).__name__}"


def quoted(value: Any) -> str:
    """A value in quotes, short enough for one line."""
    text = repr(value)
    return text if len(text) <= 40 else text[:36] + "...'"


def flaw(candidate: Candidate) -> str:
    """Why a candidate cannot be stored as text, or ''."""
    parts = [candidate.text, candidate.user, candidate.organization, candidate.labeler]
    parts += [text for _, text in candidate.history]
    for answer in candidate.answers:
        parts += (answer.text, answer.model)
    for example in candidate.examples:
        parts += example
    whole = "".join(parts)
    if len(whole) > MAX_ROW:
        return f"longer than {MAX_ROW:,} characters"
    if "\0" in whole:
        return "holds a NUL character"
    if not whole.isascii():
        try:
            whole.encode()
        except UnicodeEncodeError:
            return "not valid Unicode: bytes that are not UTF-8, or half of a surrogate pair"
    return ""
