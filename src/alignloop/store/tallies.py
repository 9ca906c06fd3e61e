"""What a project has, counted: prompts by side and source, labels by cohort, the labeled tasks of every campaign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, func, not_, or_, select

from alignloop.store.prompts import WITHHELD
from alignloop.store.schema import (
    assignments,
    authors,
    campaigns,
    given_answers,
    prompts,
    rank_entries,
    submissions,
    tasks,
    users,
)

SIMULATED = "@simulated.invalid"
"""What the addresses of simulated labelers' accounts end in; no person can have one."""

_IS_SIMULATED = case((users.c.email.like(f"%{SIMULATED}"), 1), else_=0)
_LABELS = (
    submissions.join(assignments, assignments.c.id == submissions.c.assignment_id)
    .join(users, users.c.id == assignments.c.user_id)
    .join(tasks, tasks.c.id == assignments.c.task_id)
)
_COUNTS = and_(submissions.c.state == "final", tasks.c.is_gold.is_(False))


@dataclass(frozen=True, slots=True)
class LabelCount:
    """Labels of one form, purpose and cohort that count."""

    form: str
    purpose: str
    cohort: str
    labels: int
    prompts: int
    simulated: int
    """Of the labels, those by simulated labelers."""
    comparisons: int
    """Pairs that the rankings order, ties left out; a vote is one."""


def prompts_by_source(connection: Connection) -> dict[str, dict[str, int]]:
    """Side -> kind of source -> prompts."""
    query = select(prompts.c.split, prompts.c.kind, func.count()).group_by(
        prompts.c.split, prompts.c.kind
    )
    found: dict[str, dict[str, int]] = {}
    for split, kind, count in connection.execute(query.order_by(prompts.c.split, prompts.c.kind)):
        found.setdefault(split, {})[kind] = count
    return found


def prompts_with_answers(connection: Connection) -> dict[str, int]:
    """Side -> prompts that came with a demonstration: few-shot examples, or an answer that is in no comparison.

    Those that stay here for the personal data found in them are left out.
    """
    answered = select(given_answers.c.prompt_id).where(given_answers.c.rank.is_(None))
    query = (
        select(prompts.c.split, func.count())
        .where(or_(prompts.c.kind == "labeler_fewshot", prompts.c.id.in_(answered)), not_(WITHHELD))
        .group_by(prompts.c.split)
    )
    return {split: count for split, count in connection.execute(query)}


def labels_by_cohort(connection: Connection) -> list[LabelCount]:
    """Final labels of training and evaluation campaigns, gold tasks left out."""
    pairs = _comparisons()
    key = (campaigns.c.form, campaigns.c.purpose, assignments.c.cohort)
    query = (
        select(
            *key,
            func.count(),
            func.count(tasks.c.prompt_id.distinct()),
            func.sum(_IS_SIMULATED),
            func.sum(
                case(
                    (campaigns.c.form == "compare", 1),
                    else_=func.coalesce(pairs.c.comparisons, 0),
                )
            ),
        )
        .select_from(_LABELS)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .outerjoin(pairs, pairs.c.submission_id == submissions.c.id)
        .where(_COUNTS, campaigns.c.purpose.in_(("training", "evaluation")))
        .group_by(*key)
        .order_by(*key)
    )
    return [
        LabelCount(*row[:3], int(row[3]), int(row[4]), int(row[5]), int(row[6]))
        for row in connection.execute(query)
    ]


def tasks_by_side(connection: Connection) -> dict[int, dict[str, tuple[int, int]]]:
    """Campaign id -> side of the prompts -> (tasks, those with a label that counts).

    Gold tasks are left out, and so are tasks on prompts that stay here for the personal data found in them, perhaps
    after they were labeled: no export has them.
    """
    labeled = (
        select(assignments.c.task_id)
        .join(submissions, submissions.c.assignment_id == assignments.c.id)
        .where(submissions.c.state == "final")
        .distinct()
        .subquery()
    )
    query = (
        select(
            tasks.c.campaign_id,
            prompts.c.split,
            func.count(),
            func.count(labeled.c.task_id),
        )
        .join(prompts, prompts.c.id == tasks.c.prompt_id)
        .outerjoin(labeled, labeled.c.task_id == tasks.c.id)
        .where(tasks.c.is_gold.is_(False), not_(WITHHELD))
        .group_by(tasks.c.campaign_id, prompts.c.split)
    )
    found: dict[int, dict[str, tuple[int, int]]] = {}
    for campaign, split, there, done in connection.execute(query):
        found.setdefault(campaign, {})[split] = (there, done)
    return found


def simulated_in(connection: Connection, campaign_id: int) -> tuple[int, int]:
    """(labels of a campaign that count, those of them by simulated labelers), gold tasks left out."""
    query = (
        select(func.count(), func.coalesce(func.sum(_IS_SIMULATED), 0))
        .select_from(_LABELS)
        .where(_COUNTS, tasks.c.campaign_id == campaign_id)
    )
    row = connection.execute(query).one()
    return int(row[0]), int(row[1])


def prompt_of_task(connection: Connection, task_id: int) -> Any:
    """The row of a task's prompt with its author's key, for `prompts.prompt_record`."""
    query = (
        select(prompts, authors.c.key.label("author"))
        .join(authors, authors.c.id == prompts.c.author_id)
        .join(tasks, tasks.c.prompt_id == prompts.c.id)
        .where(tasks.c.id == task_id)
    )
    return connection.execute(query).one()


def _comparisons() -> Any:
    """Submission -> pairs that its ranking orders: of n outputs in groups of g, (n^2 - sum of g^2) / 2."""
    groups = (
        select(rank_entries.c.submission_id, func.count().label("size"))
        .where(rank_entries.c.rank_group.is_not(None))
        .group_by(rank_entries.c.submission_id, rank_entries.c.rank_group)
        .subquery()
    )
    size = groups.c.size
    whole = func.sum(size) * func.sum(size) - func.sum(size * size)
    return (
        select(groups.c.submission_id, (whole / 2).label("comparisons"))
        .group_by(groups.c.submission_id)
        .subquery()
    )
