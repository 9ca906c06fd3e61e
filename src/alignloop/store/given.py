"""Answers that came with prompts, in sets: of the row that brought the prompt, and of later rows that ask the same.

Data sets of comparisons ask one thing many times, each time with other answers or another labeler. The prompt stands
once; every set of answers stays. A set's number is kept in the numbers of its answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, Row, select

from alignloop.data.curation.keys import normalize
from alignloop.store.bulk import insert_many
from alignloop.store.schema import given_answers, prompts

Answer = tuple[str, int | None, str, str]
"""(text, rank or None, model, labeler)."""
COLUMNS = ("prompt_id", "answer_no", "text", "rank", "model", "labeler")

_PER_SET = 1_000_000
"""Answers of set n are numbered from n * _PER_SET + 1 on; no row has room for so many."""
_MOST_SETS = 2000
_BLOCK = 500


def numbered(
    prompt_id: int, answers: Sequence[Answer], set_no: int = 0
) -> Iterator[tuple[Any, ...]]:
    """Rows of a set, with a value for each of `COLUMNS`."""
    for number, answer in enumerate(answers, start=set_no * _PER_SET + 1):
        yield prompt_id, number, *answer


def sets_of(answers: Iterable[Row[Any]]) -> list[list[Answer]]:
    """A prompt's rows, in their order, as sets."""
    return [
        [(row.text, row.rank, row.model, row.labeler) for row in rows]
        for _, rows in groupby(answers, key=lambda row: row.answer_no // _PER_SET)
    ]


def join(
    connection: Connection, more: Iterable[tuple[bytes, Sequence[Answer]]]
) -> Iterator[tuple[Any, Sequence[Answer]]]:
    """Put sets of answers to the prompts with these digests; gives those that were not there, with their prompts' rows.

    A demonstration is there where one of the same text is, case and white space aside; a comparison where all of it is.
    """
    rest = iter(more)
    while block := list(islice(rest, _BLOCK)):
        yield from _join(connection, block)


def _join(
    connection: Connection, block: Sequence[tuple[bytes, Sequence[Answer]]]
) -> Iterator[tuple[Row[Any], Sequence[Answer]]]:
    query = select(prompts).where(prompts.c.text_digest.in_({digest for digest, _ in block}))
    found = {row.text_digest: row for row in connection.execute(query)}
    query_of_answers = (
        select(given_answers)
        .where(given_answers.c.prompt_id.in_([row.id for row in found.values()]))
        .order_by(given_answers.c.prompt_id, given_answers.c.answer_no)
    )
    known: dict[int, set[Any]] = defaultdict(set)
    last: dict[int, int] = {}
    for prompt_id, rows in groupby(connection.execute(query_of_answers), key=lambda r: r.prompt_id):
        of_prompt = list(rows)
        known[prompt_id] = {_same(one) for one in sets_of(of_prompt)}
        last[prompt_id] = of_prompt[-1].answer_no // _PER_SET
    new: list[tuple[Any, ...]] = []
    joined: list[tuple[Row[Any], Sequence[Answer]]] = []
    for digest, answers in block:
        row = found.get(digest)
        if row is None or _same(answers) in known[row.id] or last.get(row.id, 0) >= _MOST_SETS:
            continue
        known[row.id].add(_same(answers))
        last[row.id] = last.get(row.id, -1) + 1
        new += numbered(row.id, answers, last[row.id])
        joined.append((row, answers))
    insert_many(connection, given_answers, COLUMNS, new)
    yield from joined


def _same(answers: Sequence[Answer]) -> Any:
    """What two sets that say the same share."""
    if len(answers) == 1 and answers[0][1] is None:
        return normalize(answers[0][0])
    return tuple(answers)
