"""Who works on what: slots with leases, drafts, skips, and the ten minutes in which a submission can be re-opened.

A task has one slot per label that is wanted. A claim leases a slot; whoever lets the lease run out may lose the slot to
somebody else, but never the work: a late submission is kept as surplus.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    exists,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from alignloop.errors import JudgmentError
from alignloop.seeds import derive_seed
from alignloop.store import events
from alignloop.store.campaigns import Campaign, get_campaign, items_of
from alignloop.store.correspondence import guideline_id
from alignloop.store.free_slots import free_slot, next_slot
from alignloop.store.people import User, in_line, new_public_id
from alignloop.store.repeats import next_repeat
from alignloop.store.schema import (
    assignments,
    campaigns,
    drafts,
    slots,
    submissions,
    tasks,
)

UNDO_MS = 600_000  # a submission can be re-opened for ten minutes,
UNDO_LAST = 20  # and only the last so many


# Statements that every request needs are put together once: building them takes longer than running them.
_ASSIGNMENTS = select(assignments, tasks.c.campaign_id).join(
    tasks, tasks.c.id == assignments.c.task_id
)
_MINE = _ASSIGNMENTS.where(
    assignments.c.public_id == bindparam("public_id"),
    assignments.c.user_id == bindparam("user_id"),
)
_MINE_TO_CHANGE = _MINE.with_for_update(of=assignments)
_OPEN = (
    _ASSIGNMENTS.where(
        assignments.c.user_id == bindparam("user_id"),
        assignments.c.state == "open",
        tasks.c.campaign_id == bindparam("campaign_id"),
    )
    .order_by(assignments.c.id)
    .limit(1)
)
_LEASE = (
    update(slots)
    .where(slots.c.task_id == bindparam("b_task"), slots.c.slot_no == bindparam("b_slot"))
    .values(state="leased", assignee_id=bindparam("b_user"), lease_until=bindparam("b_until"))
)
# Without waiting for whoever is about to take the slot over: they may be waiting for this transaction.
_HELD = slots.alias("held")
_EXTEND = (
    update(slots)
    .where(
        tuple_(slots.c.task_id, slots.c.slot_no).in_(
            select(_HELD.c.task_id, _HELD.c.slot_no)
            .where(
                _HELD.c.task_id == bindparam("b_task"),
                _HELD.c.assignee_id == bindparam("b_user"),
                _HELD.c.state == "leased",
            )
            .with_for_update(skip_locked=True)
        )
    )
    .values(lease_until=bindparam("b_until"))
)
_NEW_ASSIGNMENT = assignments.insert()


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task in somebody's hands."""

    id: int
    public_id: str
    task_id: int
    user_id: int
    campaign_id: int
    slot_no: int | None
    display_order: tuple[int, ...]
    """Item numbers in the order in which they are shown."""
    guideline_id: int | None
    state: str
    active_ms: int
    idle_ms: int
    opened_at: int


def claim(connection: Connection, now: int, user: User, campaign: Campaign) -> Assignment | None:
    """The task that this labeler works on: the one in their hands, or the next in the queue; None where none is left.

    Raises:
        JudgmentError: the campaign is not open, or the labeler may not work on it (the database decides).
    """
    if campaign.state != "open":
        raise JudgmentError(f"'{campaign.name}' is not open")
    in_line(connection, user)  # two clicks at once would each get a task
    held = open_assignment(connection, user, campaign)
    if held is not None:
        extend_lease(connection, now, held, campaign)
        return held
    if _gold_is_due(connection, user, campaign) and (
        task_id := _next_gold(connection, user, campaign)
    ):
        return _assign(
            connection, now, user, campaign, task_id, _gold_slot(connection, now, user, task_id)
        )
    if (again := next_repeat(connection, now, user, campaign)) is not None:
        slot_no = _gold_slot(connection, now, user, again)
        return _assign(connection, now, user, campaign, again, slot_no)
    found = next_slot(connection, campaign_id=campaign.id, user_id=user.id, now=now)
    if found is None:
        return None
    _lease(connection, found.task_id, found.slot_no, user, now + campaign.lease_ms)
    return _assign(connection, now, user, campaign, found.task_id, found.slot_no)


def claim_if_possible(
    connection: Connection, now: int, user: User, campaign: Campaign
) -> Assignment | None:
    """The same for whoever has just handed in: whatever comes of it, what was handed in stays."""
    with suppress(JudgmentError, IntegrityError), connection.begin_nested():
        return claim(connection, now, user, campaign)
    return None


def assign_to(
    connection: Connection,
    now: int,
    user: User,
    campaign: Campaign,
    task_id: int,
    *,
    order: Sequence[int] | None = None,
) -> Assignment:
    """Give a certain task to a certain labeler, out of turn; the one they hold where it is that one.

    Args:
        order: item numbers as they were shown already, elsewhere; drawn here without it.

    Raises:
        JudgmentError: no slot of it is free, or they have had it before.
    """
    in_line(connection, user)
    found = free_slot(connection, task_id=task_id, now=now)
    if found is None:
        raise JudgmentError("no label is wanted of this task any more")
    _lease(connection, task_id, found.slot_no, user, now + campaign.lease_ms)
    return _assign(connection, now, user, campaign, task_id, found.slot_no, order)


def open_assignment(connection: Connection, user: User, campaign: Campaign) -> Assignment | None:
    """What this labeler has in hand of a campaign, oldest first."""
    row = connection.execute(_OPEN, {"user_id": user.id, "campaign_id": campaign.id}).first()
    return None if row is None else _assignment(row)


def get_assignment(
    connection: Connection, user: User, public_id: str, *, to_change: bool = False
) -> Assignment:
    """One of this labeler's own assignments: those of others are as if they were not there.

    Raises:
        JudgmentError: they have none with this id.
    """
    row = connection.execute(
        _MINE_TO_CHANGE if to_change else _MINE, {"public_id": public_id, "user_id": user.id}
    ).first()
    if row is None:
        raise JudgmentError("there is no such task in your hands")
    return _assignment(row)


def extend_lease(
    connection: Connection, now: int, assignment: Assignment, campaign: Campaign
) -> None:
    """Working on a task keeps it: the lease runs from now, where the slot was not taken over."""
    told = {"b_task": assignment.task_id, "b_user": assignment.user_id}
    connection.execute(_EXTEND, {**told, "b_until": now + campaign.lease_ms})


def skip(connection: Connection, now: int, user: User, public_id: str, reason: str) -> None:
    """Give a task back, with a reason; the slot is open again, and three skips stop the task for a researcher.

    What was submitted before the task was re-opened is withdrawn: kept, and counted no longer.

    Raises:
        JudgmentError: no reason was given, or the task is submitted.
    """
    if not reason.strip():
        raise JudgmentError("say why the task is skipped")
    in_line(connection, user)
    assignment = get_assignment(connection, user, public_id, to_change=True)
    if assignment.state == "submitted":
        raise JudgmentError("this task is submitted: re-open it under My work")
    connection.execute(
        update(assignments)
        .where(assignments.c.id == assignment.id)
        .values(state="skipped", skip_reason=reason.strip()[:500], slot_no=None)
    )
    connection.execute(
        update(submissions)
        .where(submissions.c.assignment_id == assignment.id, submissions.c.state == "final")
        .values(state="withdrawn")
    )
    connection.execute(
        update(slots)
        .where(slots.c.task_id == assignment.task_id, slots.c.assignee_id == user.id)
        .values(state="open", assignee_id=None, lease_until=None)
    )
    events.append(connection, now, user.public_id, "skip", public_id)
    skips = connection.execute(
        select(func.count()).where(
            assignments.c.task_id == assignment.task_id, assignments.c.state == "skipped"
        )
    ).scalar_one()
    if skips >= 3:
        connection.execute(
            update(tasks).where(tasks.c.id == assignment.task_id).values(state="stopped")
        )


def reopen(connection: Connection, now: int, user: User, public_id: str) -> Assignment:
    """Take a submission back into one's hands, within ten minutes; it counts until the next one replaces it.

    Raises:
        JudgmentError: it is too late, or it is none of the last twenty, or its campaign was closed.
    """
    in_line(connection, user)
    assignment = get_assignment(connection, user, public_id, to_change=True)
    recent = {row.assignment_id: row for row in last_submissions(connection, user)}
    row = recent.get(assignment.id)
    if row is None or now - row.submitted_at > UNDO_MS:
        raise JudgmentError("a submission can be re-opened for ten minutes, among the last twenty")
    if get_campaign(connection, campaign_id=assignment.campaign_id).state != "open":
        raise JudgmentError("the campaign was closed")
    connection.execute(
        update(assignments).where(assignments.c.id == assignment.id).values(state="open")
    )
    there = select(drafts.c.rev).where(drafts.c.assignment_id == assignment.id)
    if connection.execute(there).first() is None:
        connection.execute(
            drafts.insert().values(
                assignment_id=assignment.id, rev=1, payload=row.payload, saved_at=now
            )
        )
    events.append(connection, now, user.public_id, "reopen", public_id)
    return get_assignment(connection, user, public_id)


def last_submissions(connection: Connection, user: User) -> Sequence[Any]:
    """The last twenty final submissions with their assignment and campaign, newest first."""
    query = (
        select(
            submissions,
            assignments.c.public_id.label("assignment_public_id"),
            assignments.c.state.label("assignment_state"),
            campaigns.c.name.label("campaign"),
            campaigns.c.form,
            campaigns.c.state.label("campaign_state"),
        )
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .where(assignments.c.user_id == user.id, submissions.c.state == "final")
        .order_by(submissions.c.submitted_at.desc(), submissions.c.id.desc())
        .limit(UNDO_LAST)
    )
    return connection.execute(query).all()


def retake_slot(connection: Connection, now: int, assignment: Assignment) -> int | None:
    """A slot for work that lost its own: any that is free, or None (the work is surplus then)."""
    found = free_slot(connection, task_id=assignment.task_id, now=now)
    return None if found is None else found.slot_no


# --- inside -----------------------------------------------------------------------------------------------------


def _lease(connection: Connection, task_id: int, slot_no: int, user: User, until: int) -> None:
    told = {"b_task": task_id, "b_slot": slot_no, "b_user": user.id, "b_until": until}
    connection.execute(_LEASE, told)


def _assign(
    connection: Connection,
    now: int,
    user: User,
    campaign: Campaign,
    task_id: int,
    slot_no: int,
    order: Sequence[int] | None = None,
) -> Assignment:
    if order is None:
        drawn = [*items_of(connection, task_id)]
        random.Random(derive_seed(campaign.seed, "display", task_id, user.id)).shuffle(drawn)
        order = drawn
    shown = guideline_id(
        connection,
        purpose=campaign.guideline_purpose,
        locale=user.locale,
        version=campaign.guideline_version,
    )
    public_id = new_public_id()
    connection.execute(
        _NEW_ASSIGNMENT,
        {
            "public_id": public_id,
            "task_id": task_id,
            "user_id": user.id,
            "cohort": user.cohort,
            "slot_no": slot_no,
            "display_order": [*order],
            "guideline_id": shown,
            "state": "open",
            "opened_at": now,
        },
    )
    return get_assignment(connection, user, public_id)


def _gold_is_due(connection: Connection, user: User, campaign: Campaign) -> bool:
    """Once in every `gold_every` tasks, at a place of its own in each, so that no rhythm gives it away."""
    if campaign.gold_every is None:
        return False
    done = connection.execute(
        select(func.count())
        .select_from(assignments.join(tasks, tasks.c.id == assignments.c.task_id))
        .where(assignments.c.user_id == user.id, tasks.c.campaign_id == campaign.id)
    ).scalar_one()
    block, at = divmod(done, campaign.gold_every)
    return at == derive_seed(campaign.seed, "gold", user.id, block) % campaign.gold_every


def _next_gold(connection: Connection, user: User, campaign: Campaign) -> int | None:
    """A gold task that this labeler has not met: each is used once per labeler."""
    seen = exists().where(assignments.c.task_id == tasks.c.id, assignments.c.user_id == user.id)
    query = select(tasks.c.id).where(
        tasks.c.campaign_id == campaign.id, tasks.c.is_gold, tasks.c.state == "open", ~seen
    )
    return connection.execute(query.order_by(tasks.c.place).limit(1)).scalar_one_or_none()


def _gold_slot(connection: Connection, now: int, user: User, task_id: int) -> int:
    task = connection.execute(
        select(tasks, campaigns.c.lease_ms)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .where(tasks.c.id == task_id)
        .with_for_update(of=tasks)
    ).one()
    last = connection.execute(
        select(func.coalesce(func.max(slots.c.slot_no), 0)).where(slots.c.task_id == task_id)
    ).scalar_one()
    connection.execute(
        slots.insert().values(
            task_id=task_id,
            slot_no=last + 1,
            campaign_id=task.campaign_id,
            place=task.place,
            assignee_id=user.id,
            lease_until=now + task.lease_ms,
            state="leased",
        )
    )
    return last + 1


def _assignment(row: Any) -> Assignment:
    return Assignment(
        id=row.id,
        public_id=row.public_id,
        task_id=row.task_id,
        user_id=row.user_id,
        campaign_id=row.campaign_id,
        slot_no=row.slot_no,
        display_order=tuple(row.display_order),
        guideline_id=row.guideline_id,
        state=row.state,
        active_ms=row.active_ms,
        idle_ms=row.idle_ms,
        opened_at=row.opened_at,
    )
