"""The pages around the tasks: signing in, guidelines, the queue, feedback on practice, my work, messages, errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import ClassVar, Literal, get_args

from alignloop.labeling.app.pages.common import (
    Errors,
    Kind,
    Line,
    Message,
    Passage,
    Purpose,
    Role,
    Turn,
)

SectionKey = Literal["helpful", "truthful", "harmless", "other"]
BlockedBy = Literal["guidelines", "practice", "screening", "review", "suspended", "cohort"]
"""Why a queue cannot be worked on yet."""
StepKey = Literal["guidelines", "practice", "screening", "review"]
StepState = Literal["done", "now", "later", "failed"]
WorkState = Literal["final", "skipped", "reopened", "surplus", "withdrawn"]
Band = Literal["high", "usual", "low", "unknown"]
"""How far somebody agrees with others, in words: within, above or below what is usual."""
Relation = Literal["better", "tied", "worse"]
ErrorStatus = Literal[403, 404, 413, 429, 500]

WORDS: dict[str, tuple[str, ...]] = {
    "section": get_args(SectionKey),
    "blocked": get_args(BlockedBy),
    "step": get_args(StepKey),
    "step_state": get_args(StepState),
    "work_state": get_args(WorkState),
    "band": get_args(Band),
    "relation": get_args(Relation),
    "status_title": tuple(str(status) for status in get_args(ErrorStatus)),
    "status_text": tuple(str(status) for status in get_args(ErrorStatus)),
}


@dataclass(frozen=True, slots=True)
class SignInPage:
    """Address: `sign_in`. Sends: `email`, `password`, `next`.

    Nobody is signed in yet, so the token is that of a cookie for this form.
    """

    template: ClassVar[str] = "sign_in.html"

    next: str = "/"
    """Path to go to afterwards; the server checks that it is one of its own."""
    email: str = ""
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class InvitePage:
    """Accept an invitation. Address: `invite`. Sends: `name`, `password`, `password_again`, `locale`."""

    template: ClassVar[str] = "invite.html"

    token: str
    email: str
    role: Role
    expires: datetime
    name: str = ""
    min_password: int = 12
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class GuidelineSection:
    """One part of the guidelines."""

    key: SectionKey
    body: Passage
    title: str = ""
    """For sections of the project's own (`other`); the catalogue has the titles of the three."""


@dataclass(frozen=True, slots=True)
class GuidelinesPage:
    """The guidelines in force. Address: `guidelines`. Sends: `version`, which was read and accepted, and `next`."""

    template: ClassVar[str] = "guidelines.html"

    version: str
    issued: date
    sections: tuple[GuidelineSection, ...]
    purpose: Purpose
    """What the reader labels for; the priority that then applies stands first."""
    acknowledged: datetime | None = None
    """When the reader accepted this version; None: the button is shown."""
    changes: Passage | None = None
    """What is new since the version that the reader accepted before."""
    next: str = "/"


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way to real tasks."""

    key: StepKey
    state: StepState
    done: int = 0
    total: int = 0
    """Tasks of the step; 0 where it has none."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What one campaign has for the reader."""

    campaign: str
    """Public id."""
    title: str
    kind: Kind
    available: int
    """Tasks that could be taken now."""
    done_today: int
    seconds_each: float | None
    """Median active time, of the reader or else of everybody; None before anybody did one."""
    pay_each: tuple[Decimal, str] | None = None
    """Amount and currency."""
    k_range: tuple[int, int] | None = None
    """Least and most outputs, for rankings."""
    open_task: str | None = None
    """A task that was begun; working on the queue goes on with it."""
    blocked: BlockedBy | None = None
    practice: bool = False


@dataclass(frozen=True, slots=True)
class HomePage:
    """What is to do. Address: `home`. Sends, to `claim`: `campaign` (takes a task, or goes on with the open one)."""

    template: ClassVar[str] = "home.html"

    steps: tuple[Step, ...]
    """The way in; empty once it is done."""
    queues: tuple[Queue, ...]
    latest: tuple[Line, ...] = ()
    """The last messages, newest first."""
    done_today: int = 0
    active_seconds_today: float = 0.0
    guideline: str = ""
    """Version of the guidelines in force."""


@dataclass(frozen=True, slots=True)
class PairFeedback:
    """Two outputs of a practice task, as the researchers ordered them, and as the reader did."""

    first: str
    """Letter of an output."""
    second: str
    expected: Relation
    """What `first` is to `second`."""
    given: Relation
    why: Passage | None = None


@dataclass(frozen=True, slots=True)
class FlagFeedback:
    """A flag on which reader and researchers differ."""

    letter: str
    label: str
    """Words of the flag."""
    expected: bool


@dataclass(frozen=True, slots=True)
class FeedbackPage:
    """What the researchers thought of a practice task. Address: `feedback`. Sends, to `claim`: `campaign`."""

    template: ClassVar[str] = "feedback.html"

    campaign: str
    """Public id, for the next one."""
    prompt: tuple[Turn, ...]
    outputs: tuple[tuple[str, Passage], ...]
    """Letter and text of each."""
    pairs: tuple[PairFeedback, ...]
    """All pairs, those on which reader and researchers differ first."""
    flags: tuple[FlagFeedback, ...] = ()
    grades: tuple[tuple[str, int, int], ...] = ()
    """Letter, the reader's grade, the researchers'."""
    explanation: Passage | None = None
    done: int = 0
    total: int = 0
    """Practice tasks done, and in all."""


@dataclass(frozen=True, slots=True)
class WorkRow:
    """One piece of the reader's work."""

    submission: str
    task: str
    kind: Kind
    campaign: str
    at: datetime
    state: WorkState
    active_seconds: float
    reopen_until: datetime | None = None
    """Until when it may be opened again; None: no longer."""


@dataclass(frozen=True, slots=True)
class WorkDay:
    """One day's work."""

    day: date
    tasks: int
    active_seconds: float


@dataclass(frozen=True, slots=True)
class WorkPage:
    """The reader's last 20 pieces of work, hours, and how far others agree. Address: `work`.

    Sends, to `reopen`: nothing but the token.
    """

    template: ClassVar[str] = "work.html"

    rows: tuple[WorkRow, ...]
    days: tuple[WorkDay, ...]
    """The last days with work, newest first."""
    week_seconds: float
    month_seconds: float
    band: Band
    band_pairs: int = 0
    """Pairs behind the band."""
    earned: tuple[Decimal, str] | None = None
    """This month, with currency."""


@dataclass(frozen=True, slots=True)
class MessagesPage:
    """The reader's conversation with the researchers.

    Address: `messages`, with the query `task`. Sends: `body`, and `task` where it is about one.
    """

    template: ClassVar[str] = "messages.html"

    lines: tuple[Line, ...]
    """Oldest first."""
    body: str = ""
    task: str | None = None
    max_chars: int = 4000
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """Something that cannot be shown or done, in words that help. Nothing is sent."""

    template: ClassVar[str] = "error.html"

    status: ErrorStatus
    reference: str = ""
    """Id of the log entry, for 500."""
    wait_seconds: int = 0
    """For 429."""
    limit_bytes: int = 0
    """For 413."""
