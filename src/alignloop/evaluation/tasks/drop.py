"""DROP: questions that need counting, sorting or arithmetic over a passage, by its official metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignloop.errors import DataError
from alignloop.evaluation.metrics import drop
from alignloop.evaluation.tasks.rows import Row, is_nested, read_json, read_rows, whole
from alignloop.evaluation.tasks.task import Item, Output, Setting, Task, mean_of


def read(path: Path) -> list[Item]:
    """The official JSON; or rows of `context`, the whole prompt up to "Answer:", and `references`.

    In rows, each reference counts as one answer of a single span, since they do not say which belong together.
    """
    if not is_nested(path):
        return [_rendered(row) for row in read_rows(path)]
    if not isinstance(read_json(path), dict):
        raise DataError(f"{path}: DROP's own file is an object of passages by their identifiers")
    passages = whole(path)
    found: list[Item] = []
    for key in passages.fields:
        passage = passages.inner(key)
        source = passage.words("passage")
        for row in passage.each("qa_pairs"):
            answers = [row.inner("answer")]
            if row.has("validated_answers"):
                answers += row.each("validated_answers")
            references = [spans for answer in answers if (spans := _spans(answer))]
            if not references:
                raise row.error("no answer is a number, a date or a span")
            found.append(
                Item(
                    id=row.name("query_id"),
                    query=f"Passage: {source}\nQuestion: {row.words('question')}\nAnswer:",
                    answer=", ".join(references[0]),
                    cluster=key,
                    about={"references": references},
                )
            )
    return found


def _spans(answer: Row) -> list[str]:
    """An annotator's answer: a number, spans, or a date, whichever comes first; none where all are empty."""
    number = answer.fields.get("number")
    if number not in (None, ""):
        return [str(number)]
    spans = [one.strip() for one in answer.texts("spans")] if answer.has("spans") else []
    if any(spans):
        return [one for one in spans if one]
    if not answer.has("date"):
        return []
    date = answer.inner("date")
    parts = [date.text(name) if date.has(name) else "" for name in ("day", "month", "year")]
    joined = " ".join(part.strip() for part in parts if part.strip())
    return [joined] if joined else []


def _rendered(row: Row) -> Item:
    query = row.words("context")
    references = [one.strip() for one in row.texts("references") if one.strip()]
    if not references:
        raise row.error("field 'references' has no answers")
    return Item(
        id=row.name("id"),
        query=query,
        answer=references[0],
        cluster=query.partition("\nQuestion:")[0],
        about={"references": [[one] for one in references]},
    )


def _score(item: Item, output: Output) -> drop.Score:
    references: Sequence[drop.Spans] = item.about["references"]
    return drop.best_score([output.text], references)


DROP = Task(
    name="drop",
    title="DROP",
    read=read,
    metrics=(
        mean_of(
            "f1", "the data set's own F1, numbers compared as numbers", lambda i, o: _score(i, o).f1
        ),
        mean_of(
            "exact",
            "share of answers that are a reference",
            lambda i, o: _score(i, o).exact,
        ),
    ),
    conditions=(Setting("", "Answer each question from the passage before it."),),
    shots=(0, 4),
    bundled="tasks/drop_contexts.jsonl.gz",
    notes=(
        "A written answer is one span: nothing splits it, so questions with several spans get part of the credit.",
        "Of the bundled sample 71 questions; each of its references counts as a full answer.",
    ),
)
