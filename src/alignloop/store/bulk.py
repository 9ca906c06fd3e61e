"""Rows by the million: one prepared statement on SQLite, a page cache that holds its indexes, a log that shrinks after.

SQLAlchemy's own way to insert takes several times as long on SQLite, which waits for no network; PostgreSQL keeps it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from filelock import Timeout
from sqlalchemy import Connection, Table
from sqlalchemy.exc import OperationalError

from alignloop.errors import StoreError
from alignloop.store.database import Store, shown
from alignloop.store.words import JSON, Text, clean, clean_all

_CACHE_KIB = 128 * 1024
"""Indexes over random values are written all over: two million entries of 40 bytes, and room for pages half full."""


def insert_many(
    connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows, each with a value for every one of the columns `names`."""
    if not rows:
        return
    if connection.dialect.name != "sqlite":
        connection.execute(table.insert(), [dict(zip(names, row, strict=True)) for row in rows])
        return
    types = [table.c[name].type for name in names]
    as_json = [at for at, one in enumerate(types) if isinstance(one, JSON)]
    as_text = [at for at, one in enumerate(types) if isinstance(one, Text)]
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(name) for name in names)
    marks = ", ".join("?" * len(names))
    values = [_encoded(row, as_json, as_text) for row in rows]
    statement = f"INSERT INTO {quote(table.name)} ({columns}) VALUES ({marks})"
    connection.exec_driver_sql(statement, values)


@contextmanager
def large_write(store: Store) -> Generator[Connection]:
    """`Store.write` for very many rows.

    Raises:
        JudgmentError: as there.
        StoreError: the disk is full, the server is gone, somebody else writes for too long; nothing was written.
    """
    try:
        with store.write() as connection, _large(connection):
            yield connection
    except OperationalError as error:
        reason = str(error.orig or error).strip().partition("\n")[0]
        raise StoreError(
            f"{shown(store.url)}: cannot be written ({reason}); nothing was: mend that, and start it again"
        ) from None


@contextmanager
def _large(connection: Connection) -> Generator[None]:
    """More memory for pages of the database, given back afterwards."""
    if connection.dialect.name != "sqlite":
        yield
        return
    before = connection.exec_driver_sql("PRAGMA cache_size").scalar_one()
    connection.exec_driver_sql(f"PRAGMA cache_size=-{_CACHE_KIB}")
    try:
        yield
    finally:
        with suppress(OperationalError):  # a transaction that failed has its own error to tell
            connection.exec_driver_sql(f"PRAGMA cache_size={int(before)}")
            connection.exec_driver_sql("PRAGMA shrink_memory")


def shrink_log(store: Store) -> bool:
    """After such a transaction, outside of any: SQLite's write-ahead log is as large as it, and would stay so.

    Where somebody reads at this moment, or the disk is full, nothing happens, and this is False; the last one to close
    the store does it then. What was committed is safe either way.
    """
    if store.dialect != "sqlite":
        return True
    with (
        closing(store.engine.raw_connection()) as connection,
        closing(connection.cursor()) as cursor,
        suppress(sqlite3.OperationalError),
    ):
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # No error: that somebody else reads or writes is told by the first number.
        found = cursor.fetchall()
        return bool(found) and found[0][0] == 0
    return False


def rebuild(store: Store) -> bool:
    """Write a SQLite file anew, so that nothing of what was deleted is left in it; whether that could be done.

    To overwrite what is deleted (`secure_delete`) is not enough, even if it is on from the file's first day: where rows
    move from a page to its neighbour, SQLite leaves behind what they were, and overwrites it when the page has use for
    the room. Writers wait meanwhile, however long it takes, and threads that ask for it at once share one time.
    PostgreSQL cleans up after itself, in its own time.
    """
    return store.dialect != "sqlite" or store.rewrites.share(lambda: _rebuild(store))


def _rebuild(store: Store) -> bool:
    try:
        with store.written_anew():
            with (
                closing(store.engine.raw_connection()) as connection,
                closing(connection.cursor()) as cursor,
            ):
                cursor.execute("VACUUM")
            # Until the log is emptied, the file behind it is still the old one.
            return shrink_log(store)
    except (
        sqlite3.OperationalError,
        Timeout,
    ):  # the disk is full, or somebody else writes for long
        return False


def _encoded(row: Sequence[Any], as_json: Sequence[int], as_text: Sequence[int]) -> tuple[Any, ...]:
    values = list(row)
    for at in as_text:
        if (value := values[at]) is not None:
            values[at] = clean(value)
    for at in as_json:
        value = values[at]
        if not value and isinstance(value, list | tuple):
            values[at] = "[]"  # nearly all are, and this is much quicker than asking json
        elif not value and isinstance(value, dict):
            values[at] = "{}"
        else:
            values[at] = json.dumps(clean_all(value))
    return tuple(values)
