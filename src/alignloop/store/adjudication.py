"""Disagreements decided: what a task's labelers said, and what a researcher made of it. A decision is never changed;
a later one on the same task takes its place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from alignloop.errors import JudgmentError
from alignloop.store import events, labels
from alignloop.store.people import User
from alignloop.store.schema import (
    adjudications,
    assignments,
    campaigns,
    prompts,
    submissions,
    tasks,
)

Outcome = Literal["accepted", "own", "ambiguous"]
Reason = Literal["guideline_gap", "slip", "taste"]


@dataclass(frozen=True, slots=True)
class SaidRanking:
    """One labeler's ranking of a task. Whose it is, is not told."""

    submission_id: int
    public_id: str
    comment: str
    groups: Mapping[int, int | None]
    """Item -> rank group; None where it was called not rankable."""


def find_task(connection: Connection, public_id: str) -> Any:
    """A task by the id that a browser sees, with its campaign's `campaign`, `form`, `purpose`, `seed` and its prompt.

    Raises:
        JudgmentError: there is none.
    """
    row = connection.execute(_tasks().where(tasks.c.public_id == public_id)).first()
    if row is None:
        raise JudgmentError("there is no such task")
    return row


def find_tasks(connection: Connection, ids: Collection[int]) -> dict[int, Any]:
    """The same for many, by their number."""
    found = connection.execute(_tasks().where(tasks.c.id.in_(ids)))
    return {row.id: row for row in found}


def rankings_of(connection: Connection, task_id: int) -> list[SaidRanking]:
    """The final rankings of a task, ordered by a random id, which tells nothing about who was first."""
    query = (
        select(submissions.c.id, submissions.c.public_id, submissions.c.comment)
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .where(assignments.c.task_id == task_id, submissions.c.state == "final")
        .order_by(submissions.c.public_id)
    )
    return [
        SaidRanking(row.id, row.public_id, row.comment, labels.groups_of(connection, row.id))
        for row in connection.execute(query)
    ]


def has_labeled(connection: Connection, task: Any, user: User) -> bool:
    """Whether somebody has worked on a task, and so does not decide it."""
    query = select(assignments.c.id).where(
        assignments.c.task_id == task.id, assignments.c.user_id == user.id
    )
    return connection.execute(query).first() is not None


def decided_tasks(connection: Connection) -> list[int]:
    """Ids of the tasks that were decided, the last decision first."""
    last = func.max(adjudications.c.id)
    query = select(adjudications.c.task_id).group_by(adjudications.c.task_id).order_by(last.desc())
    return list(connection.execute(query).scalars())


def decision_on(connection: Connection, task_id: int) -> Any:
    """The decision that counts, if there is one."""
    query = select(adjudications).where(adjudications.c.task_id == task_id)
    return connection.execute(query.order_by(adjudications.c.id.desc()).limit(1)).first()


def decide(
    connection: Connection,
    now: int,
    by: User,
    task: Any,
    *,
    outcome: Outcome,
    reason: Reason,
    note: str = "",
    submission_id: int | None = None,
    groups: Mapping[int, int | None] | None = None,
) -> None:
    """Note a decision on a task.

    Args:
        task: from `find_task`.
        submission_id: the ranking that is right, where one was accepted.
        groups: the decider's own ranking, item by item, where it is that.

    Raises:
        JudgmentError: the decider has labeled the task (the database refuses it), or the task is not ranked.
    """
    if task.form != "rank":
        raise JudgmentError("rankings alone are adjudicated")
    own = None if groups is None else [groups[item] for item in sorted(groups)]
    connection.execute(
        adjudications.insert().values(
            task_id=task.id,
            adjudicator_id=by.id,
            outcome=outcome,
            submission_id=submission_id,
            rank_groups=own,
            reason=reason,
            note=note,
            at=now,
        )
    )
    events.append(
        connection, now, by.public_id, "adjudicate", task.public_id, outcome=outcome, reason=reason
    )


def _tasks() -> Any:
    return (
        select(
            tasks,
            campaigns.c.name.label("campaign"),
            campaigns.c.form,
            campaigns.c.purpose,
            campaigns.c.seed,
            prompts.c.text,
            prompts.c.history,
            prompts.c.language,
        )
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .outerjoin(prompts, prompts.c.id == tasks.c.prompt_id)
    )
