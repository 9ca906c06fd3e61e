"""Filling a campaign: prompts to answer, or a policy's answers to rank. Every task stands in the store afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from alignloop.data.records import Completions, Prompt
from alignloop.errors import JudgmentError
from alignloop.store import campaigns, prompts
from alignloop.store.campaigns import Campaign


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of what was to be added."""

    tasks: int
    merged: int
    """Outputs that were the same text as another one of their task, and are shown once."""
    too_few: int
    """Prompts that were left out because fewer distinct outputs than the campaign's least K remained."""


def add_completions(
    connection: Connection,
    now: int,
    campaign: Campaign,
    items: Sequence[Completions],
    *,
    split: str,
    policy_sha256: str,
    sampling: dict[str, object] | None = None,
    advance: Callable[[int], object] = lambda done: None,
) -> tuple[list[int], Filled]:
    """A task per prompt, with its outputs in the given order; identical texts are merged before anybody sees them.

    Args:
        split: side of the prompts that the store does not know yet.
        policy_sha256: hash of the artefact that wrote them; together with each completion's model it names a policy.

    Returns:
        ids of the tasks, in the order of those items that became one; and the counts.
    """
    policies: dict[str, int] = {}
    tasks: list[int] = []
    merged = too_few = 0
    for item in items:
        advance(1)
        distinct = {completion.text: completion for completion in reversed(item.completions)}
        outputs = [one for one in item.completions if distinct.get(one.text) is one]
        merged += len(item.completions) - len(outputs)
        if len(outputs) < campaign.k_min:
            too_few += 1
            continue
        prompt = prompts.add_record(connection, now, item.prompt, split)
        ids: list[int] = []
        for completion in outputs[: campaign.k_max]:
            if completion.model not in policies:
                policies[completion.model] = prompts.add_policy(
                    connection,
                    now,
                    name=completion.model,
                    sha256=policy_sha256,
                    sampling=sampling or {},
                )
            ids += prompts.add_completions(
                connection, prompt, policies[completion.model], [completion]
            )
        tasks.append(campaigns.add_task(connection, campaign, prompt_id=prompt, completion_ids=ids))
    return tasks, Filled(len(tasks), merged, too_few)


def add_prompts_to_answer(
    connection: Connection, campaign: Campaign, prompt_ids: Sequence[int]
) -> int:
    """A task per prompt of the store, to be answered by labelers.

    Raises:
        JudgmentError: the campaign asks for something else.
    """
    if campaign.form != "demonstrate":
        raise JudgmentError(f"'{campaign.name}' does not ask for demonstrations")
    for prompt_id in prompt_ids:
        campaigns.add_task(connection, campaign, prompt_id=prompt_id)
    return len(prompt_ids)


def add_prompts_to_write(connection: Connection, campaign: Campaign, count: int) -> int:
    """So many tasks in each of which a labeler writes a prompt.

    Raises:
        JudgmentError: the campaign asks for something else.
    """
    if campaign.form != "write":
        raise JudgmentError(f"'{campaign.name}' does not ask for prompts")
    for _ in range(count):
        campaigns.add_task(connection, campaign, prompt_id=None)
    return count


def unused_prompts(
    connection: Connection, campaign: Campaign, *, split: str, limit: int | None
) -> list[tuple[int, Prompt]]:
    """Prompts of one side that no task of this campaign has, oldest first: (id, record)."""
    taken = campaigns.prompts_in(connection, campaign)
    found: list[tuple[int, Prompt]] = []
    for row in prompts.each_prompt(connection, splits=[split]):
        if limit is not None and len(found) >= limit:
            break
        if row.id not in taken:
            found.append((row.id, prompts.prompt_record(row)))
    return found
