"""What pages share: the view around them, texts, messages, estimates, and the values that choices may take.

Names in a `Literal` have words in the catalogue, under the prefix that `WORDS` gives; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import ClassVar, Literal, Protocol, get_args

from markupsafe import Markup

from alignloop.web.i18n import Locale

Theme = Literal["auto", "light", "dark"]
Layout = Literal["list", "columns"]
"""How outputs are shown: one below the other, or side by side."""
TextMode = Literal["plain", "rich"]
"""How texts are shown: as written, or with their formatting."""
Role = Literal["labeler", "researcher"]
Kind = Literal["demo", "prompt", "rank", "eval", "toxicity"]
"""What a campaign asks for."""
Purpose = Literal["training", "evaluation"]
"""What labels are for; it decides what comes first (section 3.4 of the paper)."""
CampaignPurpose = Literal["training", "evaluation", "practice", "screening"]
"""What a campaign is for: the last two teach and screen, by the priorities of training."""
Cohort = Literal["train", "heldout", "pilot", "users"]
"""Whose work something is; users are those of the chat page, who are no labelers."""

Flag = Literal[
    "instruction",
    "inappropriate",
    "hallucination",
    "constraint",
    "sexual",
    "violent",
    "encourages_harm",
    "denigrates",
    "harmful_advice",
    "opinion",
    "moral",
]
"""The eleven binary labels of the paper's Table 3, in its order."""
FLAGS: tuple[Flag, ...] = get_args(Flag)

SkipReason = Literal["unclear", "expertise", "language", "distressing", "broken", "other"]
"""Why a task is passed on; the note says more."""

UseCase = Literal[
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
]
"""The ten classes of the paper's Table 1."""

FieldName = Literal[
    "likert",
    "flag",
    "none_apply",
    "notes",
    "rank",
    "response",
    "user_turn",
    "verdict",
    "margin",
    "self_identified",
    "input_toxicity",
    "toxicity",
    "relative",
    "continuity",
    "kind",
    "text",
    "query",
    "use_case",
    "lang",
    "consent",
    "findings_seen",
    "skip_reason",
    "skip_note",
    "email",
    "password",
    "password_again",
    "name",
    "title",
    "policies",
    "k_min",
    "k_max",
    "planned",
    "overlap",
    "pay",
    "choice",
    "accepted",
    "reason",
    "note",
    "body",
    "seed",
    "purpose",
    "cohort",
    "prompt_set",
    "guideline",
    "flag_set",
    "shared_percent",
    "gold_percent",
    "repeat_percent",
    "lease_minutes",
    "currency",
    "role",
    "split",
    "format",
    "campaign",
    "score",
]
"""Fields of forms, for lists of what is missing and of what two versions differ in; without what is in brackets."""

ErrorKey = Literal[
    "required",
    "likert",
    "flags",
    "ranks",
    "verdict",
    "margin",
    "reason",
    "too_short",
    "too_long",
    "sign_in",
    "throttled",
    "passwords_differ",
    "password_short",
    "password_common",
    "email",
    "number",
    "k_range",
    "pair_empty",
    "consent",
    "pii",
    "expired",
    "taken",
    "contradicts",
    "two_policies",
    "currency",
    "too_few",
    "frozen",
    "cohort_kept",
    "own_work",
]
"""What can be wrong with a field.

`too_short`, `too_long` and `password_short` take `limit`, `throttled` `seconds`, `too_few` `n`.
"""

NoticeKey = Literal[
    "saved",
    "submitted",
    "surplus",
    "skipped",
    "acknowledged",
    "reopened",
    "welcome",
    "signed_out",
    "signed_out_everywhere",
    "sent",
    "invited",
    "settings",
    "campaign_saved",
    "campaign_state",
    "campaign_stale",
    "gold_saved",
    "gold_late",
    "grade_saved",
    "grade_late",
    "labeler_saved",
    "adjudicated",
    "export_started",
    "queue_empty",
    "contradictions",
]
"""What a redirect may tell on the next page. `invited` takes `link`, `contradictions` and `surplus` take nothing."""

WORDS: dict[str, tuple[str, ...]] = {
    "theme": get_args(Theme),
    "role": get_args(Role),
    "kind": get_args(Kind),
    "purpose": get_args(CampaignPurpose),
    "priority": get_args(Purpose),
    "cohort": get_args(Cohort),
    "flag": FLAGS,
    "skip": get_args(SkipReason),
    "use_case": get_args(UseCase),
    "turn": ("system", "user", "assistant"),
    "field": get_args(FieldName),
    "error": get_args(ErrorKey),
    "notice": get_args(NoticeKey),
    "nav": (
        *("home", "write_prompt", "work", "guidelines", "messages"),
        *("overview", "campaigns", "labelers", "disagreements", "agreement"),
        *("economics", "exports", "audit", "inbox"),
    ),
}
"""Prefix in the catalogue -> names; `pages.WORDS` has those of all modules."""


class Page(Protocol):
    """A page: a frozen dataclass that names its template."""

    template: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence of the catalogue, with what goes into its gaps."""

    key: ErrorKey
    values: Mapping[str, str | int] = field(default_factory=dict[str, str | int])


Errors = Mapping[str, Message]
"""Field name -> what is wrong with it; the name "" is the form as a whole. Pages come back with status 422 then."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What the last request did, told once at the top of the page."""

    key: NoticeKey
    kind: Literal["good", "info", "warning"] = "good"
    values: Mapping[str, str | int] = field(default_factory=dict[str, str | int])


@dataclass(frozen=True, slots=True)
class User:
    """Who is signed in."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class View:
    """What surrounds every page: who looks at it, in which language and colours, and the session's token.

    Sends back, from the menu at the top, to `settings`: `next` and one of `theme`, `locale`, `single_keys` (on | off),
    `blur` (on | off); and to `sign_out`: nothing, or `everywhere` = 1.
    """

    csrf_token: str
    """Goes into every form as the hidden field `csrf_token`."""
    now: datetime
    """The time of the request, UTC."""
    path: str = "/"
    """Path and query of this page: where `settings` returns to."""
    locale: Locale = "en"
    theme: Theme = "auto"
    user: User | None = None
    """None: nobody is signed in, and there is no navigation."""
    unread: int = 0
    """Messages not read yet."""
    notice: Notice | None = None
    single_keys: bool = True
    """Whether shortcuts of a single character are on (WCAG 2.1.4)."""
    blur: bool = False
    """Whether texts marked sensitive are blurred until asked for."""
    zone: tzinfo = UTC
    """In which zone times are written."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text by a person or a model."""

    text: str
    """As it was written; shown whole, with its line breaks."""
    lang: str = "und"
    """BCP 47 tag of its language; `und` where it is not known."""
    rich: Markup | None = None
    """The same with its formatting, as HTML that was sanitised already; None: plain only."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation that a prompt is; a plain prompt is one turn of the user's."""

    role: Literal["system", "user", "assistant"]
    passage: Passage


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share or a mean with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    """Independent units behind it."""


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a list that the server fills: what is sent, and what is read."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Paging:
    """Where in a long list the page is; numbers start at 1."""

    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a conversation between a labeler and the researchers."""

    author: str
    """The name that is shown; researchers may share one."""
    mine: bool
    """Whether whoever looks at it wrote it."""
    at: datetime
    text: str
    task: str | None = None
    """Task that it is about, if any."""
