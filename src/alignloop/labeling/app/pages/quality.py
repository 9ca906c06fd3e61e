"""The researchers' pages about quality and results: disagreements, economics, agreement, exports, audit, messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Literal, get_args

from alignloop.labeling.app.pages.common import (
    Errors,
    Estimate,
    Line,
    Message,
    Option,
    Paging,
    Passage,
    Turn,
)
from alignloop.labeling.app.pages.researcher import Chart, Period

AdjudicationReason = Literal["guideline_gap", "slip", "taste"]
Choice = Literal["accept", "own", "ambiguous"]
ExportKind = Literal["demonstrations", "rankings", "pairs", "evaluation", "prompts"]
ExportFormat = Literal["jsonl", "parquet", "datasets"]
ExportState = Literal["running", "ready", "failed"]
Split = Literal["train", "valid", "test", "all"]

WORDS: dict[str, tuple[str, ...]] = {
    "adjudication": get_args(AdjudicationReason),
    "choice": get_args(Choice),
    "export_kind": get_args(ExportKind),
    "export_format": get_args(ExportFormat),
    "export_state": get_args(ExportState),
    "split": get_args(Split),
}


@dataclass(frozen=True, slots=True)
class DisagreementRow:
    """A task on which labelers differ."""

    task: str
    campaign: str
    prompt: tuple[Turn, ...]
    rankings: int
    k: int
    contested: int
    """Pairs that two labelers ordered in opposite ways."""
    pairs: int
    agreement: float
    decided: bool


@dataclass(frozen=True, slots=True)
class DisagreementsPage:
    """Tasks on which labelers differ, the most contested first.

    Address: `disagreements`, with the queries `page` and `decided` = 1. Nothing is sent.
    """

    template: ClassVar[str] = "disagreements.html"

    rows: tuple[DisagreementRow, ...]
    paging: Paging
    decided: bool = False
    """Whether those that were decided are shown, instead of the open ones."""


@dataclass(frozen=True, slots=True)
class AnonymousRanking:
    """One labeler's ranking, without the name."""

    id: str
    """Public id of the submission."""
    places: tuple[int, ...]
    """Per output, in the adjudicator's order: 1 is best, equal numbers are ties, 0 is not rankable."""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ContestedPair:
    """Two outputs that labelers ordered in opposite ways."""

    first: str
    second: str
    """Letters."""
    first_better: int
    tied: int
    second_better: int
    """Labelers who say so."""


@dataclass(frozen=True, slots=True)
class AdjudicatedOutput:
    """An output as the adjudicator sees it."""

    item: str
    letter: str
    passage: Passage
    place: int | None = None
    """In the adjudicator's own ranking so far."""


@dataclass(frozen=True, slots=True)
class AdjudicatePage:
    """Decide a disagreement. Address: `adjudicate`.

    Sends: `choice` accept | own | ambiguous; with accept `accepted`, the id of a ranking; with own `rank[ITEM]` as on
    `RankPage`; `reason` guideline_gap | slip | taste; `note`. An ambiguous task keeps all rankings at less weight.
    """

    template: ClassVar[str] = "adjudicate.html"

    task: str
    campaign: str
    prompt: tuple[Turn, ...]
    outputs: tuple[AdjudicatedOutput, ...]
    rankings: tuple[AnonymousRanking, ...]
    contested: tuple[ContestedPair, ...]
    choice: Choice | None = None
    accepted: str = ""
    reason: AdjudicationReason | None = None
    note: str = ""
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class EconomicsRow:
    """What rankings of K outputs bring and cost."""

    k: int
    tasks: int
    pairs: int
    """C(K, 2)."""
    bits: float
    """log2 of the number of orders with ties: no ranking tells more."""
    minutes: Estimate | None
    """Active minutes per task (not shares)."""
    pairs_per_hour: float | None
    """Pairs that are no ties, per paid hour."""
    bits_per_hour: float | None
    cost_per_pair: tuple[Decimal, str] | None
    agreement: Estimate | None
    tie_share: float | None


@dataclass(frozen=True, slots=True)
class EconomicsPage:
    """What K costs. Address: `economics`, with the queries `labeler`, `read_s` and `item_s`. Nothing is sent."""

    template: ClassVar[str] = "economics.html"

    rows: tuple[EconomicsRow, ...]
    charts: tuple[Chart, ...]
    labelers: tuple[Option, ...]
    labeler: str = ""
    """Whose figures; "" for all."""
    break_even_pairs: float = 6.0
    break_even_bits: float = 3.65
    """The largest K pays while it takes less than so many times as long as the smallest."""
    partial: int = 0
    """Rankings with an output that is not rankable: their time and the pairs that they order count."""
    skipped: int = 0
    skipped_seconds: float = 0.0
    """Tasks that were skipped, and the time that went into them: it is in the cost."""
    resamples: int = 0
    """Of each interval."""
    time_ratio: float | None = None
    """How many times as long it takes."""
    read_s: float = 30.0
    item_s: float = 2.0
    """For the estimate: seconds to read the prompt, and per output."""
    estimate: tuple[tuple[int, float], ...] = ()
    """K and pairs per hour, from these two."""


@dataclass(frozen=True, slots=True)
class FlagAgreement:
    """How far labelers agree on one flag."""

    label: str
    prevalence: float
    positive: float | None
    """Positive agreement; None where the flag never occurs."""
    alpha: float | None
    """None: undefined, as there is no variance."""
    n: int


@dataclass(frozen=True, slots=True)
class GapRow:
    """Agreement on pairs whose ranks differ by `gap`, or on tasks with `gap` outputs."""

    gap: int
    estimate: Estimate | None


@dataclass(frozen=True, slots=True)
class AgreementPage:
    """How far labelers agree. Address: `agreement`, with the queries `campaign` and `period`. Nothing is sent."""

    template: ClassVar[str] = "agreement.html"

    period: Period
    campaigns: tuple[Option, ...]
    campaign: str
    train: Estimate | None
    heldout: Estimate | None
    """Over pairs that both ordered."""
    with_ties: Estimate | None
    """A tie against an order counts half."""
    alpha_likert: Estimate | None
    """Krippendorff's alpha on the grades, as ordinals (not a share)."""
    alpha_pairs: Estimate | None
    charts: tuple[Chart, ...]
    flags: tuple[FlagAgreement, ...]
    by_k: tuple[GapRow, ...] = ()
    by_distance: tuple[GapRow, ...] = ()
    left_out: int = 0
    """Rankings with an output that is not rankable."""
    resamples: int = 0
    """Of each interval."""


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One export; it is never rewritten."""

    id: str
    kind: ExportKind
    format: ExportFormat
    campaign: str
    at: datetime
    by: str
    rows: int
    state: ExportState
    sha256: str = ""
    files: tuple[tuple[str, int], ...] = ()
    """Name and bytes of each."""
    problem: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class ExportsPage:
    """Exports, newest first. Address: `exports`.

    Sends: `kind`, `format`, `campaign` ("" for all), `split` (train | valid | test | all), `include_ties` = 1,
    `include_surplus` = 1, `seed`.
    """

    template: ClassVar[str] = "exports.html"

    rows: tuple[ExportRow, ...]
    campaigns: tuple[Option, ...]
    flagged: int = 0
    """Prompts of the training side in which something personal was found: exports of prompts leave them out."""
    sent: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the form held that was refused, to be mended."""
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One event of the log."""

    seq: int
    at: datetime
    actor: str
    verb: str
    object: str
    hash: str


@dataclass(frozen=True, slots=True)
class AuditPage:
    """The log of who did what; it holds no texts. Address: `audit`, with the queries `page`, `actor` and `verb`."""

    template: ClassVar[str] = "audit.html"

    rows: tuple[AuditRow, ...]
    paging: Paging
    verbs: tuple[Option, ...]
    verb: str = ""
    actor: str = ""
    chain_ok: bool | None = None
    """Whether every event follows from the one before; None: not checked."""
    checked: int = 0
    """Events that were checked."""


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """One labeler's conversation in the list of them."""

    labeler: str
    name: str
    last: Line
    unread: int


@dataclass(frozen=True, slots=True)
class InboxPage:
    """Conversations with labelers. Address: `inbox` or `thread`. Sends, to `thread`: `body`."""

    template: ClassVar[str] = "inbox.html"

    threads: tuple[ThreadRow, ...]
    labeler: str | None = None
    name: str = ""
    lines: tuple[Line, ...] = ()
    """The conversation that is open, oldest first."""
    body: str = ""
    max_chars: int = 4000
    errors: Errors = field(default_factory=dict[str, Message])
