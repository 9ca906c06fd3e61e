"""Logs of requests to a model behind an API: what was asked, by whom, and whether it may be trained on.

What the model replied is passed over: it is no demonstration.
"""

from __future__ import annotations

import json
from typing import Any, cast

from alignloop.data.incoming import Candidate, Kind, Place
from alignloop.data.shapes.fields import FIELDS, Object, common
from alignloop.data.shapes.rows import Found, Shape, Unreadable, what
from alignloop.data.shapes.turns import Said, is_messages, said, turns

_NESTED = ("request", "body", "request_body", "payload", "params", "metadata")
_ASKED = ("messages", "prompt", "input")
_CONSENT = FIELDS["consent"] + FIELDS["refusal"]
_TIMES = ("created", "created_at", "timestamp", "time", "requested_at")
_MARKS = (
    FIELDS["user"] + FIELDS["organization"] + ("model", "endpoint", "status", "usage", "request_id")
)


def _fits(row: Any) -> str:
    if not isinstance(row, dict):
        return ""
    outer, *inner = _layers(cast(Object, row))
    for name, layer in inner:
        if not name.endswith("metadata") and (key := _asks(layer)):
            return f"'{name}' with '{key}'"
    key = _asks(outer[1])
    if not key:
        return ""
    if agreed := next((k for k in _CONSENT if k in outer[1]), ""):
        return f"'{key}' and '{agreed}'"
    when = next((k for k in _TIMES if k in outer[1]), "")
    mark = next((k for k in _MARKS if k in outer[1]), "")
    return f"'{key}', '{when}' and '{mark}'" if when and mark else ""


def _asks(layer: Object) -> str:
    for key in _ASKED:
        value = layer.get(key)
        if (
            isinstance(value, str)
            or is_messages(value)
            or (isinstance(value, list) and key == "prompt")
        ):
            return key
    return ""


def _layers(row: Object) -> list[tuple[str, Object]]:
    """(name, object) of the row and what is nested in it, from the outside in; JSON in a text counts."""
    found = [("", row)]
    for name, layer in found:  # grows as it is gone through
        if name.count(".") > 2:
            continue
        for key in _NESTED:
            value = layer.get(key)
            if isinstance(value, str) and value.lstrip()[:1] == "{":
                try:
                    value = json.loads(value)
                except (ValueError, RecursionError):
                    continue
            if isinstance(value, dict):
                found.append((f"{name}.{key}" if name else key, cast(Object, value)))
    return found


def _read(row: Any, place: Place, kind: Kind) -> Found:
    if not isinstance(row, dict):
        raise Unreadable(f"{what(row)}; an object is needed")
    layers = [layer for _, layer in _layers(cast(Object, row))]
    merged: Object = {}
    for layer in reversed(layers):
        merged |= {key: value for key, value in layer.items() if value is not None}
    fields = _fields(layers, kind)
    key = next((key for key in _ASKED if merged.get(key) is not None), None)
    if key is None:
        raise Unreadable(
            f"no prompt: looked for {', '.join(_ASKED)}, also inside {', '.join(_NESTED)}"
        )
    system = merged.get("system", merged.get("instructions"))
    told = system if isinstance(system, str) else ""
    return tuple(
        Candidate(place, one.text, one.history, **fields) for one in _asked(merged[key], key, told)
    )


def _fields(layers: list[Object], kind: Kind) -> Object:
    """What stands outside was written by whoever keeps the log, and counts more; a no to training counts anywhere."""
    fields: Object = {}
    agreed: list[bool | None] = []
    for layer in layers:
        found = common(layer, kind)
        agreed.append(found.pop("consent", None))
        for name, value in found.items():
            if value and (name, value) != ("kind", kind):
                fields.setdefault(name, value)
    consent = False if False in agreed else True if True in agreed else None
    return {"kind": kind, **fields, "consent": consent}


def _asked(value: Any, key: str, system: str) -> list[Said]:
    """The prompts of one request: a conversation without the assistant's last words, a text, or several texts."""
    before = (("system", system),) if system.strip() else ()
    if isinstance(value, str) and not is_messages(value):
        return [Said(before, value)]
    if isinstance(value, list) and value and not is_messages(value):
        texts = cast(list[Any], value)
        if all(isinstance(text, str) for text in texts):
            return [Said(before, text) for text in texts]
        if key != "messages":
            raise Unreadable(
                f"'{key}' is a list, but neither of texts nor of messages (token ids are not read)"
            )
    spoken = turns(value, key)
    while spoken and spoken[-1][0] == "assistant":
        spoken.pop()
    return [said(spoken, system)]


API_LOG = Shape(
    "api_log", (*_ASKED, *_NESTED, *_TIMES, "model", "system", "instructions"), _fits, _read
)
