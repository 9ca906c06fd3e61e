"""Tasks drawn for a campaign: which prompts, which completions in which order, and which tasks several people do.

Everything is drawn by seeds that come from the campaign's own, so the same store and plan make the same tasks. Of the
prompts those come first that fewest tasks of the same kind have had.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from alignloop.errors import JudgmentError
from alignloop.seeds import derive_seed
from alignloop.store import supply
from alignloop.store.campaigns import Campaign
from alignloop.store.supply import NewTask

SHARED_LABELS = 3
"""Labels of a shared task, at least: three people are three pairs of them to compare."""
_BLOCK = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What a draft is to be filled with."""

    split: str = "train"
    count: int | None = None
    """How many tasks; None: one per prompt that there is."""
    policy_ids: tuple[int, ...] = ()
    shared_percent: float = 0.0
    """Share of the tasks that several do."""
    repeat_percent: float = 0.0
    """Share of a labeler's rankings that come again after some days."""

    def as_json(self) -> dict[str, Any]:
        """For the store."""
        return {
            "split": self.split,
            "count": self.count,
            "policies": list(self.policy_ids),
            "shared_percent": self.shared_percent,
            "repeat_percent": self.repeat_percent,
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Plan:
        """Back from the store."""
        return cls(
            kept["split"],
            kept["count"],
            tuple(kept["policies"]),
            float(kept["shared_percent"]),
            float(kept["repeat_percent"]),
        )


class TooFewError(JudgmentError):
    """The store has fewer prompts of this kind than a campaign was planned with."""

    def __init__(self, wanted: int, there: int) -> None:
        super().__init__(
            f"{wanted} tasks were planned, and the store has prompts and completions for {there}; "
            "sample completions for more prompts, or plan fewer tasks"
        )
        self.there = there


def fill(connection: Connection, campaign: Campaign, plan: Plan) -> int:
    """Draw a draft's tasks and add them; returns how many.

    Raises:
        TooFewError: there is nothing to fill it with, or too little for an evaluation, whose size was fixed before.
    """
    new = draw(connection, campaign, plan)
    wanted = campaign.planned if campaign.purpose == "evaluation" else None
    if not new or (wanted is not None and len(new) < wanted):
        raise TooFewError(wanted or plan.count or 1, len(new))
    supply.add_tasks(connection, campaign, new)
    return len(new)


def draw(connection: Connection, campaign: Campaign, plan: Plan) -> list[NewTask]:
    """The tasks that a plan comes to, in the order in which they are handed out; fewer where the store has no more."""
    count = plan.count if campaign.planned is None else campaign.planned
    match campaign.form:
        case "write":
            found: list[NewTask] = [NewTask(None)] * (count or 0)
        case "demonstrate":
            ids = supply.prompts_to_answer(connection, plan.split)
            found = [NewTask(prompt) for prompt in _in_turn(connection, campaign, ids)][:count]
        case "compare":
            ids = supply.prompts_to_compare(connection, plan.split, plan.policy_ids)
            found = _drawn(connection, campaign, plan, ids, count)
        case _:
            ids = supply.prompts_to_rank(connection, plan.split, plan.policy_ids, campaign.k_min)
            found = _drawn(connection, campaign, plan, ids, count)
    return _shared(campaign, plan, found)


def base_labels(campaign: Campaign, is_shared: bool) -> int:
    """Labels wanted of a task."""
    return max(campaign.overlap, SHARED_LABELS) if is_shared else campaign.overlap


# --- inside -----------------------------------------------------------------------------------------------------


def _in_turn(connection: Connection, campaign: Campaign, ids: Sequence[int]) -> list[int]:
    """By how often they were used; among equals by lot."""
    used = supply.times_used(connection, campaign)
    shuffled = list(ids)
    random.Random(derive_seed(campaign.seed, "prompts", campaign.id)).shuffle(shuffled)
    return sorted(shuffled, key=lambda prompt: used.get(prompt, 0))


def _drawn(
    connection: Connection, campaign: Campaign, plan: Plan, ids: Sequence[int], count: int | None
) -> list[NewTask]:
    found: list[NewTask] = []
    order = _in_turn(connection, campaign, ids)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        written = supply.completions_of(connection, block, plan.policy_ids)
        for prompt in block:
            if count is not None and len(found) >= count:
                return found
            generator = random.Random(derive_seed(campaign.seed, "outputs", campaign.id, prompt))
            outputs = (
                _first_of_each(written[prompt], generator)
                if campaign.form == "compare"
                else _distinct(written[prompt], campaign, generator)
            )
            if len(outputs) >= campaign.k_min:
                found.append(NewTask(prompt, outputs))
    return found


def _distinct(
    written: Sequence[Any], campaign: Campaign, generator: random.Random
) -> tuple[int, ...]:
    """K of the different texts, K drawn first: it is never read off what a model happened to write."""
    k = generator.randint(campaign.k_min, campaign.k_max)
    shuffled = list(written)
    generator.shuffle(shuffled)
    by_text: dict[str, int] = {}
    for row in shuffled:
        by_text.setdefault(row.text, row.id)
    return tuple(by_text.values())[:k]


def _first_of_each(written: Sequence[Any], generator: random.Random) -> tuple[int, ...]:
    """The first answer of either policy, in an order drawn by lot; nothing where the two are the same text."""
    firsts: dict[int, Any] = {}
    for row in written:
        firsts.setdefault(row.policy_id, row)
    pair = list(firsts.values())
    generator.shuffle(pair)
    return tuple(row.id for row in pair) if len({row.text for row in pair}) == 2 else ()


def _shared(campaign: Campaign, plan: Plan, found: Sequence[NewTask]) -> list[NewTask]:
    """The tasks with the number of labels that each is to get."""
    places = list(range(len(found)))
    random.Random(derive_seed(campaign.seed, "shared", campaign.id)).shuffle(places)
    shared = set(places[: round(len(found) * plan.shared_percent / 100)])
    return [
        NewTask(task.prompt_id, task.completion_ids, base_labels(campaign, at in shared))
        for at, task in enumerate(found)
    ]
