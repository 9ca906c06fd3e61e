"""Figures about the work: how much, how long, by whom. Sums and counts; what they mean is said elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, exists, func, or_, select

from alignloop.store.campaigns import Campaign
from alignloop.store.people import DAY, User
from alignloop.store.schema import (
    assignments,
    campaigns,
    gold_flags,
    gold_pairs,
    slots,
    submissions,
    tasks,
)


def available(connection: Connection, now: int, user: User, campaign: Campaign) -> int:
    """Tasks of a campaign that this labeler could take now."""
    free = or_(slots.c.state == "open", and_(slots.c.state == "leased", slots.c.lease_until <= now))
    seen = exists().where(
        assignments.c.task_id == slots.c.task_id, assignments.c.user_id == user.id
    )
    query = (
        select(func.count(slots.c.task_id.distinct()))
        .join(tasks, tasks.c.id == slots.c.task_id)
        .where(slots.c.campaign_id == campaign.id, tasks.c.state == "open", free, ~seen)
    )
    return connection.execute(query).scalar_one()


@dataclass(frozen=True, slots=True)
class Done:
    """What somebody did of a campaign."""

    submitted: int
    today: int
    active_ms: int


def done_by(connection: Connection, now: int, user: User, campaign: Campaign | None = None) -> Done:
    """Submissions of a labeler, and those since midnight, UTC."""
    midnight = now - now % DAY
    query = (
        select(
            func.count(),
            func.coalesce(func.sum(case((submissions.c.submitted_at >= midnight, 1), else_=0)), 0),
            func.coalesce(func.sum(submissions.c.active_ms), 0),
        )
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .where(assignments.c.user_id == user.id, submissions.c.state == "final")
    )
    if campaign is not None:
        query = query.where(tasks.c.campaign_id == campaign.id)
    row = connection.execute(query).one()
    return Done(int(row[0]), int(row[1]), int(row[2]))


def task_times(
    connection: Connection, campaign: Campaign, user: User | None = None, limit: int = 500
) -> list[int]:
    """Active milliseconds of the last submissions of a campaign that have any, newest first."""
    query = (
        select(submissions.c.active_ms)
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .where(
            tasks.c.campaign_id == campaign.id,
            submissions.c.state == "final",
            submissions.c.active_ms > 0,
        )
        .order_by(submissions.c.id.desc())
        .limit(limit)
    )
    if user is not None:
        query = query.where(assignments.c.user_id == user.id)
    return list(connection.execute(query).scalars())


def days_of(connection: Connection, user: User, since: int) -> Sequence[Any]:
    """(day, submissions, active milliseconds) of a labeler, newest first; a day is whole days since 1970, UTC."""
    day = submissions.c.submitted_at // DAY
    query = (
        select(
            day.label("day"),
            func.count().label("tasks"),
            func.sum(submissions.c.active_ms).label("active_ms"),
        )
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .where(
            assignments.c.user_id == user.id,
            submissions.c.state == "final",
            submissions.c.submitted_at >= since,
        )
        .group_by(day)
        .order_by(day.desc())
    )
    return connection.execute(query).all()


def paid_of(connection: Connection, user: User, since: int) -> Sequence[Any]:
    """(active milliseconds, price per hour, currency) of a labeler's work by campaign, where it has a price."""
    query = (
        select(
            func.sum(submissions.c.active_ms).label("active_ms"),
            campaigns.c.price_per_hour,
            campaigns.c.currency,
        )
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .where(
            assignments.c.user_id == user.id,
            submissions.c.state == "final",
            submissions.c.submitted_at >= since,
            campaigns.c.price_per_hour.is_not(None),
        )
        .group_by(campaigns.c.id, campaigns.c.price_per_hour, campaigns.c.currency)
    )
    return connection.execute(query).all()


def open_work(connection: Connection, user: User) -> dict[int, str]:
    """Campaign id -> public id of the assignment in this labeler's hands."""
    query = (
        select(tasks.c.campaign_id, assignments.c.public_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .where(assignments.c.user_id == user.id, assignments.c.state == "open")
        .order_by(assignments.c.id.desc())
    )
    return {row.campaign_id: row.public_id for row in connection.execute(query)}


def gold_of(
    connection: Connection, task_id: int
) -> tuple[dict[tuple[int, int], int], dict[tuple[int, str], bool]]:
    """A gold task's right answers: (item, later item) -> relation, and (item, flag) -> value."""
    pairs = connection.execute(
        select(gold_pairs)
        .where(gold_pairs.c.task_id == task_id)
        .order_by(gold_pairs.c.item_a, gold_pairs.c.item_b)
    )
    flags = connection.execute(
        select(gold_flags)
        .where(gold_flags.c.task_id == task_id)
        .order_by(gold_flags.c.item_no, gold_flags.c.flag_key)
    )
    return (
        {(row.item_a, row.item_b): row.relation for row in pairs},
        {(row.item_no, row.flag_key): row.value for row in flags},
    )


def final_of(connection: Connection, assignment_id: int) -> Any:
    """The submission of an assignment that counts."""
    query = select(submissions).where(
        submissions.c.assignment_id == assignment_id, submissions.c.state == "final"
    )
    return connection.execute(query).one()
