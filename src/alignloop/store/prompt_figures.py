"""Figures about prompts for the report on them, and streams of prompts with what came along or was made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row, func, select

from alignloop.store.given import Answer, sets_of
from alignloop.store.prompts import each_given_answer, each_prompt, is_record, last_id
from alignloop.store.schema import (
    assignments,
    authors,
    campaigns,
    demonstrations,
    prompts,
    submissions,
    tasks,
)

_BLOCK = 1000
_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class Customers:
    """Those of one side, whom the rows name as user or organization."""

    prompts: int
    customers: int


def customers(connection: Connection) -> dict[str, Customers]:
    """Split -> customers' prompts and how many customers they are of; rows that name nobody are left out."""
    query = (
        select(prompts.c.split, func.count(), func.count(prompts.c.counted_for.distinct()))
        .where(prompts.c.kind == "customer", prompts.c.counted_for != "")
        .group_by(prompts.c.split)
    )
    return {split: Customers(count, of) for split, count, of in connection.execute(query)}


def outside_imports(
    connection: Connection, imported: Sequence[tuple[int, int]]
) -> Iterator[Row[Any]]:
    """Prompts that labelers wrote here, or users of the chat page, as rows of `each_prompt`.

    No import brought them, nor did a record.

    Args:
        imported: (first id, how many) of every import, so that its prompts need not be looked at.
    """
    ends = [(0, 1), *sorted(imported), (last_id(connection) + 1, 0)]
    for (first, count), (next_first, _) in pairwise(ends):
        if first + count >= next_first:
            continue
        query = (
            select(prompts, authors.c.key.label("author"))
            .join(authors, authors.c.id == prompts.c.author_id)
            .where(
                prompts.c.id >= first + count,
                prompts.c.id < next_first,
                prompts.c.import_id.is_(None),
            )
            .order_by(prompts.c.id)
        )
        for row in connection.execute(query).yield_per(_BLOCK):
            if not is_record(row):
                yield row


def of_kind(connection: Connection, kind: str, *, most: int) -> list[tuple[str, str]]:
    """(text, use case) of prompts of a kind in the order in which they came; where there are more than `most`, of so
    many or fewer, picked by their ids alone."""
    where = (prompts.c.split.in_(_SPLITS), prompts.c.kind == kind)  # the index has both
    count = connection.execute(select(func.count()).select_from(prompts).where(*where)).scalar_one()
    every = -(-count // most) or 1
    query = select(prompts.c.text, prompts.c.use_case).where(*where, prompts.c.id % every == 0)
    found = connection.execute(query.order_by(prompts.c.id).limit(most))
    return [(row.text, row.use_case) for row in found]


def each_with_answers(
    connection: Connection, *, splits: Sequence[str] = (), kinds: Sequence[str] = ()
) -> Iterator[tuple[Row[Any], list[list[Answer]]]]:
    """Rows of `each_prompt`, each with the sets of answers that came with it."""
    answers = each_given_answer(connection)
    waiting = next(answers, None)
    for row in each_prompt(connection, splits=splits, kinds=kinds):
        own: list[Row[Any]] = []
        while waiting is not None and waiting.prompt_id <= row.id:
            if waiting.prompt_id == row.id:
                own.append(waiting)
            waiting = next(answers, None)
        yield row, sets_of(own)


def labeled(connection: Connection, forms: Sequence[str]) -> set[int]:
    """Ids of prompts to which labelers gave a label of these forms in training campaigns."""
    query = (
        select(tasks.c.prompt_id)
        .distinct()
        .join(assignments, assignments.c.task_id == tasks.c.id)
        .join(submissions, submissions.c.assignment_id == assignments.c.id)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .where(
            submissions.c.state == "final",
            campaigns.c.purpose == "training",
            campaigns.c.form.in_(forms),
            tasks.c.is_gold.is_(False),
            tasks.c.prompt_id.is_not(None),
        )
    )
    return set(connection.execute(query).scalars())


def written_demonstrations(connection: Connection) -> Iterator[tuple[str, str]]:
    """(kind of the prompt, text) of every demonstration that labelers wrote in training campaigns."""
    query = (
        select(prompts.c.kind, demonstrations.c.text)
        .join(submissions, submissions.c.id == demonstrations.c.submission_id)
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .join(prompts, prompts.c.id == tasks.c.prompt_id)
        .where(
            submissions.c.state == "final",
            campaigns.c.purpose == "training",
            tasks.c.is_gold.is_(False),
        )
        .order_by(submissions.c.id)
    )
    for row in connection.execute(query).yield_per(_BLOCK):
        yield row.kind, row.text
