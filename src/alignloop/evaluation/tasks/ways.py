"""One task asked in three ways: as a cloze, as a prompt to go on with, and as an instruction with options.

All ways choose between the same two answers, so a difference is one of the way alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from alignloop.evaluation.tasks.choosing import one_of_the_choices
from alignloop.evaluation.tasks.rows import Row, read_rows
from alignloop.evaluation.tasks.task import Floats, Item, Metric, Output, Task, mean_of, quotient

BLANK = "____"
WAYS = ("cloze", "prompt", "instruction")


def read(path: Path) -> list[Item]:
    """Rows with `text`, `question`, `options`, `label`; `cloze`, a sentence with `____`; `prompt`, one that breaks off.

    Each becomes three items, one per way, that share a cluster.
    """
    return [item for row in read_rows(path) for item in _items(row)]


def _items(row: Row) -> list[Item]:
    options = row.texts("options")
    if len(options) < 2 or not all(one.strip() for one in options):
        raise row.error("field 'options' has to hold at least two, none of them empty")
    label = row.index("label", below=len(options))
    text, cloze = row.words("text"), row.words("cloze")
    before, blank, after = cloze.partition(BLANK)
    if not blank or BLANK in after or not before.strip() or not after.strip():
        raise row.error(f"field 'cloze' has to hold {BLANK} once, with words before and behind it")
    listed = "\n".join(f"- {one}" for one in options)
    asked = {
        "cloze": (f"{text} {before.rstrip()}", [f"{one}{after}" for one in options]),
        "prompt": (f"{text} {row.words('prompt')}", options),
        "instruction": (
            "Read the text and answer the question with one of the options.\n\n"
            f"Text: {text}\nQuestion: {row.words('question')}\nOptions:\n{listed}\nAnswer:",
            options,
        ),
    }
    name, sort = row.name("id"), row.text("sort") if row.has("sort") else ""
    return [
        Item(
            id=f"{name}, {way}",
            query=asked[way][0],
            choices=tuple(asked[way][1]),
            cluster=name,
            kind=sort,
            about={"label": label, "way": way},
        )
        for way in WAYS
    ]


def _right(item: Item, output: Output) -> float:
    return float(output.chosen() == item.about["label"])


def _accuracy(way: str) -> Metric:
    def value(item: Item, output: Output) -> float | None:
        return _right(item, output) if item.about["way"] == way else None

    return mean_of(
        way, f"share of right choices, asked as {_ARTICLE[way]} {way}", value,
        chance=one_of_the_choices,
    )  # fmt: skip


_ARTICLE = {"cloze": "a", "prompt": "a", "instruction": "an"}


def _difference(one: str, other: str) -> Metric:
    """Accuracy of one way less that of another, over the same items."""

    def columns(item: Item, output: Output) -> Sequence[float] | None:
        right, way = _right(item, output), item.about["way"]
        if way == one:
            return (right, 1.0, 0.0, 0.0)
        return (0.0, 0.0, right, 1.0) if way == other else None

    def figure(sums: Floats) -> Floats:
        return quotient(sums[:, :2]) - quotient(sums[:, 2:])

    meaning = f"accuracy as {_ARTICLE[one]} {one} less that as {_ARTICLE[other]} {other}, on the same items"
    return Metric(f"{one}_less_{other}", meaning, columns, figure, better="neither")


WAYS_OF_ASKING = Task(
    name="ways",
    title="Three ways of asking",
    read=read,
    metrics=(
        *(_accuracy(way) for way in WAYS),
        *(_difference(later, earlier) for earlier, later in combinations(WAYS, 2)),
    ),
    in_sets=True,
    bundled="tasks/ways.jsonl",
    split_by="sort",
    notes=(
        "Each text is asked about three times, with the same two answers to choose from; the differences are paired.",
    ),
)
