"""A new store without the work of making its tables: a copy of one that was made before."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from alignloop.store.database import FILE, Store


def fresh_store(folder: Path) -> Store:
    """The SQLite store in a project's folder: the one that is there, or a new one."""
    path = folder / FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_bytes(_made())
    return Store.open(folder)


@cache
def _made() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        Store.open(folder).close()
        return (Path(folder) / FILE).read_bytes()
