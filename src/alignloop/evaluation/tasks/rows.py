"""Files of public data sets: JSON Lines, JSON, CSV and tab-separated; every error names file, line and field."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from alignloop.data.jsonl import read_objects
from alignloop.errors import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a file, or of a list within one, and where it stands."""

    path: Path
    where: str
    """`line 3`, `data[0].paragraphs[2]`."""
    fields: Mapping[str, Any]

    def error(self, message: str) -> DataError:
        """An error that names this row."""
        return DataError(f"{self.path}, {self.where}: {message}")

    def has(self, *names: str) -> bool:
        """Whether one of the fields is there, and not null."""
        return any(self.fields.get(name) is not None for name in names)

    def text(self, *names: str) -> str:
        """The first of the fields that is there, as text; it may be empty.

        Raises:
            DataError: none is there, or it is no text.
        """
        name, value = self._first(names)
        if not isinstance(value, str):
            raise self.error(f"field '{name}' is {_kind(value)}, but text is needed")
        return value

    def words(self, *names: str) -> str:
        """`text`, stripped, which may not be empty.

        Raises:
            DataError: it is.
        """
        found = self.text(*names).strip()
        if not found:
            raise self.error(f"field '{names[0]}' is empty")
        return found

    def name(self, *names: str) -> str:
        """An identifier: text, or a whole number written out; where no such field is there, the row's place.

        Raises:
            DataError: it is something else.
        """
        if not self.has(*names):
            return self.where
        name, value = self._first(names)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.error(f"field '{name}' is {_kind(value)}, but an identifier is needed")
        return str(value)

    def texts(self, *names: str) -> list[str]:
        """A list of texts.

        Raises:
            DataError: it is not there, or something else.
        """
        name, value = self._first(names)
        found = cast(list[Any], value) if isinstance(value, list) else []
        texts = [one for one in found if isinstance(one, str)]
        if not isinstance(value, list) or len(texts) < len(found):
            raise self.error(f"field '{name}' is {_kind(value)}, but a list of texts is needed")
        return texts

    def index(self, *names: str, below: int) -> int:
        """A whole number from 0, also written as text.

        Raises:
            DataError: it is not there, or out of range.
        """
        name, value = self._first(names)
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < below:
            raise self.error(f"field '{name}' is {value!r}, but 0 to {below - 1} is needed")
        return value

    def choice(self, name: str, meanings: Mapping[Any, str]) -> str:
        """One of the values that may stand there, as what it means.

        Raises:
            DataError: another stands there.
        """
        _, value = self._first((name,))
        key = value.strip().lower() if isinstance(value, str) else value
        if not isinstance(key, str | int) or key not in meanings:
            known = ", ".join(dict.fromkeys(str(one) for one in meanings))
            raise self.error(f"field '{name}' is {value!r}, but one of {known} is needed")
        return meanings[key]

    def inner(self, name: str) -> Row:
        """The object in a field.

        Raises:
            DataError: there is none.
        """
        _, value = self._first((name,))
        if not isinstance(value, dict):
            raise self.error(f"field '{name}' is {_kind(value)}, but an object is needed")
        return Row(self.path, f"{self.where}, {name}", cast(dict[str, Any], value))

    def each(self, name: str) -> list[Row]:
        """The objects in a list.

        Raises:
            DataError: there is no such list, or something else is in it.
        """
        _, value = self._first((name,))
        if not isinstance(value, list):
            raise self.error(f"field '{name}' is {_kind(value)}, but a list is needed")
        return [
            _row(self.path, f"{self.where}, {name}[{number}]", one)
            for number, one in enumerate(cast(list[Any], value))
        ]

    def _first(self, names: Sequence[str]) -> tuple[str, Any]:
        for name in names:
            if self.fields.get(name) is not None:
                return name, self.fields[name]
        wanted = " or ".join(f"'{name}'" for name in names)
        known = ", ".join(map(str, list(self.fields)[:8])) or "none"
        raise self.error(f"no field {wanted}; the fields there are {known}")


def read_rows(path: Path) -> list[Row]:
    """Every object of a file, by its name: `.json` holds a list, `.csv` and `.tsv` a header; else JSON Lines.

    `.gz` behind any of them is unpacked.

    Raises:
        DataError: the file is missing, damaged, empty, or not what its name says.
    """
    match _suffix(path):
        case ".json":
            found = _listed(path, read_json(path))
        case ".csv" | ".tsv":
            found = list(_table(path))
        case _:
            found = [Row(path, f"line {number}", value) for number, value in read_objects(path)]
    if not found:
        raise DataError(f"{path}: there are no rows in it")
    return found


def read_json(path: Path) -> Any:
    """The whole of a JSON file.

    Raises:
        DataError: it is missing, damaged, or not JSON.
    """
    try:
        return json.loads(_content(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None


def whole(path: Path) -> Row:
    """A file that is one JSON object.

    Raises:
        DataError: it is missing, damaged, or something else.
    """
    return _row(path, "top", read_json(path))


def is_nested(path: Path) -> bool:
    """Whether a file is one JSON document by its name, as the official files of some data sets are."""
    return _suffix(path) == ".json"


def _listed(path: Path, value: Any) -> list[Row]:
    if not isinstance(value, list):
        raise DataError(f"{path}: {_kind(value)}, but a list of objects is needed")
    values = cast(list[Any], value)
    return [_row(path, f"entry {number}", one) for number, one in enumerate(values, start=1)]


def _row(path: Path, where: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{path}, {where}: {_kind(value)}, but an object is needed")
    return Row(path, where, cast(dict[str, Any], value))


def _table(path: Path) -> Iterator[Row]:
    tabs = _suffix(path) == ".tsv"
    reader = csv.DictReader(
        io.StringIO(_content(path), newline=""),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
    )
    try:
        for fields in reader:
            if None in fields or None in fields.values():
                raise DataError(
                    f"{path}, line {reader.line_num}: not as many columns as the header has"
                )
            yield Row(path, f"line {reader.line_num}", fields)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a table ({error})") from None


def _content(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "nothing" if value is None else f"the number {value!r}")
