"""Demonstrations graded by researchers, 1 to 7 (B.1 of the paper). A grade is given once and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, exists, select

from alignloop.errors import JudgmentError
from alignloop.store import events
from alignloop.store.people import User
from alignloop.store.schema import (
    assignments,
    campaigns,
    demonstrations,
    grades,
    prompts,
    submissions,
    tasks,
    users,
)


def give_grade(connection: Connection, now: int, grader: User, submission: str, score: int) -> None:
    """Grade a demonstration, 1 (worst) to 7 (best).

    Raises:
        JudgmentError: there is no such demonstration, the score is none, or this grader has graded it.
    """
    if not 1 <= score <= 7:
        raise JudgmentError(f"a grade goes from 1 to 7, not {score}")
    row = connection.execute(
        select(submissions.c.id)
        .join(demonstrations, demonstrations.c.submission_id == submissions.c.id)
        .where(submissions.c.public_id == submission, submissions.c.state == "final")
    ).first()
    if row is None:
        raise JudgmentError(f"there is no demonstration {submission}")
    there = select(grades.c.score).where(
        grades.c.submission_id == row.id, grades.c.grader_id == grader.id
    )
    if connection.execute(there).first() is not None:
        raise JudgmentError(f"demonstration {submission} has a grade of yours; it is kept")
    connection.execute(
        grades.insert().values(submission_id=row.id, grader_id=grader.id, score=score, at=now)
    )
    events.append(connection, now, grader.public_id, "grade", submission, score=score)


def to_grade(
    connection: Connection,
    grader: User,
    *,
    purposes: Sequence[str] = ("screening", "practice"),
    labeler: User | None = None,
    limit: int = 100,
) -> Sequence[Any]:
    """Demonstrations that this grader has not graded, oldest first: `submission`, `prompt`, `history`, `response`.

    Nobody's name is with them: a grade is of the text.
    """
    query = (
        select(
            submissions.c.public_id.label("submission"),
            prompts.c.text.label("prompt"),
            prompts.c.text,
            prompts.c.history,
            prompts.c.language,
            demonstrations.c.text.label("response"),
        )
        .join(demonstrations, demonstrations.c.submission_id == submissions.c.id)
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .join(prompts, prompts.c.id == tasks.c.prompt_id)
        .where(
            submissions.c.state == "final",
            campaigns.c.purpose.in_(purposes),
            assignments.c.user_id != grader.id,
            ~exists().where(
                grades.c.submission_id == submissions.c.id, grades.c.grader_id == grader.id
            ),
        )
        .order_by(submissions.c.id)
        .limit(limit)
    )
    if labeler is not None:
        query = query.where(assignments.c.user_id == labeler.id)
    return connection.execute(query).all()


def each_grade(
    connection: Connection, labeler: User | None = None, *, purposes: Sequence[str]
) -> Sequence[Any]:
    """(user_id, prompt_id, score) of every grade of a demonstration that counts."""
    query = (
        select(assignments.c.user_id, tasks.c.prompt_id, grades.c.score)
        .join(submissions, submissions.c.id == grades.c.submission_id)
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(users, users.c.id == assignments.c.user_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .where(submissions.c.state == "final", campaigns.c.purpose.in_(purposes))
        .order_by(grades.c.submission_id, grades.c.grader_id)
    )
    if labeler is not None:
        query = query.where(users.c.id == labeler.id)
    return connection.execute(query).all()
