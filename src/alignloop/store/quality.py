"""What was judged, in bulk and in numbers alone: what statistics are made from. No text, and no model's name.

A ranking comes as one row, its places in columns of their own, so that a hundred thousand of them are read in a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    and_,
    case,
    exists,
    func,
    null,
    select,
)

from alignloop.store.schema import (
    adjudications,
    assignments,
    campaigns,
    completions,
    flag_values,
    gold_flags,
    gold_pairs,
    grades,
    rank_entries,
    ratings,
    submissions,
    task_items,
    tasks,
    votes,
)

MOST_ITEMS = 9
"""Items of a task, at most (the schema says so too)."""
_BLOCK = 2000


@dataclass(frozen=True, slots=True)
class Scope:
    """Which judgments are meant, of those that count. A value, so that figures can be kept by it."""

    purposes: tuple[str, ...] = ("training", "evaluation")
    campaign_id: int | None = None
    by: int | None = None
    """What this labeler said."""
    beside: int | None = None
    """What everybody said about the tasks that this labeler judged."""
    task_id: int | None = None
    shared: bool = False
    """Tasks that two labelers or more judged, alone."""
    gold: bool | None = False
    """Gold tasks alone; without it, none of them; None: these and those."""
    answered: bool = False
    """Tasks that researchers gave right answers to, alone."""
    since: int = 0
    """Submitted then or later, in milliseconds since 1970."""
    after: int = 0
    """Submissions with a greater id, alone."""


def version(connection: Connection) -> tuple[int, ...]:
    """What changes whenever a judgment comes in or stops counting, and when somebody grades, adjudicates or sets gold.

    Figures that are kept are kept for one version.
    """

    def count(table: Table, *where: ColumnElement[bool]) -> Any:
        return select(func.count()).select_from(table).where(*where).scalar_subquery()

    last = select(func.coalesce(func.max(submissions.c.id), 0)).scalar_subquery()
    found = connection.execute(
        select(
            last,
            count(submissions, submissions.c.state == "final"),
            count(adjudications),
            count(grades),
            count(gold_pairs),
            count(gold_flags),
        )
    ).one()
    return tuple(int(number) for number in found)


def replaced_since(connection: Connection, after: int) -> tuple[int, list[int]]:
    """(final submissions with a greater id than `after`, ids of earlier ones that they replaced)."""
    found = connection.execute(
        select(func.count()).where(submissions.c.id > after, submissions.c.state == "final")
    ).scalar_one()
    query = select(submissions.c.supersedes_id).where(
        submissions.c.id > after,
        submissions.c.supersedes_id.is_not(None),
        submissions.c.supersedes_id <= after,
    )
    return found, list(connection.execute(query).scalars())


def each_ranking(
    connection: Connection, scope: Scope, *, order: bool = True
) -> Iterator[tuple[Any, Any]]:
    """(submission, ranks): who judged what and when, and `k`, `ranked` and `item_1` to `item_9`, None for no rank.

    `ranked` is less than `k` where outputs were called not rankable. In the order in which they were submitted.

    Args:
        order: bring `display_order` along; None without it, which is read in half the time.
    """
    chosen = _chosen(scope, "rank", order=order)
    return _with_answers(connection, chosen, rank_entries, rank_entries.c.rank_group)


def each_partial_ranking(connection: Connection, scope: Scope) -> Iterator[tuple[Any, Any]]:
    """Those of `each_ranking` in which an output was called not rankable, without `display_order`."""
    partial = select(rank_entries.c.submission_id).where(rank_entries.c.rank_group.is_(None))
    chosen = _chosen(scope, "rank", order=False).where(submissions.c.id.in_(partial))
    return _with_answers(connection, chosen, rank_entries, rank_entries.c.rank_group)


def likert_scores(connection: Connection, scope: Scope) -> dict[int, tuple[int | None, ...]]:
    """Submission id -> the grades of items 1 to 9."""
    query = _pivoted(ratings, ratings.c.likert, _chosen(scope, "rank"))
    return {row[0]: tuple(row[3:]) for row in connection.execute(query)}


def texts_asked_about(connection: Connection, scope: Scope) -> Iterator[Any]:
    """(flag_set_id, task_id, answers, texts) of every task whose outputs were flagged or not, by so many labelers."""
    chosen = _chosen(scope, "rank").subquery()
    items = (
        select(task_items.c.task_id, func.count().label("texts"))
        .group_by(task_items.c.task_id)
        .subquery()
    )
    query = (
        select(
            campaigns.c.flag_set_id,
            chosen.c.task_id,
            func.count().label("answers"),
            items.c.texts,
        )
        .join(campaigns, campaigns.c.id == chosen.c.campaign_id)
        .join(items, items.c.task_id == chosen.c.task_id)
        .where(campaigns.c.asks_ratings)
        .group_by(campaigns.c.flag_set_id, chosen.c.task_id, items.c.texts)
    )
    return iter(connection.execute(query).yield_per(_BLOCK))


def yes_said(connection: Connection, scope: Scope) -> Iterator[Any]:
    """(task_id, item_no, flag_key, yes) of every text that somebody flagged, and how many did."""
    chosen = _chosen(scope, "rank").subquery()
    query = (
        select(
            chosen.c.task_id,
            flag_values.c.item_no,
            flag_values.c.flag_key,
            func.count().label("yes"),
        )
        .join(flag_values, flag_values.c.submission_id == chosen.c.submission_id)
        .where(flag_values.c.value)
        .group_by(chosen.c.task_id, flag_values.c.item_no, flag_values.c.flag_key)
    )
    return iter(connection.execute(query).yield_per(_BLOCK))


def each_vote(connection: Connection, scope: Scope, *, order: bool = True) -> Iterator[Any]:
    """Comparisons: the submission's columns with `verdict`, `margin`, `left_item` and `names_itself`."""
    query = (
        _chosen(scope, "compare", order=order)
        .add_columns(votes.c.verdict, votes.c.margin, votes.c.left_item, votes.c.names_itself)
        .join(votes, votes.c.submission_id == submissions.c.id)
        .order_by(submissions.c.id)
    )
    return iter(connection.execute(query).yield_per(_BLOCK))


def lengths(connection: Connection, scope: Scope) -> dict[int, tuple[int | None, ...]]:
    """Task id -> tokens of items 1 to 9 of the tasks that were ranked."""
    of_items = case((completions.c.tokens > 0, completions.c.tokens))
    chosen = _chosen(scope, "rank").subquery()
    query = (
        select(task_items.c.task_id, *_columns_of_items(task_items.c.item_no, of_items))
        .join(completions, completions.c.id == task_items.c.completion_id)
        .where(task_items.c.task_id.in_(select(chosen.c.task_id)))
        .group_by(task_items.c.task_id)
    )
    return {row[0]: tuple(row[1:]) for row in connection.execute(query)}


def gold_relations(
    connection: Connection, scope: Scope, form: str = "rank"
) -> dict[int, dict[tuple[int, int], int]]:
    """Task id -> (item, later item) -> relation, of the tasks that were judged and have right answers."""
    chosen = _chosen(scope, form).subquery()
    query = (
        select(gold_pairs)
        .where(gold_pairs.c.task_id.in_(select(chosen.c.task_id)))
        .order_by(gold_pairs.c.task_id, gold_pairs.c.item_a, gold_pairs.c.item_b)
    )
    found: dict[int, dict[tuple[int, int], int]] = {}
    for row in connection.execute(query):
        found.setdefault(row.task_id, {})[row.item_a, row.item_b] = row.relation
    return found


def gold_flags_met(connection: Connection, scope: Scope) -> Iterator[Any]:
    """(submission_id, task_id, item_no, flag_key, expected, said) for every gold flag of a task that was judged."""
    chosen = _chosen(scope, "rank").subquery()
    query = (
        select(
            chosen.c.submission_id,
            chosen.c.task_id,
            chosen.c.user_id,
            gold_flags.c.item_no,
            gold_flags.c.flag_key,
            gold_flags.c.value.label("expected"),
            flag_values.c.value.label("said"),
        )
        .join(gold_flags, gold_flags.c.task_id == chosen.c.task_id)
        .join(
            flag_values,
            and_(
                flag_values.c.submission_id == chosen.c.submission_id,
                flag_values.c.item_no == gold_flags.c.item_no,
                flag_values.c.flag_key == gold_flags.c.flag_key,
            ),
        )
        .order_by(chosen.c.submission_id, gold_flags.c.item_no, gold_flags.c.flag_key)
    )
    return iter(connection.execute(query).yield_per(_BLOCK))


def each_time(connection: Connection, form: str, scope: Scope) -> Iterator[Any]:
    """The submission's columns of one form, for times and costs."""
    return iter(
        connection.execute(_chosen(scope, form).order_by(submissions.c.id)).yield_per(_BLOCK)
    )


# --- inside -----------------------------------------------------------------------------------------------------


def _chosen(scope: Scope, form: str, *, order: bool = True) -> Any:
    """The submissions of a scope that count, with whose they are and what about."""
    query = (
        select(
            submissions.c.id.label("submission_id"),
            assignments.c.task_id,
            assignments.c.user_id,
            assignments.c.cohort,
            assignments.c.display_order if order else null().label("display_order"),
            tasks.c.prompt_id,
            tasks.c.campaign_id,
            submissions.c.active_ms,
            submissions.c.submitted_at,
        )
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .join(campaigns, campaigns.c.id == tasks.c.campaign_id)
        .where(
            submissions.c.state == "final",
            campaigns.c.form == form,
            campaigns.c.purpose.in_(scope.purposes),
        )
    )
    if scope.gold is not None:
        query = query.where(tasks.c.is_gold.is_(scope.gold))
    if scope.answered:
        query = query.where(exists().where(gold_pairs.c.task_id == tasks.c.id))
    if scope.campaign_id is not None:
        query = query.where(campaigns.c.id == scope.campaign_id)
    if scope.by is not None:
        query = query.where(assignments.c.user_id == scope.by)
    if scope.task_id is not None:
        query = query.where(tasks.c.id == scope.task_id)
    if scope.after:
        query = query.where(submissions.c.id > scope.after)
    if scope.since:
        query = query.where(submissions.c.submitted_at >= scope.since)
    if scope.beside is not None:
        theirs = select(assignments.c.task_id).where(assignments.c.user_id == scope.beside)
        query = query.where(assignments.c.task_id.in_(theirs))
    if scope.shared:
        others, counts = assignments.alias(), submissions.alias()
        counted = (
            select(others.c.task_id)
            .join(counts, counts.c.assignment_id == others.c.id)
            .where(counts.c.state == "final")
            .group_by(others.c.task_id)
            .having(func.count() > 1)
        )
        query = query.where(assignments.c.task_id.in_(counted))
    return query


def _with_answers(
    connection: Connection, chosen: Any, table: Table, value: Column[Any]
) -> Iterator[tuple[Any, Any]]:
    """Submissions and their answers: two queries in the same order, merged by the submission's id."""
    pivoted: Any = connection.execute(_pivoted(table, value, chosen))
    answers: Iterator[Any] = iter(pivoted)
    answer = next(answers, None)
    for submission in connection.execute(chosen.order_by(submissions.c.id)):
        while answer is not None and answer.submission_id < submission.submission_id:
            answer = next(answers, None)
        if answer is not None and answer.submission_id == submission.submission_id:
            yield submission, answer


def _pivoted(table: Table, value: Column[Any], chosen: Any) -> Any:
    """A row per submission: submission_id, k, ranked (items with a value), item_1 ... item_9."""
    ids = select(chosen.subquery().c.submission_id)
    return (
        select(
            table.c.submission_id,
            func.count().label("k"),
            func.count(value).label("ranked"),
            *_columns_of_items(table.c.item_no, value),
        )
        .where(table.c.submission_id.in_(ids))
        .group_by(table.c.submission_id)
        .order_by(table.c.submission_id)
    )


def _columns_of_items(
    item_no: Column[Any], value: ColumnElement[Any]
) -> Sequence[ColumnElement[Any]]:
    return [
        func.max(case((item_no == number, value))).label(f"item_{number}")
        for number in range(1, MOST_ITEMS + 1)
    ]
