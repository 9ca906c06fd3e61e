"""A store as a file to keep, and from one database to another: with counts and digests, so that nobody has to hope.

A backup is a whole SQLite database, whichever database it was taken from: it can be looked into, restored, and served.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, text

from alignloop.errors import StoreError
from alignloop.files import sync
from alignloop.store import events
from alignloop.store.database import Store, shown
from alignloop.store.schema import chain, metadata, settings

_BLOCK = 2000
# Sign-ins are of one server; guards are the database's own.
_NOT_COPIED = frozenset({"sessions", "login_attempts"})


@dataclass(frozen=True, slots=True)
class TableDigest:
    """What a table holds: the same on every database that holds the same."""

    rows: int
    sha256: str


def digests(connection: Connection) -> dict[str, TableDigest]:
    """Table -> rows and SHA-256 over all of them, in the order of their keys."""
    return {
        table.name: _digest(connection, table)
        for table in metadata.sorted_tables
        if table.name not in _NOT_COPIED
    }


def copy(
    source: Store, target: Store, progress: Callable[[int], object] = lambda rows: None
) -> dict[str, TableDigest]:
    """Copy everything but sign-ins into an empty store; returns what both hold then, which was compared.

    The source is read in one transaction, the target written in one: a copy is whole, or not there.

    Raises:
        StoreError: the target holds something; or the two differ in the end, and nothing was kept.
    """
    with source.read() as reading, target.write() as writing:
        if source.dialect == "postgresql":
            reading.execute(text("set transaction isolation level repeatable read"))
        held = [
            table.name
            for table in metadata.sorted_tables
            if table.name not in ("settings", "chain")
            and writing.execute(select(func.count()).select_from(table)).scalar_one()
        ]
        if held:
            raise StoreError(
                f"{shown(target.url)} is not empty ({', '.join(held[:3])}): copy into a new database"
            )
        audited = events.audit(reading)
        if audited.findings:
            raise StoreError(
                f"{shown(source.url)} does not pass its audit ({audited.findings[0].problem}); "
                "see `alignloop label audit` before you copy it"
            )
        with target.without_guards(writing):
            for table in metadata.sorted_tables:
                if table.name not in _NOT_COPIED:
                    _copy_table(reading, writing, table, progress)
        _advance_sequences(writing, target.dialect)
        before, after = digests(reading), digests(writing)
        if wrong := [name for name in before if before[name] != after[name]]:
            raise StoreError(f"the copy differs in {', '.join(wrong)}; nothing was kept")
    return after


def backup(store: Store, path: Path) -> dict[str, TableDigest]:
    """Write a SQLite file with everything, while the store is in use; it is opened and compared before it counts.

    Raises:
        StoreError: the file is there already, or is not what was backed up.
    """
    if path.exists():
        raise StoreError(f"{path} is there already; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp.db")
    _remove(aside)
    try:
        copied = Store.open(aside)
        try:
            found = copy(store, copied)
            _fold(copied)
        finally:
            copied.close()
        sync(aside)
        aside.replace(path)
    finally:
        _remove(aside)
    return found


def restore(path: Path, target: Store) -> dict[str, TableDigest]:
    """Bring a backup into an empty store.

    Raises:
        StoreError: there is no such file, the store is not empty, or the backup does not pass its audit.
    """
    source = Store.open(path, create=False)
    try:
        return copy(source, target)
    finally:
        source.close()


# --- inside -----------------------------------------------------------------------------------------------------


def _copy_table(
    reading: Connection, writing: Connection, table: Table, progress: Callable[[int], object]
) -> None:
    if table is chain:  # an empty store has its first row
        writing.execute(chain.delete())
    for rows in reading.execute(_ordered(table)).yield_per(_BLOCK).mappings().partitions():
        writing.execute(insert(table), [dict(row) for row in rows])
        progress(len(rows))


def _advance_sequences(connection: Connection, dialect: str) -> None:
    """Ids were copied: PostgreSQL has to be told where to go on."""
    if dialect != "postgresql":
        return
    for table in metadata.sorted_tables:
        column = table.c.get("id")
        if column is not None and table.name != "chain":
            last = connection.execute(select(func.max(column))).scalar()
            if last is not None:
                connection.execute(
                    text("select setval(pg_get_serial_sequence(:table, 'id'), :last)"),
                    {"table": table.name, "last": last},
                )


def _digest(connection: Connection, table: Table) -> TableDigest:
    digest, count = hashlib.sha256(), 0
    for row in connection.execute(_ordered(table)).yield_per(_BLOCK):
        digest.update(events.canonical([_plain(value) for value in row]).encode())
        digest.update(b"\n")
        count += 1
    return TableDigest(count, digest.hexdigest())


def _ordered(table: Table) -> Any:
    query = select(table).order_by(*table.primary_key.columns)
    # Which guards there are is each database's own.
    return query.where(settings.c.key != "guards") if table is settings else query


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _fold(store: Store) -> None:
    """Bring the write-ahead log into the file, which has to stand alone."""
    connection = store.engine.raw_connection()
    try:
        connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # pyright: ignore
        connection.driver_connection.execute("PRAGMA journal_mode=DELETE")  # pyright: ignore
    finally:
        connection.close()


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
