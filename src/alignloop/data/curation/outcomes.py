"""What curation says of each candidate, what it needs to know of earlier imports, and the counts of it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from alignloop.data.curation.spans import Span
from alignloop.data.incoming import Candidate
from alignloop.data.split import SIDES, Side

Reason = Literal[
    "consent",
    "empty",
    "too_long",
    "language",
    "exact_duplicate",
    "common_prefix",
    "user_cap",
    "pii",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""The steps in their order; a candidate is dropped by the first that catches it."""


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data in one part of a candidate."""

    part: str
    """`text`, `history.0`, `examples.0.query`, `examples.0.response` or `answers.0`."""
    span: Span


@dataclass(frozen=True, slots=True)
class Kept:
    """A candidate that stays."""

    candidate: Candidate
    """As it came, or scrubbed where `scrubbed` says so."""
    split: Side
    group: str
    """What keeps it on that side: the user, the organization, or the opening of its conversation."""
    author: str
    """For whom it counts towards the cap; empty: for nobody."""
    language: str
    """As the file says, or as detected; `und` where neither tells."""
    tokens: int
    """Length of the whole prompt, as the config has it counted or estimated."""
    text_digest: bytes
    """16 bytes: of the whole conversation, before any scrubbing."""
    prefix_digest: bytes | None
    """16 bytes; None where it is shorter than a prefix, or none are compared."""
    pii: tuple[Found, ...] = ()
    """Personal data in it, at its places in the candidate as it came."""
    scrubbed: bool = False

    @property
    def flagged(self) -> bool:
        """Whether it holds personal data as it stands: so it may on the valid and test sides alone."""
        return bool(self.pii) and not self.scrubbed


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate that does not stay, and why."""

    candidate: Candidate
    reason: Reason
    detail: str = ""
    """What a person would ask next: which row it repeats, how long it is, what kinds of personal data it has."""
    digest: bytes | None = None
    """For `exact_duplicate` and `common_prefix`: the digest that was there already, for the store to look up."""


Outcome = Kept | Dropped


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier imports kept, which is all that a later one needs to know of them.

    Digests may be any iterables of 16 bytes each: they are read once, and not held as Python objects.
    """

    text_digests: Iterable[bytes] = ()
    prefix_digests: Iterable[bytes] = ()
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Author -> prompts kept."""

    def after(self, outcomes: Iterable[Outcome]) -> Known:
        """What is known once these are stored too."""
        kept = [outcome for outcome in outcomes if isinstance(outcome, Kept)]
        counts = Counter(self.counts)
        counts.update(outcome.author for outcome in kept if outcome.author)
        return Known(
            (*self.text_digests, *(outcome.text_digest for outcome in kept)),
            (*self.prefix_digests, *(o.prefix_digest for o in kept if o.prefix_digest)),
            dict(counts),
        )


@dataclass(slots=True)
class Tally:
    """Counts for a report, of outcomes as they stream by."""

    kept: Counter[tuple[Side, str]] = field(default_factory=Counter[tuple[Side, str]])
    """(side, kind of source) -> prompts."""
    dropped: Counter[Reason] = field(default_factory=Counter[Reason])
    languages: Counter[str] = field(default_factory=Counter[str])
    """Of those kept."""
    pii: Counter[str] = field(default_factory=Counter[str])
    """Kind -> prompts of any side that were kept with it, scrubbed or flagged."""

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        if isinstance(outcome, Dropped):
            self.dropped[outcome.reason] += 1
            return
        self.kept[outcome.split, outcome.candidate.kind] += 1
        self.languages[outcome.language] += 1
        self.pii.update({found.span.kind for found in outcome.pii})

    def as_dict(self) -> dict[str, object]:
        """Plain numbers, every step and side named even where it is zero."""
        return {
            "rows": self.kept.total() + self.dropped.total(),
            "kept": {
                side: sum(n for (at, _), n in self.kept.items() if at == side) for side in SIDES
            },
            "kept_by_source": {
                f"{side}/{kind}": n for (side, kind), n in sorted(self.kept.items())
            },
            "dropped": {reason: self.dropped[reason] for reason in REASONS},
            "languages": dict(self.languages.most_common()),
            "pii": dict(self.pii.most_common()),
        }
