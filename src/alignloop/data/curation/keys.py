"""What makes two prompts the same: one spelling of a text, its digest, and that of its beginning; whose prompt it is.

Two prompts are duplicates when their whole conversations agree: every turn, the few-shot examples and the text, in
Unicode NFC, case folded, every run of white space one space.

Two prompts share a prefix when *what the user wrote* begins alike: the user's turns in order, the text, then the
examples. The system turn is left out, since one product gives it to all its users, and so are the assistant's turns,
since a model greets everybody alike: "Hi" and a greeting would else join two conversations that have nothing in common.
So the turns of one conversation share its opening, if that is long enough, as the paper's long common prefix says.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

from alignloop.data.curation.config import By
from alignloop.data.records import opening_id

DIGEST_BYTES = 16
"""Of SHA-256: with ten million prompts the odds of one false match are about one in 10**25."""

# White space of one run is collapsed to a space, so neither can stand in a normalised text.
_BETWEEN_PARTS = "\x1e"
_AFTER_ROLE = "\x1f"

Pairs = Sequence[tuple[str, str]]


def normalize(text: str) -> str:
    """NFC, case folded, every run of white space one space, none at the ends."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFC", text).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())


def digests(
    text: str, history: Pairs, examples: Pairs, prefix_characters: int | None
) -> tuple[bytes, bytes | None]:
    """Digest of a whole prompt, and that of its first characters (None: it is shorter, or none are compared).

    Args:
        history: (role, text) of each turn before.
        examples: (query, response) of each few-shot example.
    """
    said = normalize(text)
    if not history and not examples:
        return _digest(said), _prefix([said], prefix_characters)
    turns = [(role, normalize(turn)) for role, turn in history]
    shown = [normalize(part) for pair in examples for part in pair]
    whole = _BETWEEN_PARTS.join(
        [f"{role}{_AFTER_ROLE}{turn}" for role, turn in turns]
        + [f"user{_AFTER_ROLE}{said}"]
        + [f"example{_AFTER_ROLE}{part}" for part in shown]
    )
    asked = [turn for role, turn in turns if role == "user"]
    return _digest(whole), _prefix([*asked, said, *shown], prefix_characters)


def _prefix(parts: list[str], characters: int | None) -> bytes | None:
    if characters is None:
        return None
    begins = _BETWEEN_PARTS.join(parts)
    return _digest(begins[:characters]) if len(begins) >= characters else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def author(user: str, organization: str, by: By) -> str:
    """Whose prompt it is: the user or the organization as asked for, else the other, else nobody's ("")."""
    return (user or organization) if by == "user" else (organization or user)


def group(user: str, organization: str, by: By, text: str, history: Pairs) -> str:
    """What the split keeps on one side: the author, else the opening of the conversation, as `Prompt.opening_id`."""
    return author(user, organization, by) or opening_id(text, history)
