"""What a user of the chat page wrote, erased: the rows are gone, and the log says how many of which there were.

With a prompt goes all that hangs on it, what labelers said about it too. Their time is noted in the log's entry, so
that nobody is paid less for work that had to go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select

from alignloop.store import events
from alignloop.store.bulk import rebuild
from alignloop.store.database import Store
from alignloop.store.prompts import in_turn
from alignloop.store.schema import (
    ANSWER_TABLES,
    adjudications,
    assignments,
    authors,
    completions,
    drafts,
    erasing,
    given_answers,
    gold_flags,
    gold_pairs,
    grades,
    prompts,
    slots,
    submissions,
    task_items,
    tasks,
    users,
    visitors,
)
from alignloop.store.schema import events as log
from alignloop.store.visitors import Visitor
from alignloop.store.visitors import get as visitor_named

_BLOCK = 500


@dataclass(frozen=True, slots=True)
class Erased:
    """How much went."""

    prompts: int
    choices: int
    """Final submissions of the user's own."""
    rows: dict[str, int]
    """Table -> rows."""
    is_rebuilt: bool = True
    """Whether a SQLite file was written anew without them: the disk may be full, or somebody else read or write for
    long."""


def erase(
    store: Store, now: int, actor: str, visitor: Visitor, conversation: str | None = None
) -> Erased:
    """Erase one conversation, or everything and whom it is of. Where nothing of a conversation is kept the log says
    nothing: it never forgets, and its name is what somebody sent.

    Where messages went, a SQLite file is written anew without them, and its write-ahead log is emptied. On PostgreSQL
    they are dead rows until it cleans up after itself.
    """
    found = _erased(store, now, actor, visitor, conversation)
    if found.prompts == 0 and not store.rewrites.is_due:
        return found
    return replace(found, is_rebuilt=rebuild(store))


def erase_named(
    store: Store, now: int, actor: str, public_id: str, conversation: str | None = None
) -> Erased:
    """The same for a user by name; where all is erased already, what the file may still have is cleaned up.

    Raises:
        JudgmentError: there is no such user, and never was one who was erased.
    """
    with store.read() as connection:
        visitor = None if _is_gone(connection, public_id) else visitor_named(connection, public_id)
    found = Erased(0, 0, {})
    if visitor is not None:
        found = _erased(store, now, actor, visitor, conversation)
    return replace(found, is_rebuilt=rebuild(store))


def _erased(
    store: Store, now: int, actor: str, visitor: Visitor, conversation: str | None
) -> Erased:
    with store.write() as connection:
        if store.dialect == "sqlite":  # at least overwritten, should the file not be written anew
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        return _erase(connection, now, actor, visitor, conversation)


def _is_gone(connection: Connection, public_id: str) -> bool:
    there = select(users.c.id).where(users.c.public_id == public_id)
    noted = select(log.c.seq).where(log.c.verb == "erase", log.c.object == public_id).limit(1)
    return (
        connection.execute(there).first() is None and connection.execute(noted).first() is not None
    )


def _erase(
    connection: Connection, now: int, actor: str, visitor: Visitor, conversation: str | None
) -> Erased:
    in_turn(connection)
    name = visitor.user.public_id
    query = select(prompts.c.id, prompts.c.details).join(
        authors, authors.c.id == prompts.c.author_id
    )
    ids = [
        row.id
        for row in connection.execute(query.where(authors.c.key == name))
        if conversation is None or row.details.get("conversation") == conversation
    ]
    if conversation is not None and not ids:
        return Erased(0, 0, {})
    rows: Counter[str] = Counter()
    said: list[Any] = []
    for start in range(0, len(ids), _BLOCK):
        block = ids[start : start + _BLOCK]
        connection.execute(erasing.insert(), [{"prompt_id": one} for one in block])
        said += _submissions(connection, block)
        _erase_prompts(connection, block, rows)
        connection.execute(delete(erasing))
    if conversation is None:
        own = select(assignments.c.id).where(assignments.c.user_id == visitor.user.id)
        assert connection.execute(own).first() is None, "a choice about somebody else's prompt"
        _count(connection, rows, authors, authors.c.key == name)
        _count(connection, rows, visitors, visitors.c.user_id == visitor.user.id)
        _count(connection, rows, users, users.c.id == visitor.user.id)
    work: Counter[str] = Counter()
    for row in said:
        if row.by != name:
            work[row.by] += row.active_ms
    events.append(
        connection,
        now,
        actor,
        "erase",
        name,
        conversation=conversation or "",
        rows=dict(sorted(rows.items())),
        submissions=sorted(row.public_id for row in said),
        work_ms=dict(sorted(work.items())),
    )
    choices = sum(row.by == name and row.state == "final" for row in said)
    return Erased(len(ids), choices, dict(sorted(rows.items())))


def _submissions(connection: Connection, ids: Sequence[int]) -> Sequence[Any]:
    """What anybody said about these prompts."""
    query = (
        select(
            submissions.c.public_id,
            submissions.c.state,
            submissions.c.active_ms,
            users.c.public_id.label("by"),
        )
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(users, users.c.id == assignments.c.user_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .where(tasks.c.prompt_id.in_(ids), submissions.c.state != "building")
    )
    return connection.execute(query).all()


def _erase_prompts(connection: Connection, ids: Sequence[int], rows: Counter[str]) -> None:
    """From what hangs on them to themselves: no row is left that would point to nothing."""
    of_prompt = select(tasks.c.id).where(tasks.c.prompt_id.in_(ids))
    of_task = select(assignments.c.id).where(assignments.c.task_id.in_(of_prompt))
    of_assignment = select(submissions.c.id).where(submissions.c.assignment_id.in_(of_task))
    for table in (*ANSWER_TABLES, grades):
        _count(connection, rows, table, table.c.submission_id.in_(of_assignment))
    _count(connection, rows, adjudications, adjudications.c.task_id.in_(of_prompt))
    # A correction points to what it corrects: the newest go first.
    newest = select(func.max(submissions.c.revision)).where(
        submissions.c.assignment_id.in_(of_task)
    )
    while (revision := connection.execute(newest).scalar()) is not None:
        last = (submissions.c.assignment_id.in_(of_task)) & (submissions.c.revision == revision)
        _count(connection, rows, submissions, last)
    _count(connection, rows, drafts, drafts.c.assignment_id.in_(of_task))
    _count(connection, rows, assignments, assignments.c.task_id.in_(of_prompt))
    for table in (slots, gold_pairs, gold_flags, task_items):
        _count(connection, rows, table, table.c.task_id.in_(of_prompt))
    _count(connection, rows, tasks, tasks.c.prompt_id.in_(ids))
    for table in (completions, given_answers):
        _count(connection, rows, table, table.c.prompt_id.in_(ids))
    _count(connection, rows, prompts, prompts.c.id.in_(ids))


def _count(connection: Connection, rows: Counter[str], table: Table, where: Any) -> None:
    deleted = connection.execute(delete(table).where(where)).rowcount
    if deleted:
        rows[table.name] += deleted
