"""JSON Lines, plain or gzipped: read with file and line in every error, written aside and renamed."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from alignloop.data.records import Record
from alignloop.errors import DataError
from alignloop.files import write_bytes

R = TypeVar("R", bound=Record)


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for every non-blank line.

    Raises:
        DataError: the file is missing, unreadable, or a line is not a JSON object (file and line are named).
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    number = 0
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                value = json.loads(line)
                if not isinstance(value, dict):
                    raise DataError(
                        f"{path}, line {number}: a JSON object is needed, not {line[:40]!r}"
                    )
                yield number, value
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {number}: not JSON ({error.msg}, column {error.colno})"
        ) from None
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: damaged or half-written after line {number} ({error})") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text after line {number}") from None


def read_records(path: Path, record_class: type[R], *, allow_empty: bool = False) -> list[R]:
    """Read a whole file of one record type.

    Raises:
        DataError: as `read_objects`; or a line does not fit the record; or there are no records.
    """
    records = list(each_record(path, record_class))
    if not records and not allow_empty:
        raise DataError(f"{path}: the file is empty; a {record_class.__name__} per line is needed")
    return records


def each_record(path: Path, record_class: type[R]) -> Iterator[R]:
    """Read the records of a file one by one.

    Raises:
        DataError: as `read_objects`; or a line does not fit the record.
    """
    for number, value in read_objects(path):
        try:
            yield record_class.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            kind = record_class.__name__
            message = first["msg"].removeprefix("Value error, ")
            raise DataError(
                f"{path}, line {number}: not a {kind} record: {where + ': ' if where else ''}{message}"
            ) from None


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON Lines; gzipped without a time stamp where the name ends in .gz."""
    write_objects(
        path, (record.model_dump(mode="json", exclude_defaults=True) for record in records)
    )


def write_objects(path: Path, objects: Iterable[dict[str, Any]]) -> None:
    """Write plain objects as JSON Lines, whole or not at all."""
    text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in objects)
    content = text.encode("utf-8")
    write_bytes(
        path, gzip.compress(content, compresslevel=6, mtime=0) if path.suffix == ".gz" else content
    )


def _open(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
