"""The clusters of the multi-task mixture: instructed tasks to choose an answer of, and to write one for.

The bundled file is what `data multitask` never learns from, whichever cluster it holds out; its artefact has the whole
of a held-out cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alignloop.errors import DataError
from alignloop.evaluation.metrics import squad
from alignloop.evaluation.tasks.choosing import accuracy
from alignloop.evaluation.tasks.rows import Row, read_rows
from alignloop.evaluation.tasks.task import Item, Output, Task, mean_of
from alignloop.evaluation.tasks.writing import ROUGE

FEWEST = 5
"""Passages of a data set in a file: fewer would give an interval that says nothing."""
_BUNDLED = "tasks/p3_ask.jsonl.gz"
_LONGEST = 100
"""Characters of the longest free answer: longer ones are texts, of which the words in common say little."""


def _reader(cluster: str, *, chosen: bool) -> Callable[[Path], list[Item]]:
    def read(path: Path) -> list[Item]:
        items = [
            item
            for row in read_rows(path)
            if row.words("cluster") == cluster and (item := _item(row, chosen=chosen))
        ]
        passages: dict[str, set[str]] = {}
        for item in items:
            passages.setdefault(item.kind, set()).add(item.cluster)
        kept = [item for item in items if len(passages[item.kind]) >= FEWEST]
        if not kept:
            kind = "with choices" if chosen else "with a free answer of one line"
            raise DataError(
                f"{path}: no data set of the cluster '{cluster}' has rows {kind} on {FEWEST} passages or more"
            )
        return kept

    return read


def _item(row: Row, *, chosen: bool) -> Item | None:
    completion = _on_one_line(row.words("completion"))
    choices = [_on_one_line(one) for one in row.texts("choices")] if row.has("choices") else []
    if chosen != bool(choices):
        return None
    if not chosen and (len(completion) > _LONGEST or "\n" in row.words("completion")):
        return None
    if chosen and completion not in choices:
        raise row.error("field 'completion' is none of the 'choices'")
    return Item(
        id=row.where,
        query=row.words("prompt"),
        choices=tuple(choices),
        cluster=row.words("passage"),
        kind=row.words("dataset"),
        about={"label": choices.index(completion)} if chosen else {"reference": completion},
    )


def _exact(item: Item, output: Output) -> float:
    return squad.exact_match(output.text, item.about["reference"])


_NOTES = (
    "Rows under several templates share a passage, and intervals draw passages. Data sets with fewer than "
    f"{FEWEST} passages in the file are passed over.",
    "The bundled rows are those that no mixture of `data multitask` learns from; for a cluster that was held out "
    "whole, give held_out.jsonl.gz of its artefact, which has all rows.",
)


def _choosing(cluster: str, title: str) -> Task:
    return Task(
        name=f"p3_{cluster}",
        title=f"P3, {title}",
        read=_reader(cluster, chosen=True),
        metrics=(accuracy(),),
        bundled=_BUNDLED,
        split_by="data set",
        notes=_NOTES,
    )


def _writing(cluster: str, title: str) -> Task:
    return Task(
        name=f"p3_{cluster}",
        title=f"P3, {title}",
        read=_reader(cluster, chosen=False),
        metrics=(
            mean_of("exact", "share of answers that are the reference, normalised", _exact),
            ROUGE,
        ),
        bundled=_BUNDLED,
        split_by="data set",
        notes=_NOTES,
    )


INSTRUCTED: tuple[Task, ...] = (
    _choosing("sentiment", "sentiment"),
    _choosing("paraphrase", "paraphrase"),
    _choosing("commonsense", "common sense"),
    _choosing("science", "science and cause"),
    _writing("reading", "reading comprehension"),
    _writing("closed_book", "questions without a passage"),
    _writing("structure_to_text", "words and facts to text"),
)


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
