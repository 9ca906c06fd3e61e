"""A campaign's work as a researcher sees it: by task, by labeler, what was skipped; and what they change about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, delete, exists, func, select, update

from alignloop.errors import JudgmentError
from alignloop.store import events
from alignloop.store.campaigns import Campaign, Progress, get_campaign
from alignloop.store.people import User
from alignloop.store.schema import (
    assignments,
    campaigns,
    completions,
    policies,
    slots,
    submissions,
    task_items,
    tasks,
    users,
)

# --- how far the work is ----------------------------------------------------------------------------------------


def progress_of_all(connection: Connection) -> dict[int, Progress]:
    """Campaign id -> how far it is, in labels; gold tasks apart. Surplus is left at 0."""
    query = (
        select(
            slots.c.campaign_id,
            func.count(),
            func.sum(case((slots.c.state == "done", 1), else_=0)),
            func.sum(case((slots.c.state == "leased", 1), else_=0)),
        )
        .join(tasks, tasks.c.id == slots.c.task_id)
        .where(tasks.c.is_gold.is_(False))
        .group_by(slots.c.campaign_id)
    )
    return {
        row[0]: Progress(row[1], int(row[2]), int(row[3]), 0) for row in connection.execute(query)
    }


def task_states(connection: Connection, campaign: Campaign) -> dict[str, int]:
    """How many tasks wait (open), are in work, are done, were stopped by skips (skipped), or were dropped."""
    by_task = (
        select(
            tasks.c.id,
            tasks.c.state,
            _slots_in("open").label("open"),
            _slots_in("leased").label("leased"),
            _slots_in("done").label("done"),
        )
        .outerjoin(slots, slots.c.task_id == tasks.c.id)
        .where(tasks.c.campaign_id == campaign.id, tasks.c.is_gold.is_(False))
        .group_by(tasks.c.id, tasks.c.state)
        .subquery()
    )
    state = case(
        (and_(by_task.c.state == "stopped", by_task.c.open > 0), "skipped"),
        (by_task.c.leased > 0, "in_work"),
        (and_(by_task.c.open == 0, by_task.c.done > 0), "done"),
        (by_task.c.state == "stopped", "dropped"),
        else_="open",
    )
    query = select(state.label("is"), func.count()).group_by(state)
    found = {row[0]: row[1] for row in connection.execute(query)}
    return {name: found.get(name, 0) for name in ("open", "in_work", "done", "skipped", "dropped")}


def labelers_of(connection: Connection, campaign: Campaign) -> Sequence[Any]:
    """(id, public_id, name, done, skipped, active_ms) of everybody who had a task of a campaign, the busiest first.

    Gold tasks count: they are work like any other.
    """
    done = case((submissions.c.id.is_not(None), 1), else_=0)
    query = (
        select(
            users.c.id,
            users.c.public_id,
            users.c.name,
            func.sum(done).label("done"),
            func.sum(case((assignments.c.state == "skipped", 1), else_=0)).label("skipped"),
            func.coalesce(func.sum(submissions.c.active_ms), 0).label("active_ms"),
        )
        .join(assignments, assignments.c.user_id == users.c.id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .outerjoin(
            submissions,
            and_(submissions.c.assignment_id == assignments.c.id, submissions.c.state == "final"),
        )
        .where(tasks.c.campaign_id == campaign.id)
        .group_by(users.c.id, users.c.public_id, users.c.name)
        .order_by(func.sum(done).desc(), users.c.name)
    )
    return connection.execute(query).all()


def campaigns_of(connection: Connection, labeler: User) -> Sequence[Any]:
    """(id, public_id, name, done, skipped, active_ms) of every campaign that a labeler had a task of, newest first."""
    done = case((submissions.c.id.is_not(None), 1), else_=0)
    query = (
        select(
            campaigns.c.id,
            campaigns.c.public_id,
            campaigns.c.name,
            func.sum(done).label("done"),
            func.sum(case((assignments.c.state == "skipped", 1), else_=0)).label("skipped"),
            func.coalesce(func.sum(submissions.c.active_ms), 0).label("active_ms"),
        )
        .join(tasks, tasks.c.campaign_id == campaigns.c.id)
        .join(assignments, assignments.c.task_id == tasks.c.id)
        .outerjoin(
            submissions,
            and_(submissions.c.assignment_id == assignments.c.id, submissions.c.state == "final"),
        )
        .where(assignments.c.user_id == labeler.id)
        .group_by(campaigns.c.id, campaigns.c.public_id, campaigns.c.name)
        .order_by(campaigns.c.id.desc())
    )
    return connection.execute(query).all()


# --- skipped tasks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Skipped:
    """A task that was skipped so often that it was stopped."""

    task_id: int
    public_id: str
    reasons: tuple[str, ...]
    """As they were given, `reason` or `reason: note`; nobody's name is with them."""


def skipped_often(connection: Connection, campaign: Campaign, limit: int = 20) -> list[Skipped]:
    """Stopped tasks whose labels are still wanted, oldest first."""
    rows = connection.execute(
        select(tasks.c.id, tasks.c.public_id)
        .where(tasks.c.campaign_id == campaign.id, tasks.c.state == "stopped", *_is_wanted())
        .order_by(tasks.c.place)
        .limit(limit)
    ).all()
    reasons: dict[int, list[str]] = {row.id: [] for row in rows}
    query = (
        select(assignments.c.task_id, assignments.c.skip_reason)
        .where(assignments.c.task_id.in_(reasons), assignments.c.state == "skipped")
        .order_by(assignments.c.id)
    )
    for row in connection.execute(query):
        reasons[row.task_id].append(row.skip_reason)
    return [Skipped(row.id, row.public_id, tuple(reasons[row.id])) for row in rows]


def count_skipped_often(connection: Connection) -> dict[str, int]:
    """Public id of a campaign -> stopped tasks whose labels are still wanted."""
    query = (
        select(campaigns.c.public_id, func.count())
        .join(tasks, tasks.c.campaign_id == campaigns.c.id)
        .where(tasks.c.state == "stopped", *_is_wanted())
        .group_by(campaigns.c.id, campaigns.c.public_id)
        .order_by(campaigns.c.id.desc())
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def keep_task(connection: Connection, now: int, by: User, campaign: Campaign, task: str) -> bool:
    """Put a stopped task back into the queue; False where it is not stopped any more.

    Raises:
        JudgmentError: the campaign has no such task.
    """
    row = _stopped(connection, campaign, task)
    if row is None:
        return False
    connection.execute(update(tasks).where(tasks.c.id == row.id).values(state="open"))
    events.append(connection, now, by.public_id, "keep task", task)
    return True


def drop_task(connection: Connection, now: int, by: User, campaign: Campaign, task: str) -> bool:
    """Want no more labels of a stopped task, those that there are stay; False where it is not stopped any more.

    Raises:
        JudgmentError: the campaign has no such task.
    """
    row = _stopped(connection, campaign, task)
    if row is None:
        return False
    connection.execute(delete(slots).where(slots.c.task_id == row.id, slots.c.state == "open"))
    events.append(connection, now, by.public_id, "drop task", task)
    return True


# --- changes ----------------------------------------------------------------------------------------------------


def pause(connection: Connection, now: int, actor: str, campaign: Campaign) -> Campaign:
    """Stop handing out tasks until the campaign is opened again: closed, but with no date of closing.

    An evaluation can be paused too: its tasks and their number are fixed, and it stays blind.

    Raises:
        JudgmentError: it is not open.
    """
    if campaign.state != "open":
        raise JudgmentError(f"'{campaign.name}' cannot be paused: it is not open")
    connection.execute(
        update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(state="closed", closed_at=None)
    )
    events.append(connection, now, actor, "pause campaign", campaign.public_id)
    return get_campaign(connection, campaign_id=campaign.id)


def change_campaign(
    connection: Connection, now: int, by: User, campaign: Campaign, changes: Mapping[str, Any]
) -> Campaign:
    """Change columns of a campaign; the log tells which, not what they hold.

    Raises:
        JudgmentError: the database refuses it: the name is taken, or what was asked of labelers may not change.
    """
    if changes:
        connection.execute(update(campaigns).where(campaigns.c.id == campaign.id).values(**changes))
        events.append(
            connection,
            now,
            by.public_id,
            "change campaign",
            campaign.public_id,
            fields=sorted(changes),
        )
    return get_campaign(connection, campaign_id=campaign.id)


def change_labels_wanted(connection: Connection, campaign: Campaign, wanted: int) -> None:
    """Another number of labels per task: slots are added, or taken away where nobody has them.

    Tasks that several were to do from the start keep at least what they have.
    """
    of_task: dict[int, list[Any]] = {}
    query = (
        select(slots.c.task_id, slots.c.slot_no, slots.c.place, slots.c.state)
        .join(tasks, tasks.c.id == slots.c.task_id)
        .where(slots.c.campaign_id == campaign.id, tasks.c.is_gold.is_(False))
        .order_by(slots.c.task_id, slots.c.slot_no)
    )
    for row in connection.execute(query):
        of_task.setdefault(row.task_id, []).append(row)
    new: list[dict[str, Any]] = []
    for task_id, there in of_task.items():
        new += [
            {
                "task_id": task_id,
                "slot_no": there[-1].slot_no + number,
                "campaign_id": campaign.id,
                "place": there[-1].place,
                "state": "open",
            }
            for number in range(1, wanted - len(there) + 1)
        ]
        if len(there) == campaign.overlap:
            free = [row.slot_no for row in there if row.state == "open"]
            for slot_no in free[::-1][: max(len(there) - wanted, 0)]:
                connection.execute(
                    delete(slots).where(
                        slots.c.task_id == task_id,
                        slots.c.slot_no == slot_no,
                        slots.c.state == "open",
                    )
                )
    if new:
        connection.execute(slots.insert(), new)


# --- unblinded --------------------------------------------------------------------------------------------------


def policies_of(connection: Connection, campaign: Campaign) -> list[tuple[int, str]]:
    """(id, name) of the policies whose texts a campaign shows, newest first.

    Raises:
        JudgmentError: an evaluation that is not closed yet.
    """
    _refuse_while_blind(campaign)
    used = (
        select(completions.c.policy_id)
        .join(task_items, task_items.c.completion_id == completions.c.id)
        .join(tasks, tasks.c.id == task_items.c.task_id)
        .where(tasks.c.campaign_id == campaign.id)
    )
    query = select(policies.c.id, policies.c.name).where(policies.c.id.in_(used))
    return [(row.id, row.name) for row in connection.execute(query.order_by(policies.c.id.desc()))]


def authors_of_items(connection: Connection, campaign: Campaign) -> dict[tuple[int, int], int]:
    """(task id, item) -> the policy that wrote it.

    Raises:
        JudgmentError: an evaluation that is not closed yet.
    """
    _refuse_while_blind(campaign)
    query = (
        select(task_items.c.task_id, task_items.c.item_no, completions.c.policy_id)
        .join(completions, completions.c.id == task_items.c.completion_id)
        .join(tasks, tasks.c.id == task_items.c.task_id)
        .where(tasks.c.campaign_id == campaign.id)
    )
    return {(row.task_id, row.item_no): row.policy_id for row in connection.execute(query)}


# --- inside -----------------------------------------------------------------------------------------------------


def _refuse_while_blind(campaign: Campaign) -> None:
    if campaign.is_blind:
        raise JudgmentError(
            f"'{campaign.name}' is not closed: which model wrote what is not shown before"
        )


def _slots_in(state: str) -> Any:
    return func.coalesce(func.sum(case((slots.c.state == state, 1), else_=0)), 0)


def _is_wanted() -> tuple[Any, ...]:
    """Labels of a task are wanted still; of gold and of repeats nobody in particular wants any."""
    wanted = exists().where(slots.c.task_id == tasks.c.id, slots.c.state == "open")
    return tasks.c.is_gold.is_(False), wanted


def _stopped(connection: Connection, campaign: Campaign, task: str) -> Any:
    query = select(tasks.c.id, tasks.c.state)
    row = connection.execute(
        query.where(tasks.c.public_id == task, tasks.c.campaign_id == campaign.id)
    ).first()
    if row is None:
        raise JudgmentError("this campaign has no such task")
    return row if row.state == "stopped" else None
