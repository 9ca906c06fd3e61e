"""Parquet files and Arrow streams through pyarrow, a few hundred rows at a time."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignloop.data.incoming import Place, Rejected
from alignloop.data.shapes.rows import Row, Rows
from alignloop.errors import DataError

BATCH = 512
"""Rows that are Python objects at one time."""


def _module(name: str = "") -> Any:
    """pyarrow, or a part of it: it has no types that a checker could use, and is imported where it is needed."""
    return importlib.import_module(f"pyarrow{name}")


def check_parquet(path: Path, file: str) -> None:
    """Look at the footer.

    Raises:
        DataError: it is no Parquet file.
        ModuleNotFoundError: pyarrow is not installed.
    """
    pyarrow, parquet = _module(), _module(".parquet")

    try:
        parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file}: not a Parquet file ({_line(error)})") from None


def parquet_rows(path: Path, file: str) -> Rows:
    """The rows of a Parquet file; a row group that cannot be read is one rejected row."""
    pyarrow, parquet = _module(), _module(".parquet")

    number = 0
    with parquet.ParquetFile(path) as opened:
        for group in range(opened.num_row_groups):
            count: int = opened.metadata.row_group(group).num_rows
            done = 0
            try:
                for batch in opened.iter_batches(batch_size=BATCH, row_groups=[group]):
                    yield from _rows(batch, file, number + done)
                    done += batch.num_rows
            except (pyarrow.ArrowException, OSError) as error:
                reason = f"{count - done} rows from here on cannot be read ({_line(error)})"
                yield Rejected(Place(file, number + done + 1), reason)
            number += count


def check_arrow(path: Path, file: str) -> None:
    """Look at the schema.

    Raises:
        DataError: it is neither an Arrow stream nor an Arrow file.
        ModuleNotFoundError: pyarrow is not installed.
    """
    pyarrow = _module()

    try:
        with pyarrow.memory_map(str(path)) as source:
            _batches(source)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file}: not Arrow data ({_line(error)})") from None


def arrow_rows(path: Path, file: str) -> Rows:
    """The rows of an Arrow stream, as `datasets` writes it, or of an Arrow (Feather) file."""
    pyarrow = _module()

    number = 0
    try:
        with pyarrow.memory_map(str(path)) as source:
            for batch in _batches(source):
                for start in range(0, batch.num_rows, BATCH):
                    piece = batch.slice(start, BATCH)
                    yield from _rows(piece, file, number)
                    number += piece.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        reason = f"the rest of the file, after row {number}, cannot be read ({_line(error)})"
        yield Rejected(Place(file, number + 1), reason)


def _batches(source: Any) -> Iterator[Any]:
    pyarrow = _module()

    try:
        return iter(pyarrow.ipc.open_stream(source))
    except pyarrow.ArrowInvalid:
        source.seek(0)
        opened = pyarrow.ipc.open_file(source)
        return (opened.get_batch(at) for at in range(opened.num_record_batches))


def _rows(batch: Any, file: str, before: int) -> Rows:
    """The rows of a batch; where one cannot become Python's (text that is not UTF-8, say), each by itself."""
    pyarrow = _module()

    cannot = (ValueError, OverflowError, LookupError, pyarrow.ArrowException)
    try:
        values = batch.to_pylist()
    except cannot:
        values = None
    for at in range(batch.num_rows):
        try:
            value = batch.slice(at, 1).to_pylist()[0] if values is None else values[at]
        except cannot as error:
            yield Rejected(Place(file, before + at + 1), f"cannot be read ({_line(error)})")
            continue
        yield Row(Place(file, before + at + 1), value)


def _line(error: BaseException) -> str:
    """An error of pyarrow's on one line."""
    return " ".join(str(error).split())[:200]
