"""What was typed and not yet submitted: kept with a revision, so that two tabs cannot lose one another's work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from alignloop.errors import ConflictError
from alignloop.store.campaigns import get_campaign
from alignloop.store.people import User, in_line
from alignloop.store.queue import Assignment, extend_lease, get_assignment
from alignloop.store.schema import assignments, drafts

# Put together once: each is needed with every few keystrokes of everybody.
_FIND = select(drafts).where(drafts.c.assignment_id == bindparam("assignment_id"))
_INSERT = drafts.insert()
_UPDATE = (
    update(drafts)
    .where(drafts.c.assignment_id == bindparam("b_assignment"))
    .values(payload=bindparam("payload"), saved_at=bindparam("saved_at"), rev=bindparam("rev"))
)
_TIMES = (
    update(assignments)
    .where(assignments.c.id == bindparam("b_assignment"))
    .values(active_ms=bindparam("active_ms"), idle_ms=bindparam("idle_ms"))
)
_FIRST_INPUT = (
    update(assignments)
    .where(assignments.c.id == bindparam("b_assignment"), assignments.c.first_input_ms.is_(None))
    .values(first_input_ms=bindparam("first_input"))
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What was typed and not yet submitted."""

    rev: int
    payload: dict[str, Any]
    saved_at: int


def save_draft(
    connection: Connection,
    now: int,
    user: User,
    public_id: str,
    payload: Mapping[str, Any],
    *,
    rev: int,
    active_ms: int = 0,
    idle_ms: int = 0,
    first_input_ms: int | None = None,
) -> int:
    """Keep what was typed; returns the new revision. The lease starts anew.

    Args:
        rev: the revision that this one was typed on; 0 where there was none.
        active_ms, idle_ms: time on the task so far.

    Raises:
        ConflictError: another tab has saved since.
    """
    in_line(connection, user)
    assignment = get_assignment(connection, user, public_id, to_change=True)
    if assignment.state != "open":
        raise ConflictError(f"this task is {assignment.state} already")
    there = draft_of(connection, assignment)
    if (there.rev if there else 0) != rev:
        raise ConflictError("another tab has saved another version of this task")
    values = {"payload": dict(payload), "saved_at": now, "rev": rev + 1}
    if there is None:
        connection.execute(_INSERT, {"assignment_id": assignment.id, **values})
    else:
        connection.execute(_UPDATE, {"b_assignment": assignment.id, **values})
    note_time(connection, assignment, active_ms, idle_ms, first_input_ms)
    extend_lease(
        connection, now, assignment, get_campaign(connection, campaign_id=assignment.campaign_id)
    )
    return rev + 1


def draft_of(connection: Connection, assignment: Assignment) -> Draft | None:
    """What was typed so far."""
    row = connection.execute(_FIND, {"assignment_id": assignment.id}).first()
    return None if row is None else Draft(row.rev, dict(row.payload), row.saved_at)


def note_time(
    connection: Connection,
    assignment: Assignment,
    active_ms: int,
    idle_ms: int,
    first_input_ms: int | None = None,
) -> None:
    """Time on a task so far; a smaller total (of another tab) changes nothing."""
    if first_input_ms is not None:
        told = {"b_assignment": assignment.id, "first_input": first_input_ms}
        connection.execute(_FIRST_INPUT, told)
    if active_ms > assignment.active_ms or idle_ms > assignment.idle_ms:
        connection.execute(
            _TIMES,
            {
                "b_assignment": assignment.id,
                "active_ms": max(active_ms, assignment.active_ms),
                "idle_ms": max(idle_ms, assignment.idle_ms),
            },
        )
