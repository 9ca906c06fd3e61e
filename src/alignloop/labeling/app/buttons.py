"""Buttons that change what a form holds: the ranking begun from grades, and the exchanges of a dialogue."""

from __future__ import annotations

from alignloop.labeling import partition
from alignloop.labeling.app import answers
from alignloop.labeling.app.access import Refused
from alignloop.labeling.app.drafts import Fields
from alignloop.labeling.app.pages.common import Errors, Message
from alignloop.labeling.app.tasks import Work

MOST_TURNS = 40
"""Turns of a dialogue that a labeler writes: twenty exchanges."""


def press(verb: str, work: Work) -> tuple[Fields, Errors]:
    """(fields, what is wrong) after a button; most change nothing."""
    match verb:
        case "seed":
            return _seeded(work), {}
        case "continue" | "take_back" if not work.campaign.dialogue:
            raise Refused(404)
        case "continue":
            errors = _lacking(work.fields)
            return (work.fields if errors else _continued(work.fields)), errors
        case "take_back":
            return _taken_back(work.fields), {}
        case _:
            return work.fields, {}


def _seeded(work: Work) -> Fields:
    """Ranks in the order of the grades of screen (a)."""
    places = [str(at) for at in range(1, len(work.order) + 1)]
    grades = [answers.rating_of(work.fields, at).likert for at in places]
    ranks = zip(places, partition.from_scores(grades), strict=True)
    return {**work.fields, **{f"rank[{at}]": [str(rank)] for at, rank in ranks if rank is not None}}


def _lacking(fields: Fields) -> dict[str, Message]:
    """What one more exchange lacks, or has too much of."""
    errors: dict[str, Message] = {}
    for name in ("response", "user_turn"):
        said = answers.one(fields, name)
        if not said.strip():
            errors[name] = Message("required")
        elif len(said) > answers.MAX_RESPONSE:
            errors[name] = Message("too_long", {"limit": answers.MAX_RESPONSE})
    if len(fields.get("turns", [])) + 2 > MOST_TURNS:
        raise Refused(413)
    return errors


def _continued(fields: Fields) -> Fields:
    """What was written becomes the last exchange, and the fields are empty for the next."""
    said = [*fields.get("turns", []), answers.one(fields, "response")]
    return {
        **fields,
        "turns": [*said, answers.one(fields, "user_turn")],
        "response": [""],
        "user_turn": [""],
    }


def _taken_back(fields: Fields) -> Fields:
    """The last exchange back into its fields."""
    said = fields.get("turns", [])
    if len(said) < 2:
        return fields
    return {**fields, "turns": said[:-2], "response": [said[-2]], "user_turn": [said[-1]]}
