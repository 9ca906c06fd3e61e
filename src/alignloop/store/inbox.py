"""Researchers' side of the correspondence: all threads, the last message of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from alignloop.store.people import User
from alignloop.store.schema import messages, users


def threads(connection: Connection, limit: int = 100) -> Sequence[Any]:
    """Threads with a message, the last one written first: labeler's `labeler_id`, `labeler`, `name`, and that message
    (`author_id`, `author`, `created_at`, `body`).
    """
    last = select(func.max(messages.c.id).label("id")).group_by(messages.c.labeler_id).subquery()
    labelers, authors = users.alias(), users.alias()
    query = (
        select(
            messages.c.labeler_id,
            messages.c.author_id,
            messages.c.created_at,
            messages.c.body,
            labelers.c.public_id.label("labeler"),
            labelers.c.name,
            authors.c.name.label("author"),
        )
        .join(last, last.c.id == messages.c.id)
        .join(labelers, labelers.c.id == messages.c.labeler_id)
        .join(authors, authors.c.id == messages.c.author_id)
        .order_by(messages.c.id.desc())
        .limit(limit)
    )
    return connection.execute(query).all()


def last_lines(connection: Connection, labeler: User, limit: int = 200) -> Sequence[Any]:
    """The last messages of a thread with their authors' names, oldest first."""
    query = (
        select(messages, users.c.name.label("author"))
        .join(users, users.c.id == messages.c.author_id)
        .where(messages.c.labeler_id == labeler.id)
        .order_by(messages.c.id.desc())
        .limit(limit)
    )
    return connection.execute(query).all()[::-1]
