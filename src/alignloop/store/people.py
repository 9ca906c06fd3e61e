"""Accounts, invitations and sessions."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, delete, func, select, update

from alignloop.errors import JudgmentError
from alignloop.store import events
from alignloop.store.schema import (
    invitations,
    login_attempts,
    screenings,
    sessions,
    users,
)

Role = Literal["labeler", "researcher", "visitor"]
"""A visitor is a user of the chat page (`store.visitors`)."""
Cohort = Literal["training", "heldout", "users", "none"]

DAY = 86_400_000
SESSION_IDLE_MS = 12 * 3_600_000
SESSION_LIFE_MS = 7 * DAY
INVITATION_MS = 14 * DAY


# Two clicks of one person are put in line. No key changes, so rows that refer to this one need not wait.
_IN_LINE = (
    select(users.c.id).where(users.c.id == bindparam("user_id")).with_for_update(key_share=True)
)
# Every request asks for its session: put together once.
_SESSION = (
    select(users, sessions.c.csrf_token, sessions.c.seen_at)
    .join(sessions, sessions.c.user_id == users.c.id)
    .where(
        sessions.c.token_sha256 == bindparam("token_sha256"),
        sessions.c.expires_at > bindparam("now"),
        sessions.c.seen_at > bindparam("idle_since"),
        users.c.state == "active",
    )
)


@dataclass(frozen=True, slots=True)
class User:
    """An account, as the rest of the program sees it."""

    id: int
    public_id: str
    email: str
    name: str
    role: Role
    cohort: Cohort
    state: Literal["invited", "active", "suspended"]
    standing: Literal["pending", "qualified", "declined"]
    locale: str
    topics: tuple[str, ...]
    created_at: int

    @property
    def is_researcher(self) -> bool:
        """Whether the researcher's pages are theirs."""
        return self.role == "researcher"


def new_public_id() -> str:
    """128 random bits, for whatever a browser sees."""
    return secrets.token_urlsafe(16)


def new_token() -> str:
    """256 random bits, for a link or a cookie; the database keeps its hash alone."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """What the database keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


# --- accounts ---------------------------------------------------------------------------------------------------


def add_user(
    connection: Connection,
    now: int,
    actor: str,
    *,
    email: str,
    name: str,
    role: Role = "labeler",
    cohort: Cohort | None = None,
    state: str = "invited",
    standing: str | None = None,
    topics: Sequence[str] = (),
) -> User:
    """Make an account without a password; whoever it is for sets one through an invitation.

    Raises:
        JudgmentError: there is one with this address.
    """
    email = email.strip().lower()
    if find_user(connection, email=email) is not None:
        raise JudgmentError(f"there is an account for {email} already")
    of = cohort or ("training" if role == "labeler" else "none")
    # Held-out labelers are not screened (section 3.4): they are to be like people that nobody chose.
    stands = standing or ("qualified" if role == "researcher" or of == "heldout" else "pending")
    public_id = new_public_id()
    connection.execute(
        users.insert().values(
            public_id=public_id,
            email=email,
            name=name,
            role=role,
            cohort=of,
            state=state,
            standing=stands,
            topics=list(topics),
            created_at=now,
        )
    )
    events.append(connection, now, actor, "add user", public_id, role=role, cohort=of)
    return get_user(connection, public_id)


def find_user(
    connection: Connection,
    *,
    email: str | None = None,
    public_id: str | None = None,
    user_id: int | None = None,
) -> User | None:
    """The account with this address or id, if there is one."""
    query = select(users)
    if email is not None:
        query = query.where(users.c.email == email.strip().lower())
    if public_id is not None:
        query = query.where(users.c.public_id == public_id)
    if user_id is not None:
        query = query.where(users.c.id == user_id)
    row = connection.execute(query).first()
    return None if row is None else _user(row)


def get_user(connection: Connection, public_id: str) -> User:
    """The account with this id.

    Raises:
        JudgmentError: there is none.
    """
    found = find_user(connection, public_id=public_id)
    if found is None:
        raise JudgmentError(f"there is no account {public_id}")
    return found


def all_users(connection: Connection, role: Role | None = None) -> list[User]:
    """Every account, by name."""
    query = select(users).order_by(users.c.name, users.c.id)
    if role is not None:
        query = query.where(users.c.role == role)
    return [_user(row) for row in connection.execute(query)]


def all_staff(connection: Connection) -> list[User]:
    """Every labeler and researcher, by name: users of the chat page are none."""
    return [user for user in all_users(connection) if user.role != "visitor"]


def get_staff(connection: Connection, public_id: str) -> User:
    """The labeler or researcher with this id.

    Raises:
        JudgmentError: there is none.
    """
    found = get_user(connection, public_id)
    if found.role == "visitor":
        raise JudgmentError(f"there is no labeler {public_id}")
    return found


def has_researcher(connection: Connection) -> bool:
    """Whether somebody who may set things up has signed in once: until then the first-run link works."""
    query = select(users.c.id).where(users.c.role == "researcher", users.c.state == "active")
    return connection.execute(query.limit(1)).first() is not None


def in_line(connection: Connection, user: User) -> None:
    """Let this person's requests that change their work go one after the other, until the transaction ends.

    Locks are taken in one order everywhere, or two transactions could wait for one another: a person's own line, their
    assignment, slots, and the head of the log last. Nobody ever waits for another person's assignment.
    """
    connection.execute(_IN_LINE, {"user_id": user.id})


def change_user(connection: Connection, now: int, actor: str, user: User, **changes: Any) -> User:
    """Change cohort, state, standing, role, name, locale or topics; sessions end where rights change.

    Raises:
        JudgmentError: the database refuses it (a labeler with work keeps the cohort).
    """
    connection.execute(update(users).where(users.c.id == user.id).values(**changes))
    if {"state", "role"} & set(changes):
        end_sessions(connection, user)
    if set(changes) - {"locale"}:
        # The log is for ever; a name, and what somebody knows of themselves, is theirs.
        noted = {
            key: "changed" if key in ("name", "topics") else value for key, value in changes.items()
        }
        events.append(connection, now, actor, "change user", user.public_id, **noted)
    return get_user(connection, user.public_id)


def password_of(connection: Connection, user: User) -> str | None:
    """The argon2id hash, or None where no password was set."""
    return connection.execute(
        select(users.c.password_hash).where(users.c.id == user.id)
    ).scalar_one()


def set_password(
    connection: Connection, now: int, user: User, password_hash: str, *, rehash: bool = False
) -> None:
    """Keep a new hash. A new password ends every session; a rehash of the same one does not."""
    connection.execute(
        update(users).where(users.c.id == user.id).values(password_hash=password_hash)
    )
    if not rehash:
        end_sessions(connection, user)
        events.append(connection, now, user.public_id, "set password", user.public_id)


def decide_screening(
    connection: Connection,
    now: int,
    by: User,
    user: User,
    *,
    decision: str,
    measures: dict[str, Any],
    note: str,
) -> None:
    """Keep what a researcher decided about a labeler, with the four measures as they stood."""
    connection.execute(
        screenings.insert().values(
            user_id=user.id,
            decided_by_id=by.id,
            measures=measures,
            decision=decision,
            note=note,
            at=now,
        )
    )
    change_user(connection, now, by.public_id, user, standing=decision)


def screenings_of(connection: Connection, user: User) -> Sequence[Row[Any]]:
    """Decisions about a labeler, newest first."""
    query = (
        select(screenings).where(screenings.c.user_id == user.id).order_by(screenings.c.id.desc())
    )
    return connection.execute(query).all()


# --- invitations and sessions -----------------------------------------------------------------------------------


def invite(connection: Connection, now: int, actor: str, user: User) -> str:
    """A token that lets this person set a password, once, within 14 days. Earlier ones stop working."""
    token = new_token()
    connection.execute(delete(invitations).where(invitations.c.user_id == user.id))
    connection.execute(
        invitations.insert().values(
            token_sha256=token_hash(token),
            user_id=user.id,
            created_at=now,
            expires_at=now + INVITATION_MS,
        )
    )
    events.append(connection, now, actor, "invite", user.public_id)
    return token


def invited(connection: Connection, now: int, token: str) -> User | None:
    """Whom an unused, unexpired invitation is for."""
    row = connection.execute(
        select(users)
        .join(invitations, invitations.c.user_id == users.c.id)
        .where(
            invitations.c.token_sha256 == token_hash(token),
            invitations.c.used_at.is_(None),
            invitations.c.expires_at > now,
            users.c.state != "suspended",
        )
    ).first()
    return None if row is None else _user(row)


def invitation_expires(connection: Connection, token: str) -> int | None:
    """Until when an invitation can be used; None where there is no such invitation."""
    query = select(invitations.c.expires_at).where(
        invitations.c.token_sha256 == token_hash(token), invitations.c.used_at.is_(None)
    )
    return connection.execute(query).scalar_one_or_none()


def accept_invitation(
    connection: Connection, now: int, token: str, *, name: str, password_hash: str
) -> User | None:
    """Use an invitation up: the account becomes active with this password. None where the token is no good."""
    user = invited(connection, now, token)
    if user is None:
        return None
    used = connection.execute(
        update(invitations)
        .where(invitations.c.token_sha256 == token_hash(token), invitations.c.used_at.is_(None))
        .values(used_at=now)
    )
    if used.rowcount != 1:  # two clicks at once: one of them
        return None
    set_password(connection, now, user, password_hash)
    return change_user(connection, now, user.public_id, user, name=name, state="active")


def start_session(connection: Connection, now: int, user: User) -> str:
    """A new session's token, for the cookie."""
    connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
    token = new_token()
    connection.execute(
        sessions.insert().values(
            token_sha256=token_hash(token),
            user_id=user.id,
            csrf_token=new_token(),
            created_at=now,
            seen_at=now,
            expires_at=now + SESSION_LIFE_MS,
        )
    )
    return token


def session_of(connection: Connection, now: int, token: str) -> tuple[User, str, int] | None:
    """(who, their CSRF token, when it was last noted as seen) of a live session."""
    told = {"token_sha256": token_hash(token), "now": now, "idle_since": now - SESSION_IDLE_MS}
    row = connection.execute(_SESSION, told).first()
    return None if row is None else (_user(row), row.csrf_token, row.seen_at)


def touch_session(connection: Connection, now: int, token: str) -> None:
    """Note that a session was used."""
    connection.execute(
        update(sessions).where(sessions.c.token_sha256 == token_hash(token)).values(seen_at=now)
    )


def end_session(connection: Connection, token: str) -> None:
    """Sign out: the token is worth nothing afterwards."""
    connection.execute(delete(sessions).where(sessions.c.token_sha256 == token_hash(token)))


def end_sessions(connection: Connection, user: User) -> None:
    """Sign out everywhere."""
    connection.execute(delete(sessions).where(sessions.c.user_id == user.id))


def note_failed_login(connection: Connection, now: int, *who: str) -> None:
    """Count a failed sign-in against an account and an address."""
    connection.execute(delete(login_attempts).where(login_attempts.c.at < now - DAY))
    connection.execute(login_attempts.insert(), [{"who": name, "at": now} for name in who])


def failed_logins(connection: Connection, since: int, who: str) -> tuple[int, int]:
    """(how many since then, when the last was)."""
    row = connection.execute(
        select(func.count(), func.coalesce(func.max(login_attempts.c.at), 0)).where(
            login_attempts.c.who == who, login_attempts.c.at >= since
        )
    ).one()
    return int(row[0]), int(row[1])


def forget_failed_logins(connection: Connection, now: int, account: str, address: str) -> None:
    """A sign-in that succeeded clears the account, and of the address what was noted for it just now."""
    connection.execute(delete(login_attempts).where(login_attempts.c.who == account))
    noted = select(func.max(login_attempts.c.id)).where(
        login_attempts.c.who == address, login_attempts.c.at == now
    )
    connection.execute(delete(login_attempts).where(login_attempts.c.id == noted.scalar_subquery()))


def _user(row: Any) -> User:
    return User(
        id=row.id,
        public_id=row.public_id,
        email=row.email,
        name=row.name,
        role=row.role,
        cohort=row.cohort,
        state=row.state,
        standing=row.standing,
        locale=row.locale,
        topics=tuple(row.topics),
        created_at=row.created_at,
    )
