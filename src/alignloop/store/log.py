"""What left the store: exports, each written once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from alignloop.errors import JudgmentError
from alignloop.store import events
from alignloop.store.people import User, new_public_id
from alignloop.store.schema import exports


def note_export(
    connection: Connection,
    now: int,
    actor: str,
    *,
    name: str,
    query: Mapping[str, Any],
    counts: Mapping[str, Any],
    rows_sha256: str,
    files_sha256: Mapping[str, str],
    code_version: str,
    by: User | None = None,
    public_id: str | None = None,
) -> str:
    """Note that labels left; returns the export's public id, by which alone it can be downloaded."""
    public_id = public_id or new_public_id()
    connection.execute(
        exports.insert().values(
            public_id=public_id,
            name=name,
            query=dict(query),
            counts=dict(counts),
            rows_sha256=rows_sha256,
            files_sha256=dict(files_sha256),
            code_version=code_version,
            by_id=None if by is None else by.id,
            created_at=now,
        )
    )
    events.append(connection, now, actor, "export", public_id, rows_sha256=rows_sha256)
    return public_id


def all_exports(connection: Connection) -> Sequence[Row[Any]]:
    """Every export, newest first."""
    return connection.execute(select(exports).order_by(exports.c.id.desc())).all()


def get_export(connection: Connection, public_id: str) -> Row[Any]:
    """One export.

    Raises:
        JudgmentError: there is none.
    """
    row = connection.execute(select(exports).where(exports.c.public_id == public_id)).first()
    if row is None:
        raise JudgmentError("there is no such export")
    return row
