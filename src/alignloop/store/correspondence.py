"""What researchers tell labelers: guidelines with their versions, and a thread of messages with each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from alignloop.store import events
from alignloop.store.people import User, in_line, new_public_id
from alignloop.store.schema import acknowledgements, guidelines, messages, users
from alignloop.store.words import clean

# Asked for with every page: put together once.
_UNREAD = select(messages.c.labeler_id, func.count()).where(messages.c.read_at.is_(None))
_UNREAD_BY_RESEARCHERS = _UNREAD.where(messages.c.author_id == messages.c.labeler_id).group_by(
    messages.c.labeler_id
)
_UNREAD_BY_LABELER = _UNREAD.where(
    messages.c.labeler_id == bindparam("labeler_id"), messages.c.author_id != messages.c.labeler_id
).group_by(messages.c.labeler_id)
_VERSIONS = select(guidelines.c.id, guidelines.c.version, guidelines.c.locale).where(
    guidelines.c.purpose == bindparam("purpose")
)
_ACKNOWLEDGED = select(acknowledgements.c.at).where(
    acknowledgements.c.user_id == bindparam("user_id"),
    acknowledgements.c.guideline_id == bindparam("guideline_id"),
)


def add_guideline(
    connection: Connection,
    now: int,
    actor: str,
    *,
    purpose: str,
    version: int,
    locale: str,
    body: str,
) -> int:
    """A version of the guidelines; it is never changed afterwards."""
    guideline_id = connection.execute(
        guidelines.insert()
        .values(purpose=purpose, version=version, locale=locale, body=body, created_at=now)
        .returning(guidelines.c.id)
    ).scalar_one()
    target = f"{purpose}/{version}/{locale}"
    sha256 = hashlib.sha256(clean(body).encode()).hexdigest()
    events.append(connection, now, actor, "add guideline", target, sha256=sha256)
    return guideline_id


def guideline(
    connection: Connection, *, purpose: str, locale: str, version: int | None = None
) -> Row[Any] | None:
    """A version in the reader's language, or in English where there is none; the latest where none is asked for."""
    found = guideline_id(connection, purpose=purpose, locale=locale, version=version)
    if found is None:
        return None
    return connection.execute(select(guidelines).where(guidelines.c.id == found)).one()


def guideline_id(
    connection: Connection, *, purpose: str, locale: str, version: int | None = None
) -> int | None:
    """The id of that version, without its text."""
    found = connection.execute(_VERSIONS, {"purpose": purpose}).all()
    wanted = version or max((row.version for row in found), default=0)
    by_locale = {row.locale: row.id for row in found if row.version == wanted}
    return by_locale.get(locale, by_locale.get("en", next(iter(by_locale.values()), None)))


def guideline_ids(connection: Connection, *, purpose: str, version: int | None = None) -> list[int]:
    """Ids of one version, the latest where none is asked for, in all of its languages."""
    found = connection.execute(_VERSIONS, {"purpose": purpose}).all()
    latest = max((row.version for row in found), default=0)
    return [row.id for row in found if row.version == (version or latest)]


def latest_version(connection: Connection, purpose: str) -> int:
    """Number of the guidelines in force; 0 where there are none."""
    found = connection.execute(_VERSIONS, {"purpose": purpose}).all()
    return max((row.version for row in found), default=0)


def acknowledge(connection: Connection, now: int, user: User, guideline_id: int) -> None:
    """Note that a labeler has read a version; twice is once."""
    in_line(connection, user)
    if acknowledged_at(connection, user, guideline_id) is None:
        connection.execute(
            acknowledgements.insert().values(user_id=user.id, guideline_id=guideline_id, at=now)
        )
        events.append(connection, now, user.public_id, "acknowledge", str(guideline_id))


def acknowledged_at(connection: Connection, user: User, guideline_id: int) -> int | None:
    """When they read this version; None where they did not."""
    told = {"user_id": user.id, "guideline_id": guideline_id}
    return connection.execute(_ACKNOWLEDGED, told).scalar_one_or_none()


def write_message(connection: Connection, now: int, labeler: User, author: User, body: str) -> None:
    """A message in a labeler's thread, by them or by a researcher."""
    connection.execute(
        messages.insert().values(
            public_id=new_public_id(),
            labeler_id=labeler.id,
            author_id=author.id,
            body=body,
            created_at=now,
        )
    )


def thread(connection: Connection, labeler: User) -> Sequence[Row[Any]]:
    """A labeler's messages with their authors' names, oldest first."""
    query = (
        select(messages, users.c.name.label("author"), users.c.role.label("author_role"))
        .join(users, users.c.id == messages.c.author_id)
        .where(messages.c.labeler_id == labeler.id)
        .order_by(messages.c.id)
    )
    return connection.execute(query).all()


def read_thread(connection: Connection, now: int, labeler: User, reader: User) -> None:
    """Mark what the other side wrote as read."""
    mine = messages.c.author_id == labeler.id
    connection.execute(
        update(messages)
        .where(
            messages.c.labeler_id == labeler.id,
            messages.c.read_at.is_(None),
            ~mine if reader.id == labeler.id else mine,
        )
        .values(read_at=now)
    )


def unread(connection: Connection, reader: User) -> dict[int, int]:
    """Labeler's id -> messages in the thread that this reader has not seen."""
    if reader.is_researcher:
        found = connection.execute(_UNREAD_BY_RESEARCHERS).all()
    else:
        found = connection.execute(_UNREAD_BY_LABELER, {"labeler_id": reader.id}).all()
    return {row[0]: row[1] for row in found}
