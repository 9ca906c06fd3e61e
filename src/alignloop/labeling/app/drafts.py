"""What a task's forms hold, from screen to screen: kept in the store as typed, checked only when it is submitted.

A draft is {"fields": {name: [values]}, "visits": {client_uuid: [active, idle, first]}, "by": client_uuid}. Each form
sends the fields of its own screen; those of the others stay. Times are of one visit to a page: their sum is the time on
the task. `by` is the visit that saved last: it may save again over itself, where the answer to its save was lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignloop.web.forms import clean

Fields = dict[str, list[str]]

SCREENS = ("demonstrate", "rate", "rank", "compare", "toxicity", "prompt")
LONGEST_TEXT = 100_000
"""Characters of one field; more is cut where a draft is kept, and refused where it is submitted."""
LARGEST_DRAFT = 1_000_000
"""Characters of all fields together: forty turns of a dialogue, or nine outputs with all their notes, are a third."""
_LONGEST_VISIT_MS = 24 * 3_600_000
_MOST_VISITS = 200
_SHARED = ("skip_reason", "skip_note")
_OF_SCREEN: Mapping[str, tuple[str, ...]] = {
    "demonstrate": ("response", "pasted_chars", "user_turn"),
    "rate": ("likert[{item}]", "flag[{item}]", "none_apply[{item}]", "notes[{item}]"),
    "rank": ("moves_key", "moves_button", "moves_drag", "moves_undo"),
    "compare": ("verdict", "margin", "self_identified", "notes"),
    "toxicity": (
        "input_toxicity",
        "toxicity[{item}]",
        "relative[{item}]",
        "continuity[{item}]",
        "notes[{item}]",
    ),
    "prompt": (
        "kind",
        "text",
        "pairs",
        "use_case",
        "lang",
        "consent",
        "findings_seen",
    ),
}
NOT_SAID = frozenset(
    ("moves_key", "moves_button", "moves_drag", "moves_undo", "pasted_chars", "pairs")
)
"""Fields that count something or carry something along: nobody chooses between two versions of them."""
_NUMBERED = {
    "rank": re.compile(r"rank\[\d\]"),
    "prompt": re.compile(r"(query|response)\[\d{1,2}\]"),
}
_ITEM = re.compile(r"[1-9]")


@dataclass(frozen=True, slots=True)
class Times:
    """Time on a task, in milliseconds."""

    active_ms: int = 0
    idle_ms: int = 0
    first_input_ms: int | None = None


def merge(payload: Mapping[str, Any], sent: Fields) -> dict[str, Any]:
    """The draft after a form was sent; fields that are no form's are dropped."""
    screen = _one(sent, "screen")
    item = _one(sent, "item")
    fields: Fields = {str(name): list(values) for name, values in _fields(payload).items()}
    if screen in SCREENS and (not item or _ITEM.fullmatch(item)):
        for name in [name for name in fields if belongs(name, screen, item)]:
            del fields[name]
        for name, values in sent.items():
            if belongs(name, screen, item):
                fields[name] = [_clean(value) for value in values[:20]]
    visits = {str(key): value for key, value in payload.get("visits", {}).items()}
    if visit := _one(sent, "client_uuid")[:64]:
        visits[visit] = [
            _milliseconds(_one(sent, "active_ms")),
            _milliseconds(_one(sent, "idle_ms")),
            _milliseconds(_one(sent, "first_input_ms")) if _one(sent, "first_input_ms") else None,
        ]
        while len(visits) > _MOST_VISITS:  # the two oldest become one
            first, second = list(visits)[:2]
            (a, b, first_input), (c, d, _) = visits.pop(first), visits[second]
            visits[second] = [a + c, b + d, first_input]
    return {"fields": fields, "visits": visits, "by": visit}


def revision(payload: Mapping[str, Any], rev: int, sent_rev: int, visit: str) -> int:
    """The revision that a form was typed on: the stored one where its own visit saved that."""
    return rev if visit and payload.get("by") == visit and sent_rev < rev else sent_rev


def belongs(name: str, screen: str, item: str) -> bool:
    """Whether a field is one of this screen's form."""
    if name in _SHARED:
        return True
    if name in [pattern.format(item=item) for pattern in _OF_SCREEN.get(screen, ())]:
        return True
    numbered = _NUMBERED.get(screen)
    return numbered is not None and numbered.fullmatch(name) is not None


def fields_of(payload: Mapping[str, Any] | None) -> Fields:
    """The fields of a draft, or of what was submitted."""
    return {name: list(values) for name, values in _fields(payload or {}).items()}


def size_of(payload: Mapping[str, Any]) -> int:
    """Characters of all fields."""
    return sum(len(value) for values in _fields(payload).values() for value in values)


def times_of(payload: Mapping[str, Any]) -> Times:
    """Time on a task so far, over all visits."""
    visits = list(payload.get("visits", {}).values())
    firsts = [first for _, _, first in visits if first is not None]
    return Times(
        sum(active for active, _, _ in visits),
        sum(idle for _, idle, _ in visits),
        firsts[0] if firsts else None,
    )


def _fields(payload: Mapping[str, Any]) -> Mapping[str, list[str]]:
    return payload.get("fields", {})


def _one(fields: Mapping[str, list[str]], name: str) -> str:
    values = fields.get(name, [])
    return values[0] if values else ""


def _clean(value: str) -> str:
    """As a browser sends it, with line ends of one kind; what no database takes is replaced."""
    return clean(value.replace("\r\n", "\n")[:LONGEST_TEXT])


def _milliseconds(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= 12
    return min(int(text), _LONGEST_VISIT_MS) if is_number else 0
