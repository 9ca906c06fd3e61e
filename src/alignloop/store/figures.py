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
    sessions,
    slots,
    submissions,
    tasks,
    users,
)

AT_WORK_MS = 15 * 60_000
"""Whoever was seen within this time is at work."""


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


# --- of everybody -----------------------------------------------------------------------------------------------


def work_by_day(connection: Connection, campaign: Campaign | None = None) -> Sequence[Any]:
    """(day, campaign_id, labels, surplus, active_ms) of all final submissions; a day is whole days since 1970, UTC."""
    day = submissions.c.submitted_at // DAY
    query = (
        select(
            day.label("day"),
            tasks.c.campaign_id,
            func.count().label("labels"),
            func.sum(case((submissions.c.is_surplus, 1), else_=0)).label("surplus"),
            func.sum(submissions.c.active_ms).label("active_ms"),
        )
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .where(submissions.c.state == "final")
        .group_by(day, tasks.c.campaign_id)
        .order_by(day, tasks.c.campaign_id)
    )
    if campaign is not None:
        query = query.where(tasks.c.campaign_id == campaign.id)
    return connection.execute(query).all()


def skips_by_day(connection: Connection) -> Sequence[Any]:
    """(day, campaign_id, skips, active_ms) of all skipped tasks, by the day on which they were begun."""
    day = assignments.c.opened_at // DAY
    query = (
        select(
            day.label("day"),
            tasks.c.campaign_id,
            func.count().label("skips"),
            func.sum(assignments.c.active_ms).label("active_ms"),
        )
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .where(assignments.c.state == "skipped")
        .group_by(day, tasks.c.campaign_id)
        .order_by(day, tasks.c.campaign_id)
    )
    return connection.execute(query).all()


def waiting(connection: Connection, now: int) -> dict[int, int]:
    """Open campaign's id -> labels that are wanted and in nobody's hands."""
    free = or_(slots.c.state == "open", and_(slots.c.state == "leased", slots.c.lease_until <= now))
    query = (
        select(slots.c.campaign_id, func.count())
        .join(tasks, tasks.c.id == slots.c.task_id)
        .join(campaigns, campaigns.c.id == slots.c.campaign_id)
        .where(
            campaigns.c.state == "open",
            tasks.c.state == "open",
            tasks.c.is_gold.is_(False),
            free,
        )
        .group_by(slots.c.campaign_id)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def leases_run_out(connection: Connection, now: int) -> int:
    """Leases that ran out since midnight, UTC, and whose work nobody handed in or took over."""
    query = select(func.count()).where(
        slots.c.state == "leased",
        slots.c.lease_until <= now,
        slots.c.lease_until >= now - now % DAY,
    )
    return connection.execute(query).scalar_one()


def at_work(connection: Connection, now: int) -> tuple[int, int]:
    """(labelers seen within the last quarter of an hour, active labelers)."""
    seen = select(func.count(sessions.c.user_id.distinct())).join(
        users, users.c.id == sessions.c.user_id
    )
    seen = seen.where(users.c.role == "labeler", sessions.c.seen_at > now - AT_WORK_MS)
    active = select(func.count()).where(users.c.role == "labeler", users.c.state == "active")
    return connection.execute(seen).scalar_one(), connection.execute(active).scalar_one()


@dataclass(frozen=True, slots=True)
class OfLabeler:
    """What a labeler did so far."""

    labels: int = 0
    active_ms: int = 0
    last_seen: int | None = None


def of_labelers(connection: Connection, user: User | None = None) -> dict[int, OfLabeler]:
    """User's id -> what they did, of everybody or of one."""
    worked = (
        select(
            assignments.c.user_id,
            func.count().label("labels"),
            func.sum(submissions.c.active_ms).label("active_ms"),
            func.max(submissions.c.submitted_at).label("last"),
        )
        .join(submissions, submissions.c.assignment_id == assignments.c.id)
        .where(submissions.c.state == "final")
        .group_by(assignments.c.user_id)
    )
    seen = select(sessions.c.user_id, func.max(sessions.c.seen_at)).group_by(sessions.c.user_id)
    if user is not None:
        worked = worked.where(assignments.c.user_id == user.id)
        seen = seen.where(sessions.c.user_id == user.id)
    found = {
        row.user_id: OfLabeler(row.labels, int(row.active_ms), row.last)
        for row in connection.execute(worked)
    }
    for user_id, at in connection.execute(seen):
        done = found.get(user_id, OfLabeler())
        found[user_id] = OfLabeler(done.labels, done.active_ms, max(at, done.last_seen or 0))
    return found


def practised(connection: Connection) -> tuple[int, dict[int, int]]:
    """(tasks of open practice campaigns, user's id -> how many of them they had)."""
    here = (campaigns.c.purpose == "practice", campaigns.c.state == "open", tasks.c.state == "open")
    total = (
        select(func.count())
        .select_from(tasks)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
    )
    met = (
        select(assignments.c.user_id, func.count())
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .where(*here, assignments.c.state != "open")
        .group_by(assignments.c.user_id)
    )
    found = {row[0]: row[1] for row in connection.execute(met)}
    return connection.execute(total.where(*here)).scalar_one(), found
