"""Labels on their way out: the submissions that count, with all that was seen and said, as rows and as records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from alignloop.data.records import Completion
from alignloop.store.schema import (
    adjudications,
    assignments,
    authors,
    campaigns,
    completions,
    demonstrations,
    flag_values,
    guidelines,
    policies,
    prompts,
    rank_entries,
    ratings,
    submissions,
    task_items,
    tasks,
    users,
)

_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Label:
    """One final submission, its task and its author; `said` is added by kind."""

    submission_id: int
    task_id: int
    place: int
    campaign: str
    labeler: str
    """Name of the account: a pseudonym where the lab gave one."""
    labeler_id: int
    cohort: str
    instructions: str
    """`training/1/en`: purpose, version and language of the guidelines that were shown; empty where there were none."""
    is_gold: bool
    is_surplus: bool
    display_order: tuple[int, ...]
    active_ms: int
    submitted_at: int
    prompt: Any
    """A row for `prompts.prompt_record`; None where a prompt was to be written."""


def each_label(
    connection: Connection,
    form: str,
    *,
    purposes: Sequence[str] = ("training",),
    campaign_ids: Sequence[int] | None = None,
    gold: bool = False,
    task_of: int | None = None,
) -> Iterator[Label]:
    """Final submissions of one form, by campaign, task and time; gold tasks only where asked for.

    Args:
        task_of: a user's id: only tasks that this person labeled, with what everybody said of them.
    """
    query = (
        select(
            submissions.c.id.label("submission_id"),
            submissions.c.is_surplus,
            submissions.c.active_ms,
            submissions.c.submitted_at,
            tasks.c.id.label("task_id"),
            tasks.c.place,
            tasks.c.is_gold,
            tasks.c.prompt_id,
            campaigns.c.name.label("campaign"),
            users.c.name.label("labeler"),
            users.c.id.label("labeler_id"),
            assignments.c.cohort,
            assignments.c.display_order,
            guidelines.c.purpose.label("guideline_purpose"),
            guidelines.c.version.label("guideline_version"),
            guidelines.c.locale.label("guideline_locale"),
        )
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(users, users.c.id == assignments.c.user_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .outerjoin(guidelines, guidelines.c.id == assignments.c.guideline_id)
        .where(
            submissions.c.state == "final",
            campaigns.c.form == form,
            campaigns.c.purpose.in_(purposes),
        )
        .order_by(campaigns.c.id, tasks.c.place, submissions.c.id)
    )
    if campaign_ids is not None:
        query = query.where(campaigns.c.id.in_(campaign_ids))
    if not gold:
        query = query.where(tasks.c.is_gold.is_(False))
    if task_of is not None:
        theirs = select(assignments.c.task_id).where(assignments.c.user_id == task_of)
        query = query.where(tasks.c.id.in_(theirs))
    for rows in connection.execute(query).yield_per(_BLOCK).partitions():
        found = _prompts(connection, {row.prompt_id for row in rows if row.prompt_id is not None})
        for row in rows:
            shown = (row.guideline_purpose, row.guideline_version, row.guideline_locale)
            yield Label(
                submission_id=row.submission_id,
                task_id=row.task_id,
                place=row.place,
                campaign=row.campaign,
                labeler=row.labeler,
                labeler_id=row.labeler_id,
                cohort=row.cohort,
                instructions="" if shown[0] is None else "/".join(map(str, shown)),
                is_gold=row.is_gold,
                is_surplus=row.is_surplus,
                display_order=tuple(row.display_order),
                active_ms=row.active_ms,
                submitted_at=row.submitted_at,
                prompt=found.get(row.prompt_id),
            )


def demonstration_of(connection: Connection, label: Label) -> Any:
    """The row of what a labeler wrote: `text`, and `turns` of a dialogue."""
    query = select(demonstrations).where(demonstrations.c.submission_id == label.submission_id)
    return connection.execute(query).one()


def outputs_of(connection: Connection, task_id: int) -> dict[int, Completion]:
    """Item number -> the completion, model and all: for export, never for a page."""
    query = (
        select(task_items.c.item_no, completions, policies.c.name.label("model"))
        .join(completions, completions.c.id == task_items.c.completion_id)
        .join(policies, policies.c.id == completions.c.policy_id)
        .where(task_items.c.task_id == task_id)
        .order_by(task_items.c.item_no)
    )
    return {
        row.item_no: Completion(
            text=row.text,
            model=row.model,
            finished=row.finished,
            tokens=row.tokens,
            token_ids=tuple(row.token_ids),
        )
        for row in connection.execute(query)
    }


def groups_of(connection: Connection, submission_id: int) -> dict[int, int | None]:
    """Item number -> rank group; None where it was called not rankable."""
    query = (
        select(rank_entries.c.item_no, rank_entries.c.rank_group)
        .where(rank_entries.c.submission_id == submission_id)
        .order_by(rank_entries.c.item_no)
    )
    return {row.item_no: row.rank_group for row in connection.execute(query)}


def ratings_of(connection: Connection, submission_id: int) -> dict[int, tuple[int, str]]:
    """Item number -> (Likert, notes)."""
    query = (
        select(ratings).where(ratings.c.submission_id == submission_id).order_by(ratings.c.item_no)
    )
    return {row.item_no: (row.likert, row.notes) for row in connection.execute(query)}


def flags_in(connection: Connection, submission_id: int) -> dict[int, dict[str, bool]]:
    """Item number -> flag -> value."""
    query = (
        select(flag_values)
        .where(flag_values.c.submission_id == submission_id)
        .order_by(flag_values.c.item_no, flag_values.c.flag_key)
    )
    found: dict[int, dict[str, bool]] = {}
    for row in connection.execute(query):
        found.setdefault(row.item_no, {})[row.flag_key] = row.value
    return found


def adjudicated(connection: Connection) -> dict[int, Any]:
    """Task id -> its latest adjudication, with the adjudicator's name."""
    query = (
        select(adjudications, users.c.name.label("adjudicator"))
        .join(users, users.c.id == adjudications.c.adjudicator_id)
        .order_by(adjudications.c.id)
    )
    return {row.task_id: row for row in connection.execute(query)}


def _prompts(connection: Connection, ids: set[int]) -> dict[int, Any]:
    if not ids:
        return {}
    query = (
        select(prompts, authors.c.key.label("author"))
        .join(authors, authors.c.id == prompts.c.author_id)
        .where(prompts.c.id.in_(ids))
    )
    return {row.id: row for row in connection.execute(query)}
