"""Prompts that were kept, on disk until the whole file was looked at: the database is then locked for seconds only.

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

from alignloop.store.prompts import NewPrompt
from alignloop.workflow.prompts.rows import as_plain

_AT_ONCE = 1000
_TEXT_DIGEST, _PREFIX_DIGEST = 4, 5


class Spool:
    """A file of prompts: written once, in a `with`, then read any number of times. It holds people's texts: private."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._path = path
        self._file = os.fdopen(descriptor, "wb", buffering=2**20)
        self._waiting: list[tuple[Any, ...]] = []

    def add(self, prompt: NewPrompt) -> None:
        """Write one more."""
        self._waiting.append(as_plain(prompt))
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

    def __iter__(self) -> Iterator[NewPrompt]:
        for values in self._blocks():
            for one in values:
                yield NewPrompt(*one)

    def text_digests(self) -> Iterator[bytes]:
        """What makes each of them the same as another."""
        return (one[_TEXT_DIGEST] for values in self._blocks() for one in values)

    def prefix_digests(self) -> Iterator[bytes]:
        """Of those that are long enough to have one."""
        digests = (one[_PREFIX_DIGEST] for values in self._blocks() for one in values)
        return (digest for digest in digests if digest is not None)

    def _write(self) -> None:
        pickle.dump(self._waiting, self._file, pickle.HIGHEST_PROTOCOL)
        self._waiting = []

    def _blocks(self) -> Iterator[list[tuple[Any, ...]]]:
        with self._path.open("rb") as file:
            while True:
                try:
                    values: list[tuple[Any, ...]] = pickle.load(file)
                except EOFError:
                    return
                yield values
