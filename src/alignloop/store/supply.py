"""What campaigns are filled with: prompts, policies and their completions; and tasks added by the thousand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from alignloop.store.campaigns import Campaign
from alignloop.store.people import new_public_id
from alignloop.store.prompts import WITHHELD
from alignloop.store.schema import (
    campaigns,
    completions,
    flag_sets,
    guidelines,
    policies,
    prompts,
    settings,
    slots,
    task_items,
    tasks,
)

_BLOCK = 1000


# --- what there is ----------------------------------------------------------------------------------------------


def prompts_by_split(connection: Connection) -> dict[str, int]:
    """How many prompts each side has."""
    query = select(prompts.c.split, func.count()).group_by(prompts.c.split)
    return {row[0]: row[1] for row in connection.execute(query)}


def all_policies(connection: Connection) -> Sequence[Any]:
    """Every policy, newest first."""
    return connection.execute(select(policies).order_by(policies.c.id.desc())).all()


def all_flag_sets(connection: Connection) -> Sequence[Any]:
    """Every set of flags, oldest first."""
    return connection.execute(select(flag_sets).order_by(flag_sets.c.id)).all()


def guideline_versions(connection: Connection) -> list[tuple[str, int]]:
    """(purpose, version) of all guidelines, the newest first."""
    query = (
        select(guidelines.c.purpose, guidelines.c.version)
        .distinct()
        .order_by(guidelines.c.purpose.desc(), guidelines.c.version.desc())
    )
    return [(row.purpose, row.version) for row in connection.execute(query)]


def prompts_to_answer(connection: Connection, split: str) -> list[int]:
    """Ids of a side's prompts; not of those whose answers could never leave."""
    query = select(prompts.c.id).where(prompts.c.split == split, ~WITHHELD).order_by(prompts.c.id)
    return list(connection.execute(query).scalars())


def prompts_to_rank(
    connection: Connection, split: str, policy_ids: Sequence[int], least: int
) -> list[int]:
    """Ids of a side's prompts to which these policies wrote so many different texts."""
    query = (
        _written(split, policy_ids)
        .group_by(completions.c.prompt_id)
        .having(func.count(completions.c.text.distinct()) >= least)
        .order_by(completions.c.prompt_id)
    )
    return list(connection.execute(query).scalars())


def prompts_to_compare(connection: Connection, split: str, policy_ids: Sequence[int]) -> list[int]:
    """Ids of a side's prompts that all of these policies answered."""
    query = (
        _written(split, policy_ids)
        .group_by(completions.c.prompt_id)
        .having(func.count(completions.c.policy_id.distinct()) == len(set(policy_ids)))
        .order_by(completions.c.prompt_id)
    )
    return list(connection.execute(query).scalars())


def times_used(connection: Connection, campaign: Campaign) -> dict[int, int]:
    """Prompt -> in how many tasks of the same form and purpose it is already."""
    query = (
        select(tasks.c.prompt_id, func.count())
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .where(
            campaigns.c.form == campaign.form,
            campaigns.c.purpose == campaign.purpose,
            tasks.c.prompt_id.is_not(None),
        )
        .group_by(tasks.c.prompt_id)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def completions_of(
    connection: Connection, prompt_ids: Sequence[int], policy_ids: Sequence[int]
) -> dict[int, list[Any]]:
    """Prompt -> (id, policy_id, draw, text) of what these policies wrote, by policy and draw."""
    found: dict[int, list[Any]] = {prompt: [] for prompt in prompt_ids}
    query = (
        select(
            completions.c.id,
            completions.c.prompt_id,
            completions.c.policy_id,
            completions.c.draw,
            completions.c.text,
        )
        .where(completions.c.prompt_id.in_(prompt_ids), completions.c.policy_id.in_(policy_ids))
        .order_by(completions.c.prompt_id, completions.c.policy_id, completions.c.draw)
    )
    for row in connection.execute(query):
        found[row.prompt_id].append(row)
    return found


# --- what is planned --------------------------------------------------------------------------------------------


def keep_plan(connection: Connection, campaign: Campaign, plan: dict[str, Any]) -> None:
    """Keep what a draft is to be filled with when it opens."""
    connection.execute(settings.delete().where(settings.c.key == _key(campaign)))
    connection.execute(settings.insert().values(key=_key(campaign), value=plan))


def plan_of(connection: Connection, campaign: Campaign) -> dict[str, Any] | None:
    """What a campaign is, or was, to be filled with; None where it was filled by other means."""
    query = select(settings.c.value).where(settings.c.key == _key(campaign))
    return connection.execute(query).scalar_one_or_none()


# --- tasks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task on its way in."""

    prompt_id: int | None
    completion_ids: tuple[int, ...] = ()
    """Its outputs; items are numbered from 1 in this order."""
    labels: int = 1
    """How many are wanted."""


def add_tasks(connection: Connection, campaign: Campaign, new: Sequence[NewTask]) -> list[int]:
    """Tasks with their outputs and open slots, ready to be handed out in this order; returns their ids.

    Raises:
        JudgmentError, at the end of the transaction: the split, the number of outputs or a frozen campaign forbid it.
    """
    last = connection.execute(
        select(func.coalesce(func.max(tasks.c.place), 0)).where(tasks.c.campaign_id == campaign.id)
    ).scalar_one()
    ids: list[int] = []
    for start in range(0, len(new), _BLOCK):
        ids += _add_block(connection, campaign, new[start : start + _BLOCK], last + start)
    return ids


# --- inside -----------------------------------------------------------------------------------------------------


def _add_block(
    connection: Connection, campaign: Campaign, new: Sequence[NewTask], after: int
) -> list[int]:
    rows: list[dict[str, Any]] = [
        {
            "public_id": new_public_id(),
            "campaign_id": campaign.id,
            "prompt_id": task.prompt_id,
            "place": place,
            "is_gold": False,
            "state": "draft",
        }
        for place, task in enumerate(new, start=after + 1)
    ]
    inserted = tasks.insert().returning(tasks.c.id, sort_by_parameter_order=True)
    ids = list(connection.execute(inserted, rows).scalars())
    items = [
        {"task_id": task_id, "item_no": item, "prompt_id": task.prompt_id, "completion_id": text}
        for task_id, task in zip(ids, new, strict=True)
        for item, text in enumerate(task.completion_ids, start=1)
    ]
    if items:
        connection.execute(task_items.insert(), items)
    places = (tasks.c.place > after, tasks.c.place <= after + len(new))
    connection.execute(
        update(tasks).where(tasks.c.campaign_id == campaign.id, *places).values(state="open")
    )
    connection.execute(
        slots.insert(),
        [
            {
                "task_id": task_id,
                "slot_no": number,
                "campaign_id": campaign.id,
                "place": row["place"],
                "state": "open",
            }
            for task_id, row, task in zip(ids, rows, new, strict=True)
            for number in range(1, task.labels + 1)
        ],
    )
    return ids


def _written(split: str, policy_ids: Sequence[int]) -> Any:
    return (
        select(completions.c.prompt_id)
        .join(prompts, prompts.c.id == completions.c.prompt_id)
        .where(prompts.c.split == split, ~WITHHELD, completions.c.policy_id.in_(policy_ids))
    )


def _key(campaign: Campaign) -> str:
    return f"campaign/{campaign.public_id}"
