"""Users of the chat page who agree that what they say there is kept: who they are, and until when they agree.

A browser holds a token of 256 random bits in a cookie, the database its SHA-256 alone: nobody who reads the database
can speak for them, and a token so long needs no key to keep it from being guessed. To everybody else they are their
public id, which is the key of their prompts' author and the labeler of their choices: by it an operator can erase for
whoever lost the cookie, and find rows in exports that were made before.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, select, text, update

from alignloop.errors import JudgmentError
from alignloop.store import events
from alignloop.store.people import User, get_user, token_hash
from alignloop.store.schema import users, visitors


@dataclass(frozen=True, slots=True)
class Visitor:
    """A user of the chat page whom the store knows."""

    user: User
    notice: int | None
    """Version of the notice that they agree to; None where they do not agree any more."""
    agreed_at: int | None
    """Milliseconds since 1970."""


def find(connection: Connection, token: str) -> Visitor | None:
    """The one with this token."""
    return _found(connection, visitors.c.token_sha256 == token_hash(token))


def get(connection: Connection, public_id: str) -> Visitor:
    """The one with this public id.

    Raises:
        JudgmentError: there is none.
    """
    found = _found(connection, users.c.public_id == public_id)
    if found is None:
        raise JudgmentError(
            f"there is no user '{public_id}' of the chat page; their page 'Your data' says what they are called"
        )
    return found


def agree(connection: Connection, now: int, token: str, notice: int, locale: str) -> Visitor:
    """Note that whoever holds the token agrees to a version of the notice; the store knows them from here on.

    Twice at once is once: a double click on PostgreSQL, where several may write, would make two users of one token.
    """
    _in_turn(connection, token)
    before = find(connection, token)
    if before is None:
        public_id = f"user-{secrets.token_hex(16)}"
        user_id = connection.execute(
            users.insert()
            .values(
                public_id=public_id,
                email=f"{public_id}@chat.invalid",
                name=public_id,
                role="visitor",
                cohort="users",
                state="active",
                standing="pending",
                locale=locale,
                topics=[],
                created_at=now,
            )
            .returning(users.c.id)
        ).scalar_one()
        connection.execute(
            visitors.insert().values(
                user_id=user_id, token_sha256=token_hash(token), notice=notice, agreed_at=now
            )
        )
    else:
        public_id, user_id = before.user.public_id, before.user.id
        if before.notice == notice:
            return before
        connection.execute(
            update(visitors)
            .where(visitors.c.user_id == user_id)
            .values(notice=notice, agreed_at=now)
        )
    events.append(connection, now, public_id, "agree", public_id, notice=notice)
    return Visitor(get_user(connection, public_id), notice, now)


def withdraw(connection: Connection, now: int, visitor: Visitor) -> Visitor:
    """Note that they agree no longer; what was kept stays until they have it erased."""
    if visitor.notice is None:
        return visitor
    done = connection.execute(
        update(visitors)
        .where(visitors.c.user_id == visitor.user.id, visitors.c.notice.is_not(None))
        .values(notice=None, agreed_at=None)
    )
    name = visitor.user.public_id
    if done.rowcount:  # not by a click that came at the same time
        events.append(connection, now, name, "withdraw", name, notice=visitor.notice)
    return Visitor(visitor.user, None, None)


def still_agrees(connection: Connection, visitor: Visitor) -> bool:
    """Whether they do ever since: another window may have taken it back, and agreed anew, or had everything erased."""
    query = (
        select(visitors.c.notice, visitors.c.agreed_at)
        .join(users, users.c.id == visitors.c.user_id)
        .where(users.c.public_id == visitor.user.public_id)
    )
    found = connection.execute(query).first()
    told = (visitor.notice, visitor.agreed_at)
    return visitor.notice is not None and found is not None and tuple(found) == told


def _in_turn(connection: Connection, token: str) -> None:
    """Let what is asked with one token go one after the other, until the transaction ends."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(token_hash(token)[:8], "big", signed=True)
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": key})


def _found(connection: Connection, where: object) -> Visitor | None:
    query = (
        select(users.c.public_id, visitors.c.notice, visitors.c.agreed_at)
        .join(visitors, visitors.c.user_id == users.c.id)
        .where(where)  # type: ignore[arg-type]
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    return Visitor(get_user(connection, row.public_id), row.notice, row.agreed_at)
