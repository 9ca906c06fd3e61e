"""What a file brings in: one candidate per prompt, in whatever shape it was written, or why a row was turned away.

Readers of shapes make these, curation looks at them, the store keeps what is left. Plain classes, not records: a
million of them stream through. Torch-free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["labeler_plain", "labeler_fewshot", "labeler_user_based", "customer"]
"""Who wrote a prompt, and how (section 3.2 and A.1 of the paper)."""
KINDS: tuple[Kind, ...] = (
    "labeler_plain",
    "labeler_fewshot",
    "labeler_user_based",
    "customer",
)

USE_CASES: tuple[str, ...] = (
    "generation",
    "open_qa",
    "brainstorming",
    "chat",
    "rewrite",
    "summarization",
    "classification",
    "other",
    "closed_qa",
    "extract",
)
"""Table 1's ten, in its order."""

ANNOTATIONS: tuple[str, ...] = (
    "ambiguous",
    "sensitive_content",
    "identity_dependent",
    "closed_domain",
    "continuation_style",
    "requests_opinionated_content",
    "requests_advice",
    "requests_moral_judgment",
    "explicit_safety_constraints",
    "other_explicit_constraints",
    "intent_unclear",
)
"""Table 7's, in its order."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands, for every message about it."""

    file: str
    """Name of the file as the user gave it."""
    line: int
    """Line, row or record, from 1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that came with a prompt."""

    text: str
    rank: int | None = None
    """1 is the best, equal numbers are ties; None for a demonstration."""
    model: str = ""
    """Who or what wrote it, where the file says so."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One prompt as a file gave it, with whatever came beside it."""

    place: Place
    text: str
    """The instruction, or the user's last message of a conversation."""
    history: tuple[tuple[str, str], ...] = ()
    """(role, text) of what was said before; roles as in `records.Turn`."""
    kind: Kind = "customer"
    user: str = ""
    """Who asked, as the file names them."""
    organization: str = ""
    consent: bool | None = None
    """Whether the user agreed to training on it; None where the file does not say."""
    use_case: str = ""
    """One of `USE_CASES`, or empty."""
    language: str = ""
    """A code of ISO 639-1 where the file gives it; empty: to be detected."""
    annotations: tuple[str, ...] = ()
    """Those of `ANNOTATIONS` that hold."""
    examples: tuple[tuple[str, str], ...] = ()
    """Few-shot: (query, response) pairs under the instruction `text`."""
    answers: tuple[Answer, ...] = ()
    """One without a rank is a demonstration (a model's where `model` is set); two or more with ranks are a comparison,
    and without ranks are there to be ranked."""
    labeler: str = ""
    """Who wrote the demonstration or made the comparison, where the file says so."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that could not be read: it stops nothing, and it does not disappear."""

    place: Place
    reason: str
    """What is wrong with it, in one line."""
    raw: str = ""
    """The row as it stood, cut where it is long."""
