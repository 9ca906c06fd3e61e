"""Conversations as lists of messages, in the two ways they are written down."""

from __future__ import annotations

from typing import Any, cast

from alignloop.data.incoming import Answer, Candidate, Kind, Place
from alignloop.data.shapes.fields import Object, common
from alignloop.data.shapes.rows import Found, Shape, Unreadable, what
from alignloop.data.shapes.turns import is_messages, said, turns

CONVERSATIONS = (
    "messages",
    "conversation",
    "conversations",
    "dialogue",
    "dialog",
    "chat",
    "thread",
    "prompt",
)
"""Keys of a list of messages."""


def _sharegpt_fits(row: Any) -> str:
    key = _key(row, "from")
    return f"'{key}' with 'from' and 'value'" if key else ""


def _messages_fits(row: Any) -> str:
    if isinstance(row, list):
        return "a list with 'role' and 'content' each" if is_messages(row, "role") else ""
    key = _key(row, "role")
    return f"'{key}' with 'role' and 'content'" if key else ""


def _key(row: Any, role: str) -> str:
    if not isinstance(row, dict):
        return ""
    given = cast(Object, row)
    return next((key for key in CONVERSATIONS if is_messages(given.get(key), role)), "")


def _read(row: Any, place: Place, kind: Kind) -> Found:
    if isinstance(row, list):
        row = {"messages": cast(Any, row)}
    if not isinstance(row, dict):
        raise Unreadable(f"{what(row)}; an object with a list of messages is needed")
    given = cast(Object, row)
    fields = common(given, kind)
    key = next((key for key in CONVERSATIONS if given.get(key) is not None), None)
    if key is None:
        raise Unreadable(f"no messages: looked for {', '.join(CONVERSATIONS)}")
    system, model = given.get("system"), given.get("model")
    talk = said(turns(given[key], key), system if isinstance(system, str) else "")
    answers = (
        ()
        if talk.answer is None
        else (Answer(talk.answer, model=model if isinstance(model, str) else ""),)
    )
    return (Candidate(place, talk.text, talk.history, answers=answers, **fields),)


SHAREGPT = Shape("sharegpt", ("conversations", "from", "value", "system"), _sharegpt_fits, _read)
MESSAGES = Shape("messages", (*CONVERSATIONS, "role", "content", "model"), _messages_fits, _read)
