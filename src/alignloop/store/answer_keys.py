"""Which tasks get right answers: in practice and screening they do themselves, elsewhere a copy of them does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, exists, func, select, update

from alignloop.errors import JudgmentError
from alignloop.store import campaigns, events, flag_sets
from alignloop.store.campaigns import Campaign
from alignloop.store.gold import Gold, write_answers
from alignloop.store.schema import (
    assignments,
    gold_flags,
    gold_pairs,
    prompts,
    slots,
    task_items,
    tasks,
)


def tasks_without(connection: Connection, campaign: Campaign, limit: int) -> Sequence[Any]:
    """Tasks of a campaign that could be given right answers, in their order, with the prompt's text.

    In practice and screening these are all that have none; elsewhere those that nobody has seen yet.
    """
    return connection.execute(_without(campaign).order_by(tasks.c.place).limit(limit)).all()


def _without(campaign: Campaign) -> Any:
    query = (
        select(tasks.c.id, tasks.c.public_id, prompts.c.text, prompts.c.history)
        .join(prompts, prompts.c.id == tasks.c.prompt_id)
        .where(
            tasks.c.campaign_id == campaign.id,
            tasks.c.state == "open",
            tasks.c.is_gold.is_(False),
            ~exists().where(gold_pairs.c.task_id == tasks.c.id),
            ~exists().where(gold_flags.c.task_id == tasks.c.id),
        )
    )
    return query if teaches(campaign) else query.where(~_was_seen())


def find_task_without(connection: Connection, campaign: Campaign, task: str) -> Any:
    """One of those tasks, by the id that a browser sees; None where it has right answers, or somebody has seen it.

    Raises:
        JudgmentError: the campaign has no such task.
    """
    query = select(tasks.c.id).where(tasks.c.public_id == task, tasks.c.campaign_id == campaign.id)
    if connection.execute(query).first() is None:
        raise JudgmentError(f"'{campaign.name}' has no task {task}")
    return connection.execute(_without(campaign).where(tasks.c.public_id == task)).first()


def may_have_answers(campaign: Campaign) -> bool:
    """Whether tasks of a campaign can be given right answers: rankings, and, where a copy has to join, not closed."""
    return (
        campaign.form == "rank"
        and campaign.purpose != "evaluation"
        and (teaches(campaign) or campaign.state != "closed")
    )


def teaches(campaign: Campaign) -> bool:
    """Practice and screening: everybody does every task, so the tasks themselves have the answers."""
    return campaign.purpose in ("practice", "screening")


def count_gold(connection: Connection, campaign: Campaign) -> int:
    """Tasks of a campaign that have right answers."""
    query = (
        select(func.count())
        .select_from(tasks)
        .where(
            tasks.c.campaign_id == campaign.id,
            exists().where(gold_pairs.c.task_id == tasks.c.id)
            | exists().where(gold_flags.c.task_id == tasks.c.id),
        )
    )
    return connection.execute(query).scalar_one()


def give_answers(
    connection: Connection, now: int, actor: str, campaign: Campaign, task: str, answers: Gold
) -> int:
    """Say what the right answers to a task are; returns the id of the task that has them now.

    In practice and screening the task itself gets them. In a campaign for training a gold task with the same outputs
    takes its place, which labelers meet between the others, each of them once, and whose labels never leave.

    Raises:
        JudgmentError: it has right answers already, somebody has seen it, or it is of an evaluation.
    """
    if campaign.purpose == "evaluation":
        raise JudgmentError("an evaluation has no right answers")
    row = connection.execute(
        select(tasks).where(tasks.c.public_id == task, tasks.c.campaign_id == campaign.id)
    ).first()
    if row is None:
        raise JudgmentError(f"'{campaign.name}' has no task {task}")
    items = _items(connection, row.id)
    named = {item for pair in answers.relations or {} for item in pair}
    named |= {item for item, _ in answers.flags or {}}
    if not named <= set(range(1, len(items) + 1)):
        raise JudgmentError(f"task {task} has {len(items)} outputs; the answers name others")
    if unknown := {key for _, key in answers.flags or {}} - set(
        flag_sets.flags_of(connection, campaign.flag_set_id)
    ):
        raise JudgmentError(f"'{campaign.name}' does not ask about {', '.join(sorted(unknown))}")
    if row.is_gold or _has_answers(connection, row.id):
        raise JudgmentError(f"task {task} has right answers already; they are never changed")
    if teaches(campaign):
        write_answers(connection, row.id, answers)
        gold_id = row.id
    else:
        seen = select(tasks.c.id).where(tasks.c.id == row.id, _was_seen())
        if connection.execute(seen).first() is not None:
            raise JudgmentError(
                f"somebody has task {task} already; choose one that nobody has seen"
            )
        connection.execute(delete(slots).where(slots.c.task_id == row.id))
        connection.execute(update(tasks).where(tasks.c.id == row.id).values(state="stopped"))
        gold_id = campaigns.add_task(
            connection, campaign, prompt_id=row.prompt_id, completion_ids=items, gold=answers
        )
    events.append(connection, now, actor, "set gold", task)
    return gold_id


# --- inside -----------------------------------------------------------------------------------------------------


def _was_seen() -> Any:
    return exists().where(assignments.c.task_id == tasks.c.id)


def _has_answers(connection: Connection, task_id: int) -> bool:
    return any(
        connection.execute(select(table.c.task_id).where(table.c.task_id == task_id)).first()
        for table in (gold_pairs, gold_flags)
    )


def _items(connection: Connection, task_id: int) -> list[int]:
    query = (
        select(task_items.c.completion_id)
        .where(task_items.c.task_id == task_id)
        .order_by(task_items.c.item_no)
    )
    return list(connection.execute(query).scalars())
