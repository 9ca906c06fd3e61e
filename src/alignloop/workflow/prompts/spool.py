"""What a pass over a file keeps, on disk until the whole file was looked at: the database is locked for seconds only.

Labelers go on working while a large file is curated; they would wait for the one writer that SQLite has.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_AT_ONCE = 1000


class Spool:
    """Tuples of plain values in a file: written once, in a `with`, then read any number of times.

    They hold people's texts, so the file is private.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._path = path
        self._file = os.fdopen(descriptor, "wb", buffering=2**20)
        self._waiting: list[tuple[Any, ...]] = []

    def add(self, values: tuple[Any, ...]) -> None:
        """Write one more."""
        self._waiting.append(values)
        if len(self._waiting) == _AT_ONCE:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            with self._file:
                self._write()
        else:
            with suppress(OSError):  # it is not needed any more
                self._file.close()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        with self._path.open("rb") as file:
            while True:
                try:
                    block: list[tuple[Any, ...]] = pickle.load(file)
                except EOFError:
                    return
                yield from block

    def _write(self) -> None:
        pickle.dump(self._waiting, self._file, pickle.HIGHEST_PROTOCOL)
        self._waiting = []
