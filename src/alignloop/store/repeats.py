"""Rankings that come again to the same labeler after some days, to see how far they agree with themselves.

A repeat is a task of its own with the outputs of the first, in another order on the page. It counts as gold does: it is
work like any other for whoever does it, stands in nobody's queue, and its label never leaves.
"""

from __future__ import annotations

import random
from typing import Any

from sqlalchemy import Connection, exists, func, select, update

from alignloop.seeds import derive_seed
from alignloop.store import supply
from alignloop.store.campaigns import Campaign
from alignloop.store.people import DAY, User, new_public_id
from alignloop.store.schema import assignments, submissions, task_items, tasks

AFTER_MS = 3 * DAY
"""Nobody remembers nine texts for so long."""
_LOOKED_AT = 50


def next_repeat(connection: Connection, now: int, user: User, campaign: Campaign) -> int | None:
    """A task that this labeler did some days ago, made anew for them alone where one is due; its id, or None.

    One is due once in every so many of their tasks, at a place of its own in each lot, as with gold. An evaluation has
    none: its tasks are fixed before the first vote.
    """
    if campaign.form != "rank" or campaign.frozen_at is not None:
        return None
    plan = supply.plan_of(connection, campaign) or {}
    percent = float(plan.get("repeat_percent", 0))
    if percent <= 0 or not _is_due(connection, user, campaign, max(round(100 / percent), 1)):
        return None
    first = _candidate(connection, now, user, campaign)
    return None if first is None else _copy(connection, campaign, first)


# --- inside -----------------------------------------------------------------------------------------------------


def _is_due(connection: Connection, user: User, campaign: Campaign, every: int) -> bool:
    done = connection.execute(
        select(func.count())
        .select_from(assignments.join(tasks, tasks.c.id == assignments.c.task_id))
        .where(assignments.c.user_id == user.id, tasks.c.campaign_id == campaign.id)
    ).scalar_one()
    block, at = divmod(done, every)
    return at == derive_seed(campaign.seed, "repeat", user.id, block) % every


def _candidate(connection: Connection, now: int, user: User, campaign: Campaign) -> int | None:
    """One of the tasks done longest ago that have not come again."""
    again, theirs = tasks.alias(), assignments.alias()
    came_again = exists().where(
        again.c.campaign_id == campaign.id,
        again.c.prompt_id == tasks.c.prompt_id,
        again.c.is_gold,
        theirs.c.task_id == again.c.id,
        theirs.c.user_id == user.id,
    )
    found = connection.execute(
        select(tasks.c.id)
        .join(assignments, assignments.c.task_id == tasks.c.id)
        .join(submissions, submissions.c.assignment_id == assignments.c.id)
        .where(
            assignments.c.user_id == user.id,
            tasks.c.campaign_id == campaign.id,
            tasks.c.is_gold.is_(False),
            submissions.c.state == "final",
            submissions.c.submitted_at <= now - AFTER_MS,
            ~came_again,
        )
        .order_by(submissions.c.submitted_at, tasks.c.id)
        .limit(_LOOKED_AT)
    )
    ids = list(found.scalars())
    if not ids:
        return None
    return random.Random(derive_seed(campaign.seed, "repeated", user.id, ids[0])).choice(ids)


def _copy(connection: Connection, campaign: Campaign, first: int) -> int:
    task = connection.execute(select(tasks).where(tasks.c.id == first)).one()
    last = connection.execute(
        select(func.max(tasks.c.place)).where(tasks.c.campaign_id == campaign.id)
    ).scalar_one()
    copied = connection.execute(
        tasks.insert()
        .values(
            public_id=new_public_id(),
            campaign_id=campaign.id,
            prompt_id=task.prompt_id,
            place=last + 1,
            is_gold=True,
            state="draft",
        )
        .returning(tasks.c.id)
    ).scalar_one()
    items: Any = connection.execute(
        select(task_items).where(task_items.c.task_id == first).order_by(task_items.c.item_no)
    )
    connection.execute(task_items.insert(), [{**row._mapping, "task_id": copied} for row in items])
    # It is in nobody's queue: whoever it was made for gets it at once.
    connection.execute(update(tasks).where(tasks.c.id == copied).values(state="stopped"))
    return copied
