"""Two answers of which one was preferred, and prompts with one completion, as TRL, OpenAI and the HH data have them."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from alignloop.data.incoming import Answer, Candidate, Kind, Place
from alignloop.data.shapes.fields import Object, common
from alignloop.data.shapes.plain import history_of
from alignloop.data.shapes.rows import Found, Shape, Unreadable, what
from alignloop.data.shapes.turns import (
    Said,
    Turn,
    is_messages,
    is_transcript,
    said,
    transcript,
    turns,
    unpacked,
)

_OPENAI = ("preferred_output", "non_preferred_output")


def ranked(better: str, worse: str) -> tuple[Answer, Answer]:
    """Two answers with ranks, in an order that a hash decides.

    With the preferred one always first, whoever breaks ties by position would seem to know something.
    """
    first, second = Answer(better, 1), Answer(worse, 2)
    digest = hashlib.sha256(f"{better}\0{worse}".encode("utf-8", "replace")).digest()
    return (second, first) if digest[0] % 2 else (first, second)


# --- transcripts of helpful and harmless dialogues ---


def _hh_fits(row: Any) -> str:
    if not isinstance(row, dict):
        return ""
    given = cast(Object, row)
    if given.get("prompt") is None and is_transcript(given.get("chosen")) and "rejected" in given:
        return "'chosen' and 'rejected' that begin with 'Human:'"
    return ""


def _hh_read(row: Any, place: Place, kind: Kind) -> Found:
    given = _object(row)
    sides = [given.get(side) for side in ("chosen", "rejected")]
    for name, side in zip(("chosen", "rejected"), sides, strict=True):
        if not isinstance(side, str):
            raise Unreadable(f"'{name}' is {what(side)}, not text")
    history, answers = _common_prompt(*(transcript(side) for side in cast(list[str], sides)))
    return (
        Candidate(place, history.text, history.history, answers=answers, **common(given, kind)),
    )


def _common_prompt(chosen: list[Turn], rejected: list[Turn]) -> tuple[Said, tuple[Answer, ...]]:
    """The conversation that two answers share, and the two as ranked answers."""
    if chosen[:-1] != rejected[:-1]:
        raise Unreadable("malformed: chosen and rejected differ before their last message")
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if len(side) < 2 or side[-1][0] != "assistant":
            raise Unreadable(f"malformed: {name} does not end with an answer of the assistant")
    talk = said(chosen[:-1])
    if talk.answer is not None:
        raise Unreadable("malformed: two answers of the assistant in a row")
    return talk, ranked(chosen[-1][1], rejected[-1][1])


# --- preferences ---


def _preference_fits(row: Any) -> str:
    if not isinstance(row, dict):
        return ""
    given = cast(Object, row)
    for pair in (("chosen", "rejected"), _OPENAI):
        if all(given.get(key) is not None for key in pair):
            prompt = next(
                (f"'{key}', " for key in ("prompt", "input") if given.get(key) is not None), ""
            )
            return f"{prompt}'{pair[0]}' and '{pair[1]}'"
    return ""


def _preference_read(row: Any, place: Place, kind: Kind) -> Found:
    given = _object(row)
    fields = common(given, kind)
    prompt, chosen, rejected = (
        _messages_or_text(given, key) for key in ("prompt", "chosen", "rejected")
    )
    if chosen is None and rejected is None and given.get(_OPENAI[0]) is not None:
        prompt = _messages_or_text(cast(Object, given.get("input") or {}), "messages")
        chosen, rejected = (_messages_or_text(given, key) for key in _OPENAI)
    if chosen is None or rejected is None:
        raise Unreadable(f"'{'chosen' if chosen is None else 'rejected'}' is missing")
    if prompt is None and isinstance(chosen, str) and isinstance(rejected, str):
        if is_transcript(chosen) and is_transcript(rejected):
            return _hh_read(row, place, kind)
        text, better, worse = _common_start(chosen, rejected)
        return (Candidate(place, text, history_of(given), answers=ranked(better, worse), **fields),)
    if prompt is None:
        if isinstance(chosen, str) or isinstance(rejected, str):
            raise Unreadable(
                "without 'prompt', chosen and rejected are both texts or both lists of messages"
            )
        talk, answers = _common_prompt(chosen, rejected)
        return (Candidate(place, talk.text, talk.history, answers=answers, **fields),)
    talk, spoken = _asked(prompt, given)
    better, worse = (
        _answer(side, spoken, name) for name, side in (("chosen", chosen), ("rejected", rejected))
    )
    return (Candidate(place, talk.text, talk.history, answers=ranked(better, worse), **fields),)


def _common_start(chosen: str, rejected: str) -> tuple[str, str, str]:
    """The words with which both begin, and how each goes on; both go on with something."""
    differ = (at for at, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b)
    shared = next(differ, min(len(chosen), len(rejected)))
    shared = min(shared, len(chosen.rstrip()) - 1, len(rejected.rstrip()) - 1)
    while shared > 0 and not chosen[shared].isspace():
        shared -= 1  # back to the end of a word
    prompt = chosen[: max(shared, 0)]
    if not prompt.strip():
        raise Unreadable(
            "there is no 'prompt', and chosen and rejected do not begin with the same words"
        )
    cut = len(prompt.rstrip())
    return prompt.rstrip(), chosen[cut:], rejected[cut:]


# --- completions ---


def _completion_fits(row: Any) -> str:
    if not isinstance(row, dict):
        return ""
    given = cast(Object, row)
    both = all(isinstance(given.get(key), str | list) for key in ("prompt", "completion"))
    return "'prompt' and 'completion'" if both else ""


def _completion_read(row: Any, place: Place, kind: Kind) -> Found:
    given = _object(row)
    fields = common(given, kind)
    prompt, completion = (_messages_or_text(given, key) for key in ("prompt", "completion"))
    if prompt is None or completion is None:
        raise Unreadable(f"'{'prompt' if prompt is None else 'completion'}' is missing")
    talk, spoken = _asked(prompt, given)
    text = _answer(completion, spoken, "completion")
    # One that was marked as bad is no demonstration, and there is nothing to compare it with.
    answers = () if given.get("label") is False or not text else (Answer(text),)
    return (Candidate(place, talk.text, talk.history, answers=answers, **fields),)


# --- what they share ---


def _object(row: Any) -> Object:
    if not isinstance(row, dict):
        raise Unreadable(f"{what(row)}; an object is needed")
    return cast(Object, row)


def _messages_or_text(row: Object, key: str) -> list[Turn] | str | None:
    """A list of messages (as JSON in a cell, too) as turns, a text as it is; None where there is nothing."""
    value: Any = row.get(key)
    if isinstance(value, str):
        return turns(value, key) if is_messages(value) else value
    return None if value is None else turns(unpacked(value), key)


def _asked(prompt: list[Turn] | str, row: Object) -> tuple[Said, list[Turn]]:
    """The prompt as a conversation that the user spoke last in, and its turns as they were written."""
    if isinstance(prompt, str):
        if not is_transcript(prompt):
            return Said(history_of(row), prompt), [("user", prompt)]
        prompt = transcript(prompt)
        if prompt[-1] == ("assistant", ""):
            prompt = prompt[:-1]
    talk = said(prompt)
    if talk.answer is not None:
        raise Unreadable("the prompt ends with the assistant")
    return talk, prompt


def _answer(side: list[Turn] | str, prompt: list[Turn], name: str) -> str:
    """The text of an answer, which may be given as the whole conversation."""
    if isinstance(side, str):
        return side
    rest = side[len(prompt) :] if side[: len(prompt)] == prompt else side
    if len(rest) != 1 or rest[0][0] != "assistant":
        raise Unreadable(f"'{name}' is not one message of the assistant after the prompt")
    return rest[0][1]


HH = Shape("hh", ("chosen", "rejected"), _hh_fits, _hh_read)
TRL_PREFERENCE = Shape(
    "trl_preference",
    ("chosen", "rejected", "prompt", "input", *_OPENAI),
    _preference_fits,
    _preference_read,
)
TRL_COMPLETION = Shape(
    "trl_completion", ("prompt", "completion", "label"), _completion_fits, _completion_read
)
