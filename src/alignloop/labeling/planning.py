"""Campaigns as the command line asks for them: made, or added to, and opened."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from alignloop.errors import JudgmentError
from alignloop.labeling.drawing import Plan, fill
from alignloop.labeling.filling import add_prompts_to_answer, add_prompts_to_write, unused_prompts
from alignloop.store import campaigns, prompts
from alignloop.store.campaigns import Campaign, Form, Purpose


def make_campaign(
    connection: Connection,
    now: int,
    actor: str,
    *,
    name: str,
    form: Form,
    purpose: Purpose = "training",
    cohort: str | None = None,
    k_min: int = 4,
    k_max: int = 9,
    overlap: int = 1,
    lease_minutes: float = 60.0,
    no_ratings: bool = False,
    dialogue: bool = False,
    price: float | None = None,
    currency: str = "USD",
    planned: int | None = None,
    prompt_count: int | None = None,
    descriptions: Sequence[str] = (),
    split: str | None = None,
    policies: Sequence[str] = (),
    gold_every: int | None = None,
    is_open: bool = False,
    seed: int = 1,
) -> str:
    """Make a campaign, or find the one of this name; add prompts, open it; returns what to tell.

    Raises:
        JudgmentError: settings contradict one another, or the store has no prompts of that side left.
    """
    if descriptions and form != "write":
        raise JudgmentError("descriptions are for prompts to be written (--form write)")
    campaign = campaigns.find_campaign(connection, name)
    told: list[str] = []
    if campaign is None:
        campaign = campaigns.add_campaign(
            connection,
            now,
            actor,
            name=name,
            form=form,
            purpose=purpose,
            cohort=cohort,
            k=(k_min, k_max),
            overlap=overlap,
            lease_minutes=lease_minutes,
            asks_ratings=None if form == "rank" and not no_ratings else False,
            price_per_hour=None if price is None else round(price * 100),
            currency=currency,
            dialogue=dialogue,
            gold_every=gold_every,
            planned=planned,
            seed=seed,
        )
        told.append(f"campaign '{name}' made")
        if policies:
            ids = tuple(prompts.find_policy(connection, policy) for policy in policies)
            side = split or ("test" if purpose == "evaluation" else "train")
            plan = Plan(side, prompt_count, ids)
            told.append(f"{fill(connection, campaign, plan)} tasks added")
            prompt_count = None
    elif policies:
        raise JudgmentError(
            f"'{name}' is there already, and its outputs are fixed; choose another name"
        )
    elif campaign.form != form:
        raise JudgmentError(f"'{name}' is a campaign to {campaign.form}, not to {form}")
    count = prompt_count or len(descriptions)
    if count:
        added = _add_prompts(connection, campaign, count, split or "train", descriptions)
        told.append(f"{added} tasks added")
    if is_open:
        campaigns.set_state(connection, now, actor, campaign, "open")
        told.append("open")
    return ", ".join(told) or f"'{name}' is there already"


def _add_prompts(
    connection: Connection,
    campaign: Campaign,
    count: int,
    split: str,
    descriptions: Sequence[str],
) -> int:
    if campaign.form in ("rank", "compare", "toxicity"):
        raise JudgmentError(
            f"'{campaign.name}' shows outputs: name the policies that wrote them (--policy)"
        )
    if campaign.form == "write":
        return add_prompts_to_write(connection, campaign, count, descriptions)
    found = unused_prompts(connection, campaign, split=split, limit=count)
    if not found:
        raise JudgmentError(
            f"the store has no prompts of the {split} side that '{campaign.name}' does not have; "
            "`alignloop prompts import` brings some in"
        )
    return add_prompts_to_answer(connection, campaign, [prompt_id for prompt_id, _ in found])
