"""Right answers and grades by file: sheets to fill in, and what comes back from them.

A sheet is JSON Lines, one task a line, with everything that is needed to decide and nothing that should not decide:
no model and no labeler is named. A line that was left as it was is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection

from alignloop.data.jsonl import read_objects
from alignloop.errors import DataError, JudgmentError
from alignloop.store import answer_keys, campaigns, grading
from alignloop.store.campaigns import Campaign
from alignloop.store.gold import Gold, relations_of
from alignloop.store.people import User


def gold_sheet(connection: Connection, campaign: Campaign, limit: int) -> Iterator[dict[str, Any]]:
    """Tasks that could be given right answers: fill in `ranks`, 1 is the best, equal ones are ties, null is unknown.

    `flags` holds, per flag, the numbers of the outputs to which it applies; others are not asked about.
    """
    for task in answer_keys.tasks_without(connection, campaign, limit):
        outputs = campaigns.items_of(connection, task.id)
        yield {
            "task": task.public_id,
            "history": task.history,
            "prompt": task.text,
            "outputs": [outputs[item] for item in sorted(outputs)],
            "ranks": [None] * len(outputs),
            "flags": {},
        }


def take_gold(connection: Connection, now: int, actor: str, campaign: Campaign, path: Path) -> int:
    """Give tasks the right answers of a sheet that was filled in; returns how many. All of them, or none.

    Raises:
        DataError: a line cannot be used.
        JudgmentError: a task is not of this campaign, has right answers, or was seen by somebody.
    """
    taken = 0
    for number, line in read_objects(path):
        answers = _answers(line, f"{path}, line {number}")
        if answers is None:
            continue
        try:
            answer_keys.give_answers(
                connection, now, actor, campaign, str(line.get("task")), answers
            )
        except JudgmentError as error:
            raise JudgmentError(f"{path}, line {number}: {error}") from None
        taken += 1
    return taken


def grading_sheet(
    connection: Connection, grader: User, *, labeler: User | None = None, limit: int = 100
) -> Iterator[dict[str, Any]]:
    """Demonstrations of practice and screening that this grader has not graded: fill in `score`, 1 to 7."""
    for row in grading.to_grade(connection, grader, labeler=labeler, limit=limit):
        yield {
            "submission": row.submission,
            "history": row.history,
            "prompt": row.prompt,
            "response": row.response,
            "score": None,
        }


def take_grades(connection: Connection, now: int, grader: User, path: Path) -> int:
    """Give the grades of a sheet that was filled in; returns how many. All of them, or none.

    Raises:
        DataError: a score is no whole number.
        JudgmentError: there is no such demonstration, or it has a grade of this grader's.
    """
    taken = 0
    for number, line in read_objects(path):
        score = line.get("score")
        if score is None:
            continue
        if not isinstance(score, int) or isinstance(score, bool):
            raise DataError(
                f"{path}, line {number}: 'score' is a whole number from 1 to 7, not {score!r}"
            )
        try:
            grading.give_grade(connection, now, grader, str(line.get("submission")), score)
        except JudgmentError as error:
            raise JudgmentError(f"{path}, line {number}: {error}") from None
        taken += 1
    return taken


# --- inside -----------------------------------------------------------------------------------------------------


def _answers(line: Mapping[str, Any], where: str) -> Gold | None:
    """The right answers of a line; None where none were filled in."""
    ranks: Any = line.get("ranks", [])
    flags: Any = line.get("flags", {})
    if not isinstance(ranks, list) or not isinstance(flags, dict):
        raise DataError(f"{where}: 'ranks' is a list and 'flags' an object")
    known: dict[int, int] = {}
    for item, rank in enumerate(cast(list[Any], ranks), start=1):
        if rank is not None and (not isinstance(rank, int) or isinstance(rank, bool) or rank < 1):
            raise DataError(f"{where}: a rank is a number from 1, or null; not {rank!r}")
        if rank is not None:
            known[item] = rank
    count = len(cast(list[Any], ranks)) or len(line.get("outputs", []))
    answered: dict[tuple[int, str], bool] = {}
    for key, items in cast(dict[str, Any], flags).items():
        numbers = cast(list[Any], items) if isinstance(items, list) else [None]
        if not all(isinstance(item, int) and 1 <= item <= count for item in numbers):
            raise DataError(
                f"{where}: flag '{key}' holds the numbers of the outputs to which it applies, 1 to {count}"
            )
        answered |= {(item, key): item in numbers for item in range(1, count + 1)}
    relations = relations_of(known)
    return Gold(relations, answered) if relations or answered else None
