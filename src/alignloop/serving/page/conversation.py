"""Conversations as the server has them in memory: nothing of them outlives it, or a day without a word."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LIFE_MS = 86_400_000
"""After so long without a word a conversation is forgotten."""
MOST = 2000
"""Conversations of everybody; the one that was silent for longest goes first."""
MOST_OF_ONE = 50
"""Of one browser."""
MOST_TURNS = 100

Preference = Literal["a", "b", "tie"]
"""A is the answer that stood first."""


@dataclass(slots=True)
class Answer:
    """What a policy said, as far as it has."""

    model: str
    sha256: str
    """Of the policy."""
    sampling: Mapping[str, Any]
    number: int = 1
    """1 or 2: in an order that says nothing of where it stands on the page."""
    text: str = ""
    tokens: int = 0
    finish: str = ""
    """`stop` or `length`; empty where it was stopped, or is being written."""


@dataclass(slots=True)
class Turn:
    """What the user said, and the answers to it in the order in which they are shown."""

    text: str
    answers: list[Answer] = field(default_factory=list[Answer])
    preference: Preference | None = None
    prompt_id: int | None = None
    """In the store, where the message is kept."""
    is_unkept: bool = False
    """Whether it was to be kept and the store could not."""
    draw: str = ""
    """Names this drawing of answers, so that a double click is one choice."""

    @property
    def said(self) -> str:
        """The answer that the conversation goes on with: the preferred one, else the first."""
        if not self.answers:
            return ""
        return self.answers[1 if self.preference == "b" else 0].text

    @property
    def is_open(self) -> bool:
        """Whether there are two answers to choose from."""
        return len(self.answers) == 2 and self.preference is None


@dataclass(slots=True)
class Conversation:
    """One conversation of one browser."""

    id: str
    owner: str
    """Digest of the browser's token."""
    model: str
    keeps: bool
    """Whether its user agreed before its first word, and ever since: only then what is said is kept."""
    touched: int
    turns: list[Turn] = field(default_factory=list[Turn])
    running: Any = None
    """The drawing under way, if any."""

    def before(self, count: int) -> list[tuple[str, str]]:
        """(role, text) of the first so many turns; one that nothing was answered to is left out."""
        return [
            said
            for turn in self.turns[:count]
            if turn.said
            for said in (("user", turn.text), ("assistant", turn.said))
        ]


class Conversations:
    """All of them. The event loop alone touches them."""

    def __init__(self) -> None:
        """None yet."""
        self._found: OrderedDict[str, Conversation] = OrderedDict()

    def begin(self, owner: str, model: str, now: int, *, keeps: bool) -> Conversation:
        """A new one."""
        self.forget(now)
        mine = [one.id for one in self._found.values() if one.owner == owner]
        for name in mine[: max(len(mine) - MOST_OF_ONE + 1, 0)]:
            del self._found[name]
        while len(self._found) >= MOST:
            self._found.popitem(last=False)
        made = Conversation(secrets.token_urlsafe(16), owner, model, keeps, now)
        self._found[made.id] = made
        return made

    def find(self, owner: str, name: str, now: int) -> Conversation | None:
        """One of this browser's own: those of others are as if they were not there."""
        self.forget(now)
        found = self._found.get(name)
        if found is None or found.owner != owner:
            return None
        found.touched = now
        self._found.move_to_end(name)
        return found

    def of(self, owner: str) -> list[Conversation]:
        """All of one browser, the latest first."""
        return [one for one in reversed(self._found.values()) if one.owner == owner]

    def drop(self, owner: str) -> None:
        """Forget all of one browser."""
        for one in self.of(owner):
            del self._found[one.id]

    def forget(self, now: int) -> None:
        """Drop those that were silent for too long."""
        while self._found:
            name, oldest = next(iter(self._found.items()))
            if now - oldest.touched <= LIFE_MS:
                return
            del self._found[name]
