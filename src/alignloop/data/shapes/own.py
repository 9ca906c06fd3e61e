"""The project's own records, as a stage or an export of labels writes them."""

from __future__ import annotations

from typing import Any, cast

from pydantic import ValidationError

from alignloop.data.incoming import KINDS, Answer, Candidate, Kind, Place
from alignloop.data.records import Completions, Demonstration, Prompt, Ranking
from alignloop.data.shapes.fields import Object, use_case
from alignloop.data.shapes.rows import Found, Shape, Unreadable, what

_OF_A_PROMPT = {*Prompt.model_fields, "messages"}
_OF_OURS = {"history", "group", "context", "constraints"}
"""Fields that tell a record from anybody's `id` and `text`."""


def _fits(row: Any) -> str:
    if not isinstance(row, dict):
        return ""
    given = cast(Object, row)
    if _has_texts(given.get("completions")) and isinstance(given.get("prompt"), dict | str):
        return (
            "'prompt', 'completions' and 'ranks'"
            if "ranks" in given
            else "'prompt' and 'completions'"
        )
    prompt = given.get("prompt")
    if isinstance(prompt, dict) and "response" in given and {"text", "messages"} & prompt.keys():
        return "'prompt' with 'text', and 'response'"
    if (
        {"text", "messages"} & given.keys()
        and _OF_OURS & given.keys()
        and given.keys() <= _OF_A_PROMPT
    ):
        return " and ".join(
            f"'{key}'" for key in given if key in ("text", "messages") or key in _OF_OURS
        )
    return ""


def _has_texts(value: Any) -> bool:
    one = cast(list[Any], value)[0] if isinstance(value, list) and value else None
    return isinstance(one, dict) and "text" in one


def _read(row: Any, place: Place, kind: Kind) -> Found:
    if not isinstance(row, dict):
        raise Unreadable(f"{what(row)}; a record is an object")
    given = cast(Object, row)
    record_class: type[Prompt | Demonstration | Ranking | Completions] = Prompt
    if "ranks" in given:
        record_class = Ranking
    elif "completions" in given:
        record_class = Completions
    elif "response" in given or ("messages" in given and not given.keys() <= _OF_A_PROMPT):
        record_class = Demonstration
    try:
        record = record_class.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = " ".join(first["msg"].removeprefix("Value error, ").split())
        raise Unreadable(
            f"not a {record_class.__name__} record: {where + ': ' if where else ''}{reason}"
        ) from None
    match record:
        case Prompt():
            return (_candidate(record, place, kind),)
        case Demonstration():
            return (
                _candidate(record.prompt, place, kind, (Answer(record.response),), record.labeler),
            )
        case Ranking():
            answers = tuple(
                Answer(c.text, rank, c.model)
                for c, rank in zip(record.completions, record.ranks, strict=True)
            )
            return (_candidate(record.prompt, place, kind, answers, record.labeler),)
        case Completions():
            # What a model wrote is no demonstration: a single one is left out, several are there to be ranked.
            several = record.completions if len(record.completions) > 1 else ()
            answers = tuple(Answer(c.text, model=c.model) for c in several)
            return (_candidate(record.prompt, place, kind, answers),)


def _candidate(
    prompt: Prompt, place: Place, kind: Kind, answers: tuple[Answer, ...] = (), labeler: str = ""
) -> Candidate:
    return Candidate(
        place,
        prompt.text,
        tuple((turn.role, turn.text) for turn in prompt.history),
        kind=prompt.source if prompt.source in KINDS else kind,
        user=prompt.group,
        use_case=use_case(prompt.use_case),
        answers=answers,
        labeler=labeler,
    )


RECORDS = Shape(
    "records",
    ("text", *sorted(_OF_OURS), "prompt", "response", "completions", "ranks"),
    _fits,
    _read,
)
