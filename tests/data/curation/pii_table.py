"""How much personal data the patterns find, and how much of what they find is any.

Print the table of docs/prompt-curation.md with `python -m tests.data.curation.pii_table`. The cases are made up, one
line of JSON each: the text, its language, and every piece of personal data that it has. Those with `"seen": false` were
written when the patterns stood; some patterns were mended for them afterwards.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignloop.data.curation.patterns import Patterns
from alignloop.data.curation.spans import KINDS, Detector

CASES = Path(__file__).with_name("pii_cases.jsonl")
LANGUAGES = {"en": "English", "zh": "Chinese"}


@dataclass(frozen=True)
class Score:
    """Pieces of personal data: there, found and there, found and not there."""

    there: int
    hits: int
    false: int

    @property
    def recall(self) -> float:
        return self.hits / self.there if self.there else 1.0

    @property
    def precision(self) -> float:
        return self.hits / (self.hits + self.false) if self.hits + self.false else 1.0


def cases() -> list[dict[str, Any]]:
    """Every labelled text."""
    return [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]


def score(given: Iterable[dict[str, Any]], detector: Detector, kind: str | None = None) -> Score:
    """Count exact agreement, kind and characters."""
    there = hits = false = 0
    for case in given:
        text = case["text"]
        wanted = Counter((k, part) for k, part in case["pii"] if kind in (None, k))
        found = Counter(
            (s.kind, text[s.start : s.end]) for s in detector(text) if kind in (None, s.kind)
        )
        common = (wanted & found).total()
        there, hits, false = (
            there + wanted.total(),
            hits + common,
            false + found.total() - common,
        )
    return Score(there, hits, false)


def table() -> str:
    """One row per kind, then all, as Markdown: recall and precision with their counts, in each language."""
    lines = [
        [
            "kind",
            *(f"{name}: {of}" for name in LANGUAGES.values() for of in ("recall", "precision")),
        ]
    ]
    lines.append(["---"] * len(lines[0]))
    for kind in (*KINDS, None):
        row = ["**all**" if kind is None else f"`{kind}`"]
        for code in LANGUAGES:
            s = score([c for c in cases() if c["lang"] == code], Patterns(), kind)
            row += [f"{s.hits} of {s.there}", f"{s.hits} of {s.hits + s.false}"]
        lines.append(row)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(table())
