"""Campaigns and their tasks: what is to be labeled, by whom, how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, case, func, select, update

from alignloop.errors import JudgmentError
from alignloop.store import events
from alignloop.store.correspondence import latest_version
from alignloop.store.flag_sets import TABLE_3, TABLE_3_FLAGS, add_flag_set
from alignloop.store.gold import Gold, write_answers
from alignloop.store.people import User, new_public_id
from alignloop.store.schema import (
    assignments,
    campaigns,
    completions,
    policies,
    prompts,
    slots,
    task_items,
    tasks,
)

Form = Literal["demonstrate", "write", "rank", "compare", "toxicity"]
Purpose = Literal["training", "evaluation", "screening", "practice"]
State = Literal["draft", "open", "closed"]

# What every page of a task needs: put together once.
_BY_ID = select(campaigns).where(campaigns.c.id == bindparam("campaign_id"))
_TASK = (
    select(
        tasks,
        prompts.c.text,
        prompts.c.history,
        prompts.c.examples,
        prompts.c.kind,
        prompts.c.language,
    )
    .outerjoin(prompts, prompts.c.id == tasks.c.prompt_id)
    .where(tasks.c.id == bindparam("task_id"))
)
_ITEMS = (
    select(task_items.c.item_no, completions.c.text)
    .join(completions, completions.c.id == task_items.c.completion_id)
    .where(task_items.c.task_id == bindparam("task_id"))
    .order_by(task_items.c.item_no)
)


@dataclass(frozen=True, slots=True)
class Campaign:
    """One body of work that is asked for."""

    id: int
    public_id: str
    name: str
    form: Form
    purpose: Purpose
    cohort: Literal["training", "heldout", "users", "any"]
    state: State
    k_min: int
    k_max: int
    overlap: int
    lease_ms: int
    gold_every: int | None
    asks_ratings: bool
    flag_set_id: int | None
    guideline_version: int
    price_per_hour: int | None
    currency: str
    dialogue: bool
    planned: int | None
    seed: int
    created_at: int
    frozen_at: int | None
    closed_at: int | None

    @property
    def guideline_purpose(self) -> Literal["training", "evaluation"]:
        """Whose priorities hold: in training helpfulness first, in evaluation truthfulness and harmlessness."""
        return "evaluation" if self.purpose == "evaluation" else "training"

    @property
    def is_paused(self) -> bool:
        """Whether it goes on later: it was stopped, with no date of closing."""
        return self.state == "closed" and self.closed_at is None

    @property
    def phase(self) -> Literal["draft", "open", "paused", "closed"]:
        """The state as people call it."""
        return "paused" if self.is_paused else self.state

    @property
    def is_blind(self) -> bool:
        """Whether nobody may know which model wrote what: an evaluation that was not closed for good."""
        return self.purpose == "evaluation" and (self.state != "closed" or self.is_paused)


def add_campaign(
    connection: Connection,
    now: int,
    actor: str,
    *,
    name: str,
    form: Form,
    purpose: Purpose = "training",
    cohort: str | None = None,
    k: tuple[int, int] = (4, 9),
    overlap: int = 1,
    lease_minutes: float = 60,
    gold_every: int | None = None,
    asks_ratings: bool | None = None,
    guideline_version: int | None = None,
    price_per_hour: int | None = None,
    currency: str = "USD",
    dialogue: bool = False,
    planned: int | None = None,
    seed: int = 1,
) -> Campaign:
    """A campaign in draft: tasks are added, then it is opened.

    Args:
        k: least and most outputs of a task, where it has any; 2 for comparisons.
        guideline_version: the one in force without it.
        price_per_hour: in hundredths of the currency.

    Raises:
        JudgmentError: the name is taken, or the settings contradict one another.
    """
    if form == "compare":
        k = (2, 2)
    elif form in ("demonstrate", "write"):
        k = (1, 1)
    has_ratings = form == "rank" if asks_ratings is None else asks_ratings
    flag_set = add_flag_set(connection, TABLE_3, TABLE_3_FLAGS) if has_ratings else None
    public_id = new_public_id()
    taken = connection.execute(select(campaigns.c.id).where(campaigns.c.name == name)).first()
    if taken is not None:
        raise JudgmentError(f"there is a campaign called '{name}'; choose another name")
    connection.execute(
        campaigns.insert().values(
            public_id=public_id,
            name=name,
            form=form,
            purpose=purpose,
            cohort=cohort or ("training" if purpose == "training" else "any"),
            state="draft",
            k_min=k[0],
            k_max=k[1],
            overlap=overlap,
            lease_ms=int(lease_minutes * 60_000),
            gold_every=gold_every,
            asks_ratings=has_ratings,
            flag_set_id=flag_set,
            guideline_version=guideline_version
            or max(
                1,
                latest_version(connection, "evaluation" if purpose == "evaluation" else "training"),
            ),
            price_per_hour=price_per_hour,
            currency=currency,
            dialogue=dialogue,
            planned=planned,
            seed=seed,
            created_at=now,
        )
    )
    events.append(
        connection, now, actor, "add campaign", public_id, name=name, form=form, purpose=purpose
    )
    return get_campaign(connection, public_id=public_id)


def get_campaign(
    connection: Connection,
    *,
    public_id: str | None = None,
    name: str | None = None,
    campaign_id: int | None = None,
) -> Campaign:
    """The campaign with this id or name.

    Raises:
        JudgmentError: there is none.
    """
    if campaign_id is not None:
        row = connection.execute(_BY_ID, {"campaign_id": campaign_id}).first()
    else:
        by = campaigns.c.name == name if name is not None else campaigns.c.public_id == public_id
        row = connection.execute(select(campaigns).where(by)).first()
    if row is None:
        raise JudgmentError(f"there is no campaign '{name or public_id or campaign_id}'")
    return _campaign(row)


def find_campaign(connection: Connection, name: str) -> Campaign | None:
    """The campaign of this name, if there is one."""
    row = connection.execute(select(campaigns).where(campaigns.c.name == name)).first()
    return None if row is None else _campaign(row)


def all_campaigns(connection: Connection, *, state: State | None = None) -> list[Campaign]:
    """Every campaign, newest first."""
    query = select(campaigns).order_by(campaigns.c.id.desc())
    if state is not None:
        query = query.where(campaigns.c.state == state)
    return [_campaign(row) for row in connection.execute(query)]


def set_state(
    connection: Connection, now: int, actor: str, campaign: Campaign, state: State
) -> Campaign:
    """Open or close a campaign.

    An evaluation freezes its tasks when it opens, which is before its first vote, and stays closed once it was.

    Raises:
        JudgmentError: the database refuses it, or an evaluation does not have the tasks that were planned.
    """
    changes: dict[str, Any] = {"state": state}
    if state == "open" and campaign.purpose == "evaluation" and campaign.frozen_at is None:
        there = count_tasks(connection, campaign)
        if campaign.planned is not None and there != campaign.planned:
            raise JudgmentError(
                f"'{campaign.name}' was planned with {campaign.planned} tasks and has {there}; "
                "the number of votes is fixed before the first one"
            )
        changes["frozen_at"] = now
    if state == "closed":
        changes["closed_at"] = now
    connection.execute(update(campaigns).where(campaigns.c.id == campaign.id).values(**changes))
    events.append(connection, now, actor, f"{state} campaign", campaign.public_id)
    return get_campaign(connection, campaign_id=campaign.id)


def add_task(
    connection: Connection,
    campaign: Campaign,
    *,
    prompt_id: int | None,
    description: str | None = None,
    completion_ids: Sequence[int] = (),
    gold: Gold | None = None,
    overlap: int | None = None,
) -> int:
    """A task with its outputs and open slots, ready to be handed out; items are numbered from 1 in the given order.

    Raises:
        JudgmentError, at the end of the transaction: the split, the number of outputs or a frozen campaign forbid it.
    """
    place = connection.execute(
        select(func.coalesce(func.max(tasks.c.place), 0)).where(tasks.c.campaign_id == campaign.id)
    ).scalar_one()
    task_id = connection.execute(
        tasks.insert()
        .values(
            public_id=new_public_id(),
            campaign_id=campaign.id,
            prompt_id=prompt_id,
            description=description,
            place=place + 1,
            is_gold=gold is not None,
            state="draft",
        )
        .returning(tasks.c.id)
    ).scalar_one()
    if completion_ids:
        connection.execute(
            task_items.insert(),
            [
                {
                    "task_id": task_id,
                    "item_no": number,
                    "prompt_id": prompt_id,
                    "completion_id": completion,
                }
                for number, completion in enumerate(completion_ids, start=1)
            ],
        )
    if gold is not None:
        write_answers(connection, task_id, gold)
    connection.execute(update(tasks).where(tasks.c.id == task_id).values(state="open"))
    # A gold task has no slots of its own: everybody meets it, once, as `queue` decides.
    wanted = 0 if gold is not None else (overlap or campaign.overlap)
    if wanted:
        connection.execute(
            slots.insert(),
            [
                {
                    "task_id": task_id,
                    "slot_no": number,
                    "campaign_id": campaign.id,
                    "place": place + 1,
                    "state": "open",
                }
                for number in range(1, wanted + 1)
            ],
        )
    return task_id


def prompts_in(connection: Connection, campaign: Campaign) -> set[int]:
    """Ids of the prompts that a campaign's tasks have."""
    query = select(tasks.c.prompt_id).where(
        tasks.c.campaign_id == campaign.id, tasks.c.prompt_id.is_not(None)
    )
    return set(connection.execute(query).scalars())


def count_tasks(connection: Connection, campaign: Campaign) -> int:
    """How many tasks a campaign has, gold ones apart."""
    query = (
        select(func.count())
        .select_from(tasks)
        .where(tasks.c.campaign_id == campaign.id, tasks.c.is_gold.is_(False))
    )
    return connection.execute(query).scalar_one()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign is, in labels."""

    wanted: int
    done: int
    leased: int
    surplus: int


def progress_of(connection: Connection, campaign: Campaign) -> Progress:
    """How far a campaign is."""
    row = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(case((slots.c.state == "done", 1), else_=0)), 0),
            func.coalesce(func.sum(case((slots.c.state == "leased", 1), else_=0)), 0),
        )
        .select_from(slots.join(tasks, tasks.c.id == slots.c.task_id))
        .where(slots.c.campaign_id == campaign.id, tasks.c.is_gold.is_(False))
    ).one()
    surplus = connection.execute(
        select(func.count())
        .select_from(assignments.join(tasks, tasks.c.id == assignments.c.task_id))
        .where(
            tasks.c.campaign_id == campaign.id,
            assignments.c.slot_no.is_(None),
            assignments.c.state == "submitted",
        )
    ).scalar_one()
    return Progress(row[0], row[1], row[2], surplus)


# --- what a task shows ------------------------------------------------------------------------------------------


def task_of(connection: Connection, task_id: int) -> Row[Any]:
    """A task with its prompt's columns (none of them where there is no prompt)."""
    return connection.execute(_TASK, {"task_id": task_id}).one()


def items_of(connection: Connection, task_id: int) -> dict[int, str]:
    """Item number -> text. No model, no policy: blind means blind."""
    return {row.item_no: row.text for row in connection.execute(_ITEMS, {"task_id": task_id})}


def models_of(connection: Connection, campaign: Campaign, reader: User | None) -> dict[int, str]:
    """Completion id -> policy's name, of a campaign whose names may be known.

    Raises:
        JudgmentError: an evaluation that is not closed yet.
    """
    if campaign.is_blind and reader is not None:
        raise JudgmentError(
            f"'{campaign.name}' is not closed: which model wrote what is not shown before"
        )
    query = (
        select(completions.c.id, policies.c.name)
        .join(policies, policies.c.id == completions.c.policy_id)
        .join(task_items, task_items.c.completion_id == completions.c.id)
        .join(tasks, tasks.c.id == task_items.c.task_id)
        .where(tasks.c.campaign_id == campaign.id)
    )
    return {row.id: row.name for row in connection.execute(query)}


def _campaign(row: Any) -> Campaign:
    return Campaign(**dict(row._mapping))
