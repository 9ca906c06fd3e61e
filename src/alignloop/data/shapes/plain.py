"""Prompts as texts: strings, or objects with a text under one of many names, with an answer or without."""

from __future__ import annotations

from typing import Any, cast

from alignloop.data.incoming import Answer, Candidate, Kind, Place
from alignloop.data.shapes.fields import Object, common
from alignloop.data.shapes.rows import Found, Shape, Unreadable, what
from alignloop.data.shapes.turns import Turn, said, turns

TEXTS: dict[str, tuple[str, ...]] = {
    "instruction": ("input", "context"),
    "prompt": ("input",),
    "question": ("context",),
    "query": (),
    "title": ("body_text", "body", "selftext", "text"),
    "text": (),
    "request": (),
    "input": (),
    "body": (),
    "content": (),
}
"""Key of the prompt, the first that is there -> keys of what belongs below it, the first that is there."""
ANSWERS = ("output", "response", "completion", "answer", "target", "demonstration")
"""Keys of what a person answered."""
_NO_INPUT = frozenset({"<noinput>", "<no input>", "noinput", "nan"})


def _fits(row: Any) -> str:
    if isinstance(row, str):
        return "a text each"
    if not isinstance(row, dict):
        return ""
    given = cast(Object, row)
    key = next((key for key in TEXTS if isinstance(given.get(key), str)), None)
    if key is None:
        return ""
    names = [key, *_first(given, TEXTS[key]), *_first(given, ANSWERS)]
    return " and ".join(f"'{name}'" for name in names)


def _read(row: Any, place: Place, kind: Kind) -> Found:
    if isinstance(row, str):
        return (Candidate(place, row, kind=kind),)
    if not isinstance(row, dict):
        raise Unreadable(f"{what(row)}; a text or an object is needed")
    given = cast(Object, row)
    fields = common(given, kind)
    text = prompt_of(given)
    history = history_of(given)
    if isinstance(given.get("instances"), list) and given["instances"]:
        return tuple(
            Candidate(place, asked, history, answers=answers, **fields)
            for asked, answers in (
                _instance(text, one) for one in cast(list[Any], given["instances"])
            )
        )
    return (Candidate(place, text, history, answers=demonstration(given, ANSWERS), **fields),)


def prompt_of(row: Object) -> str:
    """The prompt with what belongs below it, a blank line between.

    Raises:
        Unreadable: there is none, or it is no text.
    """
    for key, below in TEXTS.items():
        text = row.get(key)
        if text is None:
            continue
        if not isinstance(text, str):
            raise Unreadable(f"'{key}' is {what(text)}, not text")
        for name in _first(row, below):
            if not isinstance(row[name], str):
                raise Unreadable(f"'{name}' is {what(row[name])}, not text")
            return _below(text, row[name])
        return text
    raise Unreadable(f"no text: looked for {', '.join(TEXTS)}")


def history_of(row: Object) -> tuple[Turn, ...]:
    """What was said before, where the row has `system` or `history` (turns, or pairs of what was asked and answered).

    Raises:
        Unreadable: user and assistant do not take turns.
    """
    system, history = row.get("system"), row.get("history")
    told = system if isinstance(system, str) else ""
    if not history:
        return (("system", told),) if told.strip() else ()
    if not isinstance(history, list):
        raise Unreadable(f"'history' is {what(history)}, not a list")
    earlier: list[Turn] = []
    for one in cast(list[Any], history):
        pair = cast(list[Any], one) if isinstance(one, list | tuple) else []
        if len(pair) == 2 and all(isinstance(part, str) for part in pair):
            earlier += [("user", pair[0]), ("assistant", pair[1])]
        else:
            earlier += turns([one], "history")
    return said([*earlier, ("user", "?")], told).history


def demonstration(row: Object, keys: tuple[str, ...]) -> tuple[Answer, ...]:
    """The answer under the first of `keys` that is there; an empty one is none.

    Raises:
        Unreadable: it is no text.
    """
    for key in _first(row, keys):
        if not isinstance(row[key], str):
            raise Unreadable(f"'{key}' is {what(row[key])}, not text")
        model = row.get("model")
        return (
            (Answer(row[key], model=model if isinstance(model, str) else ""),) if row[key] else ()
        )
    return ()


def _instance(instruction: str, one: Any) -> tuple[str, tuple[Answer, ...]]:
    """One of several inputs to an instruction, with its output."""
    if not isinstance(one, dict):
        raise Unreadable(f"one of 'instances' is {what(one)}, not an object")
    given = cast(Object, one)
    below = given.get("input")
    if below is not None and not isinstance(below, str):
        raise Unreadable(f"'input' is {what(below)}, not text")
    return _below(instruction, below or ""), demonstration(given, ANSWERS)


def _below(text: str, more: str) -> str:
    if not more.strip() or more.strip().lower() in _NO_INPUT or more in text:
        return text
    return f"{text}\n\n{more}" if text.strip() else more


def _first(row: Object, keys: tuple[str, ...]) -> list[str]:
    """The first of `keys` that holds something, as a list of one; else nothing."""
    return [key for key in keys if row.get(key) is not None][:1]


PLAIN = Shape(
    "plain",
    (
        *TEXTS,
        *(key for below in TEXTS.values() for key in below),
        *ANSWERS,
        "instances",
        "system",
        "history",
    ),
    _fits,
    _read,
)
