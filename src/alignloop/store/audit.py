"""The log, a page at a time, and its chain, checked from where somebody left off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from alignloop.store.events import hash_of
from alignloop.store.people import User
from alignloop.store.schema import chain, events, users


@dataclass(frozen=True, slots=True)
class Checked:
    """A piece of the chain, from the first entry on, and whether it holds."""

    entries: int = 0
    sha256: bytes = bytes(32)
    """Of the last of them."""
    is_whole: bool = True
    """Whether it follows from one entry to the next, and its end is where the head says where that was reached."""
    is_all: bool = False
    """Whether there is no entry after it."""


def entries(
    connection: Connection, *, verb: str = "", actor: str = "", limit: int, offset: int
) -> Sequence[Any]:
    """Entries of the log, newest first.

    Args:
        verb: only those with it; all where empty.
        actor: only those by it: a user's public id, or `command`, `setup`.
    """
    query = _filtered(select(events), verb, actor).order_by(events.c.seq.desc())
    return connection.execute(query.limit(limit).offset(offset)).all()


def count_entries(connection: Connection, *, verb: str = "", actor: str = "") -> int:
    """How many entries there are."""
    query = _filtered(select(func.count()).select_from(events), verb, actor)
    return connection.execute(query).scalar_one()


def verbs(connection: Connection) -> list[str]:
    """Everything that was ever done, by name."""
    return list(
        connection.execute(select(events.c.verb).distinct().order_by(events.c.verb)).scalars()
    )


def names_of(connection: Connection, public_ids: Sequence[str]) -> dict[str, str]:
    """Public id of a user -> name, or address where they have none yet."""
    query = select(users.c.public_id, users.c.name, users.c.email).where(
        users.c.public_id.in_(public_ids)
    )
    rows: list[Any] = list(connection.execute(query))
    return {row.public_id: row.name or row.email for row in rows}


def ids_named(connection: Connection, name: str) -> list[str]:
    """Public ids of the users with this name or address, whatever the case."""
    text = name.strip().lower()
    query = select(users.c.public_id).where(
        (func.lower(users.c.name) == text) | (users.c.email == text)
    )
    return list(connection.execute(query).scalars())


def events_about(connection: Connection, user: User, limit: int = 50) -> Sequence[Any]:
    """What was done with an account, newest first."""
    query = select(events).where(events.c.object == user.public_id)
    return connection.execute(query.order_by(events.c.seq.desc()).limit(limit)).all()


def check_on(connection: Connection, so_far: Checked, limit: int) -> Checked:
    """Check the next entries of the chain after a piece that was checked before."""
    entries, sha256, is_whole = so_far.entries, so_far.sha256, so_far.is_whole
    head = connection.execute(select(chain)).one()  # first: others go on writing
    query = select(events).where(events.c.seq > entries, events.c.seq <= head.seq)
    read = 0
    for row in connection.execute(query.order_by(events.c.seq).limit(limit)).yield_per(1000):
        read += 1
        entry = (row.seq, row.at, row.actor, row.verb, row.object, row.detail)
        is_whole = (
            is_whole
            and row.seq == entries + 1
            and row.previous_sha256 == sha256
            and hash_of(entry, row.previous_sha256) == row.sha256
        )
        entries, sha256 = row.seq, row.sha256
    is_all = read < limit or entries == head.seq
    if is_all:
        is_whole = is_whole and (head.seq, head.sha256) == (entries, sha256)
    return Checked(entries, sha256, is_whole, is_all)


def _filtered(query: Any, verb: str, actor: str) -> Any:
    if verb:
        query = query.where(events.c.verb == verb)
    if actor:
        query = query.where(events.c.actor == actor)
    return query
