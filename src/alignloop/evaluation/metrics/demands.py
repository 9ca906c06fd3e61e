"""Demands that a program can check: whether an answer is as long as asked, has a word, leaves out a letter, is a list.

Those that the demo's story tasks make too are checked as there (`data/constraints.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from alignloop.data import text as prose
from alignloop.data.constraints import Constraint, is_satisfied

_BULLET = re.compile(r"[-*\u2022\u2013]\s+\S")
_NUMBER = re.compile(r"(\d+)[.)]\s+\S")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _count(text: str) -> int:
    """Words as white space parts them, marks alone left out."""
    return sum(any(letter.isalnum() for letter in word) for word in text.split())


def _bullets(value: str, text: str) -> bool:
    """So many lines begin with a dash, a star or a dot; a line before them may introduce them."""
    return sum(bool(_BULLET.match(line)) for line in _lines(text)) == int(value)


def _numbered(value: str, text: str) -> bool:
    """The lines that begin with a number have 1, 2, ... up to `value`, in that order."""
    found = [int(match[1]) for line in _lines(text) if (match := _NUMBER.match(line))]
    return found == list(range(1, int(value) + 1))


def _one_case(is_it: Callable[[str], bool]) -> Callable[[str, str], bool]:
    return lambda _value, text: is_it(text)


def _as_in_stories(kind: str) -> Callable[[str, str], bool]:
    def check(value: str, text: str) -> bool:
        return is_satisfied(Constraint.model_validate({"kind": kind, "value": value}), text)

    return check


_CHECKS: dict[str, Callable[[str, str], bool]] = {
    **{
        kind: _as_in_stories(kind)
        for kind in ("sentences", "last_word", "mentions", "speech", "no_speech")
    },
    "words_at_most": lambda value, text: _count(text) <= int(value),
    "words_at_least": lambda value, text: _count(text) >= int(value),
    "first_word": lambda value, text: prose.words(text)[:1] == [value],
    "avoids": lambda value, text: value not in prose.words(text),
    "lines": lambda value, text: len(_lines(text)) == int(value),
    "bullets": _bullets,
    "numbered": _numbered,
    "no_letter": lambda value, text: value not in text.lower(),
    "lacks_mark": lambda value, text: value not in text,
    "ends_with": lambda value, text: text.rstrip().endswith(value),
    "question": _one_case(lambda text: text.rstrip().rstrip("\"'”’)").endswith("?")),
    "lower_case": _one_case(str.islower),
    "upper_case": _one_case(str.isupper),
    "digits": _one_case(lambda text: any(letter.isdecimal() for letter in text)),
    "no_digits": _one_case(lambda text: not any(letter.isdecimal() for letter in text)),
}
_NUMBERS = frozenset(
    {"sentences", "words_at_most", "words_at_least", "lines", "bullets", "numbered"}
)
_BARE = frozenset(
    {"speech", "no_speech", "question", "lower_case", "upper_case", "digits", "no_digits"}
)
KINDS = tuple(_CHECKS)
"""Every kind of demand."""


def fault(kind: str, value: str) -> str | None:
    """What is wrong with a demand as a file gives it; None where it can be checked."""
    if kind not in _CHECKS:
        return f"'{kind}' is no kind of demand; known: {', '.join(KINDS)}"
    if kind in _BARE:
        return f"'{kind}' takes no value, not '{value}'" if value else None
    if kind in _NUMBERS:
        is_number = value.isdecimal() and int(value) > 0
        return None if is_number else f"'{kind}' needs a number above 0, not '{value}'"
    if not value or value != value.lower():
        return f"'{kind}' needs a value in small letters, not '{value}'"
    return None


def is_met(kind: str, value: str, text: str) -> bool:
    """Whether a text does what is asked; one without a letter or digit does nothing that is asked.

    Args:
        kind: one of `KINDS`.
        value: the number, word, letter or mark; empty where the kind needs none.
    """
    return any(letter.isalnum() for letter in text) and _CHECKS[kind](value, text)
