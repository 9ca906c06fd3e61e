"""Right answers: a researcher's own ranking and flags, against which labelers are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from sqlalchemy import Connection

from alignloop.store.schema import gold_flags, gold_pairs


@dataclass(frozen=True, slots=True)
class Gold:
    """What a gold task's right answers are."""

    relations: Mapping[tuple[int, int], int] | None = None
    """(item, later item) -> 1 where the former is better, -1 where the latter is, 0 for a tie."""
    flags: Mapping[tuple[int, str], bool] | None = None
    """(item, flag) -> its value."""


def relations_of(groups: Mapping[int, int]) -> dict[tuple[int, int], int]:
    """What a ranking says of each pair: (item, later item) -> 1 where the former is better, -1 the latter, 0 a tie."""
    return {
        (a, b): (groups[b] > groups[a]) - (groups[b] < groups[a])
        for a, b in combinations(sorted(groups), 2)
    }


def write_answers(connection: Connection, task_id: int, gold: Gold) -> None:
    """Write a task's right answers; they are never changed afterwards."""
    if gold.relations:
        connection.execute(
            gold_pairs.insert(),
            [
                {"task_id": task_id, "item_a": a, "item_b": b, "relation": relation}
                for (a, b), relation in sorted(gold.relations.items())
            ],
        )
    if gold.flags:
        connection.execute(
            gold_flags.insert(),
            [
                {"task_id": task_id, "item_no": item, "flag_key": key, "value": value}
                for (item, key), value in sorted(gold.flags.items())
            ],
        )
