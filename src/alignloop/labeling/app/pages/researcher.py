"""The researchers' pages about work and people: overview, campaigns, labelers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Literal, get_args

from markupsafe import Markup

from alignloop.labeling.app.pages.common import (
    CampaignPurpose,
    Cohort,
    Errors,
    Estimate,
    Kind,
    Message,
    Option,
    Role,
    Turn,
)

Period = Literal["7d", "30d", "all"]
CampaignState = Literal["draft", "open", "paused", "closed"]
TaskState = Literal["open", "in_work", "done", "skipped", "dropped"]
LabelerState = Literal["invited", "practice", "screening", "active", "suspended"]
Decision = Literal["accept", "reject"]
AlertKey = Literal["skipped_often", "leases_expired", "queue_short", "drift", "surplus", "pii"]
FigureKey = Literal[
    "labels_today",
    "labels_week",
    "queue",
    "active_labelers",
    "agreement",
    "hours",
    "cost",
    "cost_each",
]

WORDS: dict[str, tuple[str, ...]] = {
    "period": get_args(Period),
    "campaign_state": get_args(CampaignState),
    "task_state": get_args(TaskState),
    "labeler_state": get_args(LabelerState),
    "decision": get_args(Decision),
    "alert": get_args(AlertKey),
    "figure": get_args(FigureKey),
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture made by `charts`, with its title; the picture brings its own table of numbers."""

    title: str
    svg: Markup
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the overview."""

    key: FigureKey
    value: str
    """Written out, with its unit."""
    note: str = ""
    """What to compare it with."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a researcher should look at."""

    key: AlertKey
    n: int
    """How many there are; words of the catalogue take it."""
    link: str
    """Path of the page that shows them."""


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """One campaign in a list."""

    id: str
    title: str
    kind: Kind
    state: CampaignState
    done: int
    wanted: int
    """Labels: tasks times overlap."""
    overlap: int
    k_range: tuple[int, int] | None
    agreement: Estimate | None
    cost: tuple[Decimal, str] | None
    purpose: CampaignPurpose
    cohort: Cohort


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """How the work goes. Address: `overview`, with the query `period`. Nothing is sent."""

    template: ClassVar[str] = "overview.html"

    period: Period
    figures: tuple[Figure, ...]
    charts: tuple[Chart, ...]
    campaigns: tuple[CampaignRow, ...]
    """Those that are open."""
    alerts: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True)
class CampaignsPage:
    """All campaigns. Address: `campaigns`, with the query `state`. Nothing is sent."""

    template: ClassVar[str] = "campaigns.html"

    rows: tuple[CampaignRow, ...]
    state: CampaignState | None = None
    """Only those in this state; None: all."""


@dataclass(frozen=True, slots=True)
class CampaignValues:
    """What a campaign is made of, as strings from a form or a store."""

    title: str = ""
    kind: str = "rank"
    purpose: str = "training"
    cohort: str = "train"
    prompt_set: str = ""
    policies: tuple[str, ...] = ()
    k_min: str = "4"
    k_max: str = "9"
    overlap: str = "1"
    shared_percent: str = "15"
    """Share of tasks that several do, so that agreement can be measured."""
    gold_percent: str = "5"
    repeat_percent: str = "3"
    lease_minutes: str = "60"
    pay: str = ""
    currency: str = "EUR"
    guideline: str = ""
    flag_set: str = ""
    planned: str = ""
    """Comparisons of an evaluation, fixed before the first."""


@dataclass(frozen=True, slots=True)
class CampaignFormPage:
    """Make or change a campaign. Address: `new_campaign` or `edit_campaign`.

    Sends the fields of `CampaignValues`, under their names; `policies` once per policy that is ticked.
    """

    template: ClassVar[str] = "campaign_form.html"

    id: str | None
    """None: a new one."""
    values: CampaignValues
    prompt_sets: tuple[Option, ...]
    policies: tuple[Option, ...]
    guidelines: tuple[Option, ...]
    flag_sets: tuple[Option, ...]
    is_frozen: bool = False
    """Whether it has tasks already: what was asked and of whom stays then."""
    fixed: frozenset[str] = frozenset()
    """Fields beside those that stay too: `shared_percent`, and `overlap` of an evaluation that was opened."""
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class CampaignLabeler:
    """One labeler's part in a campaign."""

    id: str
    name: str
    done: int
    skipped: int
    seconds_each: float | None
    agreement: Estimate | None
    tie_share: float | None
    gold: tuple[int, int] | None
    """Gold pairs right, and in all."""


@dataclass(frozen=True, slots=True)
class SkippedTask:
    """A task that several skipped."""

    task: str
    prompt: tuple[Turn, ...]
    reasons: tuple[tuple[str, str], ...]
    """Reason (a key of `SkipReason`) and note, per skip."""


@dataclass(frozen=True, slots=True)
class CampaignPage:
    """One campaign. Address: `campaign`.

    Sends, to `campaign_state`: `state` (open | paused | closed), or `task` with `drop` = 1 or `keep` = 1, for a
    task that was skipped often.
    """

    template: ClassVar[str] = "campaign.html"

    row: CampaignRow
    guideline: str
    tasks: Mapping[TaskState, int]
    charts: tuple[Chart, ...]
    labelers: tuple[CampaignLabeler, ...]
    skipped: tuple[SkippedTask, ...] = ()
    surplus: int = 0
    """Submissions after the lease had gone to somebody else: kept and paid."""
    result: Estimate | None = None
    """Win rate of a closed evaluation, ties counted half."""
    policies: tuple[str, ...] = ()
    """Names of the models; empty while a blind comparison runs."""
    may_have_gold: bool = False
    """Whether its tasks can be given right answers, on `gold_tasks`."""


@dataclass(frozen=True, slots=True)
class Screening:
    """The paper's four measures (appendix B.1); None: not measured yet."""

    sensitive: float | None = None
    """Agreement with researchers on what is sensitive, as a share."""
    ranking: float | None = None
    """Agreement with researchers on rankings, as a share."""
    demonstrations: float | None = None
    """Mean grade, 1 to 7, of demonstrations for sensitive prompts."""
    topics: tuple[str, ...] = ()
    """Where they say that they can spot sensitive speech."""


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """Soft thresholds: a person decides."""

    sensitive: float = 0.75
    ranking: float = 0.75
    demonstrations: float = 6.0


@dataclass(frozen=True, slots=True)
class LabelerRow:
    """One labeler in a list."""

    id: str
    name: str
    email: str
    role: Role
    cohort: Cohort | None
    state: LabelerState
    screening: Screening
    labels: int
    seconds: float
    agreement: Estimate | None
    last_seen: datetime | None


@dataclass(frozen=True, slots=True)
class LabelersPage:
    """Everybody who labels. Address: `labelers`, with the queries `state` and `cohort`.

    Sends, to `send_invite`: `email`, `role`, `cohort`, `locale`.
    """

    template: ClassVar[str] = "labelers.html"

    rows: tuple[LabelerRow, ...]
    cutoffs: Cutoffs = Cutoffs()
    state: LabelerState | None = None
    cohort: Cohort | None = None
    to_grade: int = 0
    """Demonstrations of practice and screening that this reader has not graded."""
    invite_email: str = ""
    invite_role: Role = "labeler"
    invite_cohort: Cohort = "train"
    invite_link: str = ""
    """Link of the invitation just made: shown once, to copy."""
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class LabelerCampaign:
    """What a labeler did in one campaign."""

    id: str
    title: str
    done: int
    skipped: int
    seconds: float
    agreement: Estimate | None


@dataclass(frozen=True, slots=True)
class LabelerEvent:
    """A decision about a labeler."""

    at: datetime
    actor: str
    what: str
    """In words of the server's."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class LabelerPage:
    """One labeler. Address: `labeler`.

    Sends, to `labeler_decision`: `decision` accept | reject, `note`; to `labeler_cohort`: `cohort`, `note`; to
    `labeler_state`: `state` active | suspended, `note`. Each is noted in the audit log.
    """

    template: ClassVar[str] = "labeler.html"

    row: LabelerRow
    campaigns: tuple[LabelerCampaign, ...]
    charts: tuple[Chart, ...]
    events: tuple[LabelerEvent, ...]
    cutoffs: Cutoffs = Cutoffs()
    tie_share: float | None = None
    contradictions: float | None = None
    """Share of pairs on which grades and ranks point in opposite directions."""
    self_consistency: float | None = None
    """Share of pairs ordered alike when a task came again."""
    position_bias: float | None = None
    """Correlation of rank with place on the page."""
    length_bias: float | None = None
    """Correlation of rank with length."""
    asked: Literal["", "decision", "cohort", "state"] = ""
    """The form that was sent and refused, with `note` in it."""
    note: str = ""
    errors: Errors = field(default_factory=dict[str, Message])
