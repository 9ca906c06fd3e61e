"""The project's store as commands of `alignloop label` open it."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any


def opened(project: Path, database: str | None) -> AbstractContextManager[Any]:
    """The project's store, closed at the end of a `with` block; it has to be there."""
    from alignloop.store.project import open_project

    return closing(open_project(project, database).open(create=False))


@contextmanager
def writing(project: Path, database: str | None) -> Generator[Any]:
    """A connection that writes to the project's store, which is made where it is not there."""
    from alignloop.store.project import open_project

    with closing(open_project(project, database).open()) as store, store.write() as connection:
        yield connection


def now() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
