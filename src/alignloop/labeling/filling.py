"""Filling a campaign: prompts to answer, or a policy's answers to rank. Every task stands in the store afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from alignloop.data.jsonl import read_records
from alignloop.data.records import Completions, Prompt
from alignloop.errors import JudgmentError
from alignloop.progress import progress
from alignloop.runs.artifact import open_artifact
from alignloop.store import campaigns, prompts
from alignloop.store.campaigns import Campaign
from alignloop.store.project import open_project


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


SIDES = {"rankings": "train", "rl": "train", "train": "train", "valid": "valid", "test": "test"}
"""File of a `prompts` artefact, or of demonstrations -> the side of the split that it holds."""


def fill_campaign(project: Path, name: str, completions: Path, files: Sequence[str]) -> str:
    """Make tasks of a ranking campaign from a `completions` artefact; returns what to tell.

    The campaign is made, as a draft with the paper's settings, where there is none of that name. Filling it again with
    the same artefact adds nothing.

    Raises:
        JudgmentError: the campaign asks for something else, or the prompts lie on a side that it does not take.
    """
    source = open_artifact(completions, "completions")
    store = open_project(project).open()
    now = time.time_ns() // 1_000_000
    try:
        with store.write() as connection:
            campaign = campaigns.find_campaign(connection, name) or campaigns.add_campaign(
                connection, now, "command", name=name, form="rank"
            )
            if campaign.form != "rank":
                raise JudgmentError(f"'{name}' does not ask for rankings")
            before = campaigns.prompts_in(connection, campaign)
            found: list[Filled] = []
            for file in files:
                items = read_records(source.file(f"{file}.jsonl.gz"), Completions)
                new = [
                    item
                    for item in items
                    if prompts.add_record(connection, now, item.prompt, SIDES[file]) not in before
                ]
                with progress(len(new), f"tasks of '{name}'", "task") as bar:
                    _, filled = add_completions(
                        connection,
                        now,
                        campaign,
                        new,
                        split=SIDES[file],
                        policy_sha256=source.sha256,
                        advance=bar.update,
                    )
                found.append(filled)
    finally:
        store.close()
    added = sum(filled.tasks for filled in found)
    left_out = sum(filled.too_few for filled in found)
    merged = sum(filled.merged for filled in found)
    told = f"{added} tasks added to '{name}'"
    if merged or left_out:
        told += (
            f" ({merged} repeated outputs merged, {left_out} prompts with too few outputs left out)"
        )
    if campaign.state == "draft":
        told += f'; open it: alignloop label state --project {project} "{name}" open'
    return told


def keep_completions(project: Path, completions: Path, files: Sequence[str]) -> str:
    """Keep a `completions` artefact in the store, for campaigns that are made from it later; returns what to tell.

    Raises:
        JudgmentError: the prompts lie on another side in the store.
    """
    source = open_artifact(completions, "completions")
    store = open_project(project).open()
    now = time.time_ns() // 1_000_000
    names: dict[str, int] = {}
    try:
        with store.write() as connection:
            for file in files:
                for item in read_records(source.file(f"{file}.jsonl.gz"), Completions):
                    prompt = prompts.add_record(connection, now, item.prompt, SIDES[file])
                    for completion in item.completions:
                        name = completion.model
                        if name not in names:
                            names[name] = prompts.add_policy(
                                connection, now, name=name, sha256=source.sha256, sampling={}
                            )
                            if prompts.has_completions(connection, names[name]):
                                return f"the store has these completions of '{name}' already"
                        prompts.add_completions(connection, prompt, names[name], [completion])
    finally:
        store.close()
    kept = " and ".join(f"'{name}'" for name in names)
    return f"completions of {kept} kept in {project}; `alignloop label campaign --policy` uses them"


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


def add_prompts_to_write(
    connection: Connection, campaign: Campaign, count: int, descriptions: Sequence[str] = ()
) -> int:
    """So many tasks in each of which a labeler writes a prompt.

    `descriptions`: what users wanted, in the words of somebody else; given out in turn, for user-based prompts (A.1).

    Raises:
        JudgmentError: the campaign asks for something else.
    """
    if campaign.form != "write":
        raise JudgmentError(f"'{campaign.name}' does not ask for prompts")
    for at in range(count):
        description = descriptions[at % len(descriptions)] if descriptions else None
        campaigns.add_task(connection, campaign, prompt_id=None, description=description)
    return count


def unused_prompts(
    connection: Connection, campaign: Campaign, *, split: str, limit: int | None
) -> list[tuple[int, Prompt]]:
    """Prompts of one side that no task of this campaign has, oldest first: (id, record).

    Few-shot ones come with their answers, so nobody is asked for more; and what may not leave is not worth labeling.
    """
    taken = campaigns.prompts_in(connection, campaign)
    found: list[tuple[int, Prompt]] = []
    for row in prompts.each_prompt(connection, splits=[split]):
        if limit is not None and len(found) >= limit:
            break
        is_answered = row.id in taken or row.kind == "labeler_fewshot"
        if not is_answered and not prompts.is_withheld(row):
            found.append((row.id, prompts.prompt_record(row)))
    return found
