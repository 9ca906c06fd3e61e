"""Held-out text, document by document: what a policy still knows of what it was pretrained on, by domain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from alignloop.evaluation.tasks.rows import read_rows
from alignloop.evaluation.tasks.task import Item, Metric, Output, Setting, Task


def read_texts(path: Path) -> list[Item]:
    """Rows with `text`, and `group` (a title; documents of one are one unit) and `source` (the domain) where given."""
    return [
        Item(
            id=row.name("id", ""),
            query=(text := row.words("text")),
            cluster=row.text("group") if row.has("group") else "",
            kind=row.text("source") if row.has("source") else "",
            about={"bytes": len(text.encode("utf-8"))},
        )
        for row in read_rows(path)
    ]


def _bits_and_bytes(item: Item, output: Output) -> Sequence[float]:
    return -output.log_probs[0] / math.log(2), item.about["bytes"]


TEXT = Task(
    name="text",
    title="Held-out text",
    read=read_texts,
    metrics=(
        Metric(
            "bits_per_byte",
            "bits to predict a byte of text; the same for every tokenizer",
            _bits_and_bytes,
            better="lower",
        ),
    ),
    conditions=(Setting("plain text"),),
    is_text=True,
    split_by="domain",
)
