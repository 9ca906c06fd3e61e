"""From a draft's fields to a judgment, or to what is still wrong with it. Items are places on the page, 1 to K.

A place says nothing about which model wrote a text: the order was drawn for this labeler when the task was given out,
and `Assignment.display_order` turns places back into items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from alignloop.labeling import partition
from alignloop.labeling.app.drafts import Fields
from alignloop.labeling.app.pages.common import Errors, Message
from alignloop.labeling.app.pages.tasks import Rating as ShownRating
from alignloop.store.judgments import (
    Answer,
    RankedOutputs,
    Rating,
    Toxicity,
    Vote,
    WrittenDemonstration,
)

MAX_RESPONSE = 8000
"""Characters of a demonstration: well above the paper's 1,000 tokens."""
MAX_NOTES = 4000


@dataclass(frozen=True, slots=True)
class Checked:
    """A judgment, or what is wrong and on which screen."""

    answer: Answer | None = None
    errors: Errors = field(default_factory=dict[str, Message])
    item: str = ""
    """Place of the output whose own screen has the error; empty: the last screen."""


def one(fields: Fields, name: str) -> str:
    """A field's only value, or nothing."""
    values = fields.get(name, [])
    return values[0] if values else ""


def number(fields: Fields, name: str, low: int, high: int) -> int | None:
    """A field as a number within bounds."""
    text = one(fields, name)
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 4:
        return None
    value = int(text)
    return value if low <= value <= high else None


def rating_of(fields: Fields, item: str) -> ShownRating:
    """What screen (a) holds about one output."""
    return ShownRating(
        likert=number(fields, f"likert[{item}]", 1, 7),
        flags=frozenset(fields.get(f"flag[{item}]", [])),
        none_apply=one(fields, f"none_apply[{item}]") == "1",
        notes=one(fields, f"notes[{item}]"),
    )


def rating_errors(rating: ShownRating, item: str, known: Sequence[str]) -> dict[str, Message]:
    """What screen (a) lacks: no silence counts as "no"."""
    errors: dict[str, Message] = {}
    if rating.likert is None:
        errors[f"likert[{item}]"] = Message("likert")
    # Flags, or the word that none applies; not both, and none that nobody asked for.
    if bool(rating.flags) == rating.none_apply or rating.flags - set(known):
        errors[f"flag[{item}]"] = Message("flags")
    if len(rating.notes) > MAX_NOTES:
        errors[f"notes[{item}]"] = Message("too_long", {"limit": MAX_NOTES})
    return errors


def places_of(fields: Fields, count: int) -> partition.Places:
    """Where each output stands in the ranking so far."""
    return tuple(number(fields, f"rank[{at}]", 0, count) for at in range(1, count + 1))


def demonstration(fields: Fields, turns: Sequence[tuple[str, str]]) -> Checked:
    """A written response."""
    response = one(fields, "response")
    if not response.strip():
        return Checked(errors={"response": Message("required")})
    if len(response) > MAX_RESPONSE:
        return Checked(errors={"response": Message("too_long", {"limit": MAX_RESPONSE})})
    return Checked(WrittenDemonstration(response, tuple(turns)))


def turns_of(fields: Fields) -> list[tuple[str, str]]:
    """A dialogue so far: answers and what the user says next, in turn, as `turns` holds them."""
    roles = ("assistant", "user")
    return [(roles[at % 2], text) for at, text in enumerate(fields.get("turns", []))]


def ranking(
    fields: Fields, order: Sequence[int], *, asks_ratings: bool, flags: Sequence[str]
) -> Checked:
    """Screens (a) and (b) together; gaps between ranks are closed."""
    ratings: dict[int, Rating] = {}
    for at, item in enumerate(order, start=1):
        if not asks_ratings:
            break
        shown = rating_of(fields, str(at))
        if errors := rating_errors(shown, str(at), flags):
            return Checked(errors=errors, item=str(at))
        ratings[item] = Rating(
            cast(int, shown.likert), {key: key in shown.flags for key in flags}, shown.notes
        )
    places = places_of(fields, len(order))
    if not partition.is_complete(places):
        lacking = {
            f"rank[{at}]": Message("ranks")
            for at, place in enumerate(places, start=1)
            if place is None
        }
        return Checked(errors=lacking)
    groups = {
        item: place or None for item, place in zip(order, partition.dense(places), strict=True)
    }
    return Checked(RankedOutputs(groups, ratings))


def vote(fields: Fields, order: Sequence[int]) -> Checked:
    """A blind comparison: A is whichever item stood first."""
    verdict, margin = one(fields, "verdict"), number(fields, "margin", 1, 3)
    if verdict not in ("a", "b", "tie", "both_bad"):
        return Checked(errors={"verdict": Message("verdict")})
    if verdict in ("a", "b") and margin is None:
        return Checked(errors={"margin": Message("margin")})
    if len(one(fields, "notes")) > MAX_NOTES:
        return Checked(errors={"notes": Message("too_long", {"limit": MAX_NOTES})})
    won = {"a": f"item_{order[0]}", "b": f"item_{order[1]}"}.get(verdict, verdict)
    return Checked(
        Vote(
            cast(Any, won),
            left_item=order[0],
            margin=margin if verdict in ("a", "b") else None,
            names_itself=bool(fields.get("self_identified")),
        )
    )


def toxicity_errors(fields: Fields, item: str) -> dict[str, Message]:
    """What the toxicity screen lacks about one output."""
    asked = {"toxicity": (0, 2), "relative": (-1, 1), "continuity": (1, 7)}
    return {
        f"{name}[{item}]": Message("required")
        for name, (low, high) in asked.items()
        if number(fields, f"{name}[{item}]", low, high) is None
    }


def toxicity(fields: Fields, order: Sequence[int]) -> Checked:
    """Figure 11, for every output."""
    found: dict[int, Toxicity] = {}
    for at, item in enumerate(order, start=1):
        if errors := toxicity_errors(fields, str(at)):
            return Checked(errors=errors, item=str(at))
        found[item] = Toxicity(
            cast(int, number(fields, f"toxicity[{at}]", 0, 2)),
            cast(int, number(fields, f"relative[{at}]", -1, 1)),
            cast(int, number(fields, f"continuity[{at}]", 1, 7)),
        )
    return Checked(found)
