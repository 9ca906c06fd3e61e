"""Checkable constraints: what a templated instruction asks for, and whether a text does it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from alignloop.config import Config
from alignloop.data import text as prose

_NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Constraint(Config):
    """One thing that a response must do and that a program can check."""

    kind: Literal["sentences", "last_word", "mentions", "speech", "no_speech"]
    """`sentences`: exactly so many; `last_word`: ends with it; `mentions`: has the name or noun;
    `speech` and `no_speech`: with or without quotation marks."""
    value: str = ""
    """The number, word or name asked for; empty for the two speech constraints."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "sentences" and not (self.value.isdecimal() and int(self.value) > 0):
            raise ValueError(f"'sentences' needs a number above 0, not '{self.value}'")
        if self.kind in ("last_word", "mentions") and not self.value.strip():
            raise ValueError(f"'{self.kind}' needs a word")
        return self


def describe(constraint: Constraint) -> str:
    """The constraint as the instruction puts it, without a full stop."""
    match constraint.kind:
        case "sentences":
            count = int(constraint.value)
            return f"Use exactly {_NUMBER_WORDS[count]} sentence{'' if count == 1 else 's'}"
        case "last_word":
            return f'End with the word "{constraint.value}"'
        case "mentions":
            article = "the " if constraint.value.islower() else ""
            return f"Keep {article}{constraint.value} in the story"
        case "speech":
            return "Let somebody speak"
        case "no_speech":
            return "Let nobody speak"


def is_satisfied(constraint: Constraint, text: str) -> bool:
    """Whether `text` does what the constraint asks."""
    match constraint.kind:
        case "sentences":
            return len(prose.sentences(text)) == int(constraint.value)
        case "last_word":
            return prose.last_word(text) == constraint.value.lower()
        case "mentions":
            return constraint.value.lower() in prose.words(text.replace("'s", "").replace("’s", ""))
        case "speech":
            return prose.has_speech(text)
        case "no_speech":
            return not prose.has_speech(text)
