"""Multiple choice: HellaSwag, SST-2 and RTE; the choice with the highest mean log-probability per token wins."""

from __future__ import annotations

from pathlib import Path

from alignloop.evaluation.tasks.choosing import accuracy
from alignloop.evaluation.tasks.rows import Row, read_rows
from alignloop.evaluation.tasks.task import Item, Setting, Task

_SENTIMENTS = ("negative", "positive")
_VERDICTS = ("yes", "no")
_ENTAILMENT = {
    "entailment": "yes",
    "not_entailment": "no",
    0: "yes",
    1: "no",
    "0": "yes",
    "1": "no",
}


def read_hellaswag(path: Path) -> list[Item]:
    """Rows of the official JSON Lines: `ctx`, `endings`, `label`."""
    return [_hellaswag(row) for row in read_rows(path)]


def _hellaswag(row: Row) -> Item:
    endings = [ending.strip() for ending in row.texts("endings")]
    if len(endings) < 2 or not all(endings):
        raise row.error("field 'endings' has to hold at least two endings, none of them empty")
    label = row.index("label", below=len(endings))
    return Item(
        id=row.name("ind", "id"),
        query=row.words("ctx", "context"),
        answer=endings[label],
        choices=tuple(endings),
        cluster=row.name("source_id") if row.has("source_id") else "",
        kind=row.text("activity_label") if row.has("activity_label") else "",
        about={"label": label},
    )


def read_sst(path: Path) -> list[Item]:
    """Rows with `sentence` and `label`: 1 or `positive`, 0 or `negative`; GLUE's own files are such tables."""
    meanings = {0: "negative", 1: "positive", "0": "negative", "1": "positive"}
    meanings |= {word: word for word in _SENTIMENTS}
    found: list[Item] = []
    for row in read_rows(path):
        label = row.choice("label", meanings)
        query = f"Text: {row.words('sentence', 'text')}\nLabel:"
        found.append(_labelled(row, query, _SENTIMENTS, label))
    return found


def read_rte(path: Path) -> list[Item]:
    """Rows with `premise`, `hypothesis` and `label`: `entailment` or 0, `not_entailment` or 1, as SuperGLUE has it."""
    found: list[Item] = []
    for row in read_rows(path):
        premise, hypothesis = (
            row.words("premise", "sentence1"),
            row.words("hypothesis", "sentence2"),
        )
        query = f"Passage: {premise}\nStatement: {hypothesis}\nDoes the passage say so, yes or no?"
        found.append(_labelled(row, query, _VERDICTS, row.choice("label", _ENTAILMENT)))
    return found


def _labelled(row: Row, query: str, choices: tuple[str, ...], label: str) -> Item:
    return Item(
        id=row.name("idx", "index", "id"),
        query=query,
        answer=label,
        choices=choices,
        about={"label": choices.index(label)},
    )


HELLASWAG = Task(
    name="hellaswag",
    title="HellaSwag",
    read=read_hellaswag,
    metrics=(accuracy(),),
    conditions=(Setting("", "Complete each paragraph with the ending that makes sense."),),
    shots=(0, 15),
)
SST = Task(
    name="sst",
    title="SST-2",
    read=read_sst,
    metrics=(accuracy(),),
    conditions=(Setting("", "Label the sentiment of each text as positive or negative."),),
    shots=(0, 15),
)
RTE = Task(
    name="rte",
    title="RTE",
    read=read_rte,
    metrics=(accuracy(),),
    conditions=(Setting("", "Say of each statement whether the passage before it says so."),),
    shots=(0, 15),
)
