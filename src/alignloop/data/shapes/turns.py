"""Conversations, however their messages are written down: who spoke, what was said, and what is prompt and answer."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from alignloop.data.shapes.rows import Unreadable, quoted, what

Turn = tuple[str, str]
"""(role, text)."""

_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(
        ("assistant", "gpt", "chatgpt", "bot", "bing", "bard", "model", "ai"), "assistant"
    ),
    **dict.fromkeys(("system", "developer"), "system"),
}
_TOOLS = {
    "tool",
    "function",
    "function_call",
    "function_response",
    "observation",
    "tool_call",
    "tool_response",
    "ipython",
}
_ROLE_KEYS = ("role", "from")
_TEXT_KEYS = ("content", "value", "text")
_HUMAN = re.compile(r"\s*Human:")
_SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")


@dataclass(frozen=True, slots=True)
class Said:
    """A conversation up to a prompt, and the answer that it ends with, if it does."""

    history: tuple[Turn, ...]
    text: str
    answer: str | None = None


def is_messages(value: Any, role: str | None = None) -> bool:
    """Whether it looks like messages: a list whose first item has a role and a text (or columns of both)."""
    value = unpacked(value)
    first = cast(list[Any], value)[0] if isinstance(value, list) and value else None
    if not isinstance(first, dict):
        return False
    keys = cast(dict[str, Any], first).keys()
    return any(r in keys for r in _ROLE_KEYS if role in (None, r)) and any(
        k in keys for k in (*_TEXT_KEYS, "tool_calls")
    )


def unpacked(value: Any) -> Any:
    """A list of objects that came as JSON in a cell, or as an object of columns, as a list; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return cast(Any, inner) if isinstance(inner, list) else value
    if isinstance(value, dict):
        columns = cast(dict[str, Any], value)
        sizes = {len(cast(list[Any], c)) if isinstance(c, list) else -1 for c in columns.values()}
        if len(sizes) == 1 and sizes != {-1}:
            return [
                dict(zip(columns, cells, strict=True))
                for cells in zip(*columns.values(), strict=True)
            ]
    return cast(Any, value)


def turns(value: Any, key: str = "messages") -> list[Turn]:
    """Messages as (role, text), roles being system, user and assistant.

    Raises:
        Unreadable: a message has no text, an unknown role, or calls a tool.
    """
    value = unpacked(value)
    if not isinstance(value, list):
        raise Unreadable(f"'{key}' is {what(value)}, not a list of messages")
    if not value:
        raise Unreadable(f"'{key}' is empty")
    return [
        _turn(number, message) for number, message in enumerate(cast(list[Any], value), start=1)
    ]


def _turn(number: int, message: Any) -> Turn:
    if not isinstance(message, dict):
        raise Unreadable(f"message {number} is {what(message)}, not an object")
    given = cast(dict[str, Any], message)
    role = given.get("role")
    if role is None:
        role = given.get("from")
    name = _ROLES.get(role.lower()) if isinstance(role, str) else None
    if name is None:
        if isinstance(role, str) and role.lower() in _TOOLS:
            raise Unreadable(f"message {number} is a tool's; conversations with tools are not read")
        raise Unreadable(
            f"message {number} has no 'role'"
            if role is None
            else f"message {number} has the unknown role {quoted(role)}"
        )
    if given.get("tool_calls") or given.get("function_call"):
        raise Unreadable(f"message {number} calls a tool; conversations with tools are not read")
    for key in _TEXT_KEYS:
        content = given.get(key)
        if content is not None:
            return name, content if isinstance(content, str) else _parts(number, content)
    raise Unreadable(f"message {number} has no text")


def _parts(number: int, content: Any) -> str:
    """The text of a message in parts."""
    if not isinstance(content, list):
        raise Unreadable(f"the text of message {number} is {what(content)}")
    texts: list[str] = []
    for part in cast(list[Any], content):
        if isinstance(part, dict):
            given = cast(dict[str, Any], part)
            type_of = given.get("type", "text")
            if type_of not in ("text", "input_text", "output_text"):
                raise Unreadable(
                    f"message {number} has a part of type {quoted(type_of)}; only text is read"
                )
            part = given.get("text")
        if not isinstance(part, str):
            raise Unreadable(f"message {number} has a part without text")
        texts.append(part)
    return "\n".join(texts)


def said(messages: Sequence[Turn], system: str = "") -> Said:
    """What a conversation asks: the user's last message, and the assistant's answer where it ends with one.

    Args:
        messages: system turns or none, then user and assistant in turn.
        system: What the assistant was told before, where it stands beside the messages.

    Raises:
        Unreadable: the speakers do not take turns, nobody asks anything, or an earlier turn is blank.
    """
    spoken = list(messages)
    told = [system] if system.strip() else []
    while spoken and spoken[0][0] == "system":
        text = spoken.pop(0)[1]
        told += [text] if text.strip() else []
    roles = [role for role, _ in spoken]
    if not roles or roles == ["assistant"]:
        raise Unreadable("there is no message of a user")
    if roles != (["user", "assistant"] * len(roles))[: len(roles)]:
        shown = ", ".join(roles[:6]) + (", ..." if len(roles) > 6 else "")
        raise Unreadable(f"user and assistant do not take turns ({shown})")
    answer = spoken.pop()[1] if roles[-1] == "assistant" else None
    text = spoken.pop()[1]
    if any(not earlier.strip() for _, earlier in spoken):
        raise Unreadable("an earlier message is blank")
    start: list[Turn] = [("system", "\n\n".join(told))] if told else []
    return Said((*start, *spoken), text, answer)


def is_transcript(value: Any) -> bool:
    """Whether a text is a conversation with "Human:" and "Assistant:" before what they say."""
    return isinstance(value, str) and _HUMAN.match(value) is not None and "\n\nAssistant:" in value


def transcript(text: str) -> list[Turn]:
    """The turns of such a text, without the white space around them; a last "Assistant:" may have nothing after it.

    Raises:
        Unreadable: it does not begin with a speaker.
    """
    marks = list(_SPEAKER.finditer(text))
    if not marks or marks[0].start() > 0:
        raise Unreadable("the text does not begin with 'Human:'")
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [
        ("user" if mark[1] == "Human" else "assistant", text[mark.end() : end].strip())
        for mark, end in zip(marks, ends, strict=True)
    ]
