"""Personal data as places in a text: what a detector gives, and putting kinds in their stead."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

KINDS: tuple[str, ...] = ("email", "phone", "card", "iban", "ip", "national_id", "secret")
"""E-mail and IP addresses, phone and card numbers, bank accounts, national ids, keys and passwords."""

NOTICE = "names and addresses are not detected"
"""To be shown wherever a prompt is called free of personal data."""


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of personal data."""

    kind: str
    """One of `KINDS`, or what another detector calls it."""
    start: int
    end: int
    """Characters `start` to `end` of the text, the last not included."""


Detector = Callable[[str], list[Span]]
"""A text in, its personal data out, in any order. To be used by several processes it must be a function of a module,
or an object that can be pickled."""


def without_overlaps(spans: Iterable[Span]) -> list[Span]:
    """Spans in the order of the text; of those that overlap, the one given first stays."""
    kept: list[Span] = []
    for span in spans:
        at = bisect_left(kept, span.start, key=lambda other: other.start)
        is_clear = (at == 0 or kept[at - 1].end <= span.start) and (
            at == len(kept) or span.end <= kept[at].start
        )
        if is_clear:
            kept.insert(at, span)
    return kept


def scrub(text: str, spans: Iterable[Span]) -> str:
    """The text with each span replaced by its kind: `[EMAIL]`. Overlapping ones become one, of the kind that starts."""
    pieces: list[str] = []
    at = 0
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if span.start >= at:
            pieces += [text[at : span.start], f"[{span.kind.upper()}]"]
        at = max(at, span.end)
    return "".join([*pieces, text[at:]])
