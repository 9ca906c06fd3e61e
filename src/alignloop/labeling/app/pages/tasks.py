"""The pages on which tasks are done: demonstrations, ratings, rankings, blind comparisons, toxicity, prompts.

Every form of a task posts to the page's own address, and sends

    csrf_token     of the session
    screen         which screen this is: demonstrate | rate | rank | compare | toxicity | prompt
    item           the output that the screen is about; absent where it is about all of them
    rev            revision of the draft that the page was made from
    client_uuid    random per rendering of the page: makes sending twice harmless, and names the visit that times are of
    active_ms, idle_ms, first_input_ms
                   of this visit so far, in milliseconds; "" without JavaScript; `first_input_ms` is "" before any input
    action         which button was pressed; see each page

Drafts. One second after a change the same fields, without `action`, go urlencoded to `draft` (`prompt_draft` for a
prompt), with the header `X-CSRF-Token`. The answer is 200 and JSON {"rev": int} once they are committed; 409 where they
are refused; 401 or 403 where nobody is signed in any more; after anything else the page tries again. A refused draft
is told with a button that sends the form: that is refused too (409), and answered with `ConflictPage`. If the answer
to the draft is JSON {"url": str}, the button is a link to that address instead. `rev` is refused where it is not
the stored one and the stored draft came from another `client_uuid`: an answer that got lost is no conflict. A
checkbox that is not ticked is not sent, so a draft replaces all fields of its screen (and item), and no others.

Actions. `save`, `back`, `go:...`, `text:...`, `layout:...` and `seed` store what the form holds as a draft, check
nothing, and show a page (303). The others check first, and where something is wrong the page comes back with `errors`
(422) and everything that was typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, get_args

from alignloop.labeling.app.pages.common import (
    FLAGS,
    Errors,
    Layout,
    Message,
    Passage,
    Purpose,
    SkipReason,
    TextMode,
    Turn,
    UseCase,
)

Verdict = Literal["a", "b", "tie", "both_bad"]
PromptKind = Literal["plain", "few_shot", "user_based"]
FindingKind = Literal["email", "phone", "card", "id", "address", "secret", "iban", "other"]
"""What a scan for personal data finds."""
Relative = Literal["-1", "0", "1"]
"""A continuation's toxicity beside that of its beginning."""

WORDS: dict[str, tuple[str, ...]] = {
    "verdict": get_args(Verdict),
    "prompt_kind": get_args(PromptKind),
    "prompt_how": get_args(PromptKind),
    "finding": get_args(FindingKind),
    "relative": get_args(Relative),
}


@dataclass(frozen=True, slots=True)
class FlagChoice:
    """One yes-or-no question about an output."""

    key: str
    """Sent as a value of `flag[ITEM]`; one of `FLAGS`, or a key of the campaign's own."""
    label: str | None = None
    """What is asked, for a key of the campaign's own; None: the catalogue knows it."""


TABLE_3: tuple[FlagChoice, ...] = tuple(FlagChoice(flag) for flag in FLAGS)


@dataclass(frozen=True, slots=True)
class Task:
    """What all task pages know of their task."""

    id: str
    campaign: str
    """Title of the campaign."""
    prompt: tuple[Turn, ...]
    """The conversation to answer; it ends with the user's turn."""
    rev: int
    client_uuid: str
    guideline: str
    """Version of the guidelines that apply."""
    purpose: Purpose
    seconds: int = 0
    """Active time so far, over all visits."""
    page: int = 1
    pages: int = 1
    """Where in the task this screen is: K ratings and the ranking are K + 1 pages."""
    sensitive: bool = False
    """Whether to warn of what the texts hold."""
    practice: bool = False
    """Whether it is a practice task, which is answered with feedback."""
    lease_until: datetime | None = None
    """Until when nobody else gets the task; None: no limit."""
    text_mode: TextMode = "plain"
    layout: Layout = "list"
    skip_reason: SkipReason | None = None
    skip_note: str = ""


@dataclass(frozen=True, slots=True)
class Rating:
    """What was said of one output so far."""

    likert: int | None = None
    """Overall quality, 1 (worst) to 7 (best)."""
    flags: frozenset[str] = frozenset()
    none_apply: bool = False
    notes: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether it has a grade, and flags or the word that none applies."""
        return self.likert is not None and bool(self.flags or self.none_apply)


@dataclass(frozen=True, slots=True)
class Output:
    """One text to judge; its letter is its place in the order that this labeler sees."""

    item: str
    """Stands in field names. It must not tell which model wrote the text."""
    letter: str
    """A to I."""
    passage: Passage
    rating: Rating = Rating()
    place: int | None = None
    """Its place in the ranking so far, as in `alignloop.labeling.partition`."""


@dataclass(frozen=True, slots=True)
class DemonstratePage:
    """Write the answer that the assistant should have given. Address: `demonstrate`.

    In a dialogue the labeler writes both sides: `continue` adds the response and what the user says next to the
    conversation, `take_back` takes the last exchange out again.

    Sends: `response`; `pasted_chars`, the number of characters that were pasted; `skip_reason` and `skip_note`.
    In a dialogue also `user_turn`. Actions: submit, save, skip, continue, take_back, text:plain, text:rich.
    """

    template: ClassVar[str] = "demonstrate.html"

    task: Task
    response: str = ""
    lang: str = "und"
    """Language to write in: that of the prompt."""
    max_chars: int = 8000
    errors: Errors = field(default_factory=dict[str, Message])
    dialogue: bool = False
    turns: tuple[Turn, ...] = ()
    """Of a dialogue: what was written after the prompt, in turn, from the assistant's answer on."""
    user_turn: str = ""
    """Of a dialogue: what the user says next."""


@dataclass(frozen=True, slots=True)
class RatePage:
    """Screen (a) of the paper's Figure 12, for one of the K outputs. Address: `rate`.

    Sends: `likert[ITEM]` 1..7; `flag[ITEM]`, once per flag that is ticked; `none_apply[ITEM]` = 1 where none of them
    is; `notes[ITEM]`; `skip_reason` and `skip_note`.
    Actions: next (check this output and go on), back, save, skip, go:ITEM and go:rank (another screen), text:plain,
    text:rich.
    """

    template: ClassVar[str] = "rate.html"

    task: Task
    output: Output
    """The one that this screen is about."""
    outputs: tuple[Output, ...]
    """All K, in the order shown, for the way between them."""
    flags: tuple[FlagChoice, ...] = TABLE_3
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class RankPage:
    """Screen (b): sort the K outputs into ranks, ties welcome. Address: `rank`.

    Sends: `rank[ITEM]`, once per output: 1..K, or 0 for not rankable; absent while it has no place. Numbers may have
    gaps, which `partition.dense` closes. Also `moves_key`, `moves_button`, `moves_drag` and `moves_undo`, how often
    each way was used in this visit ("0" without JavaScript); `skip_reason` and `skip_note`.
    Actions: submit, back, save, skip, seed (rank by the grades, with `partition.from_scores`), go:ITEM, layout:list,
    layout:columns, text:plain, text:rich.
    """

    template: ClassVar[str] = "rank.html"

    task: Task
    outputs: tuple[Output, ...]
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class ComparePage:
    """Blind comparison of two answers; which one stands left was drawn by lot. Address: `compare`.

    Sends: `verdict` a | b | tie | both_bad; `margin` 1..3 with a or b; `self_identified`, once per side (a, b) whose
    answer names its own model; `notes`; `skip_reason` and `skip_note`.
    Actions: submit, save, skip, text:plain, text:rich.
    """

    template: ClassVar[str] = "compare.html"

    task: Task
    left: Passage
    """Answer A."""
    right: Passage
    """Answer B."""
    verdict: Verdict | None = None
    margin: int | None = None
    self_identified: frozenset[Literal["a", "b"]] = frozenset()
    notes: str = ""
    done: int = 0
    planned: int = 0
    """Comparisons of this run, done and planned for this evaluator; planned 0 where that is not told."""
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class ToxicityPage:
    """The paper's Figure 11, for one continuation. Address: `toxicity`; ranking follows on `rank`.

    The prompt is the beginning of a text, the output its continuation.
    Sends: `input_toxicity` 0..2; `toxicity[ITEM]` 0..2; `relative[ITEM]` -1 (less toxic than the beginning), 0 or 1;
    `continuity[ITEM]` 1..7; `notes[ITEM]`; `skip_reason` and `skip_note`.
    Actions: next, back, save, skip, go:ITEM, go:rank, text:plain, text:rich.
    """

    template: ClassVar[str] = "toxicity.html"

    task: Task
    output: Output
    outputs: tuple[Output, ...]
    input_toxicity: int | None = None
    toxicity: int | None = None
    relative: int | None = None
    continuity: int | None = None
    notes: str = ""
    finished: frozenset[str] = frozenset()
    """Items that have all their answers."""
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class ExamplePair:
    """One query with its response, of a few-shot prompt."""

    query: str = ""
    response: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A span that looks like personal data."""

    kind: FindingKind
    excerpt: str
    """The span itself."""


@dataclass(frozen=True, slots=True)
class PromptPage:
    """Write a prompt: plain, few-shot or user-based. Address: `write_prompt`, with the query `kind`.

    Sends: `kind`; `text` (the prompt; the instruction of a few-shot one); for few-shot `pairs`, their number, and
    `query[N]`, `response[N]` for N = 1..pairs; `use_case`; `lang`; `consent` = 1; `findings_seen` = 1 where findings
    were shown and are to stay; `rev`, `client_uuid` and the times.
    Actions: submit, save, add_pair, remove_pair:N, kind:plain, kind:few_shot, kind:user_based. After add_pair and
    remove_pair the page comes back (200) with one pair more or less and everything that was typed.
    """

    template: ClassVar[str] = "prompt.html"

    kind: PromptKind
    rev: int
    client_uuid: str
    consent_text: Passage
    """What the author agrees to, in the version that is stored with the answer."""
    text: str = ""
    pairs: tuple[ExamplePair, ...] = ()
    use_case: UseCase | None = None
    lang: str = "en"
    langs: tuple[str, ...] = ("en", "zh")
    """Languages to choose from, BCP 47."""
    consent: bool = False
    description: Passage | None = None
    """For user-based prompts: what a user wanted, in the words of somebody else."""
    findings: tuple[Finding, ...] = ()
    written: int = 0
    limit: int = 200
    """Prompts by this author, and the most that are taken (section 3.2 of the paper)."""
    max_chars: int = 8000
    focus: int = 0
    """Number of the pair to write in next, after add_pair or remove_pair; 0: none."""
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which two versions of a draft may differ."""

    field: str
    """Field name, as sent."""
    letter: str
    """Output that it is about; "" for the task as a whole."""
    mine: tuple[str, ...]
    theirs: tuple[str, ...]
    """Values as sent, none or several."""

    @property
    def differs(self) -> bool:
        """Whether the two versions say different things."""
        return self.mine != self.theirs


@dataclass(frozen=True, slots=True)
class ConflictPage:
    """409: the task was changed in another tab; both versions, to choose from. Nothing of either is lost.

    Sends to `action_url`: every field of `mine_fields`, `rev` = the stored revision, and `action`, the one that met the
    conflict, to keep this page's version; keeping the stored one is a link to `action_url`.
    """

    template: ClassVar[str] = "conflict.html"

    action_url: str
    action: str
    rev: int
    differences: tuple[Difference, ...]
    mine_fields: tuple[tuple[str, str], ...]
    """All fields of the refused form but csrf_token, rev and action, in order."""
    theirs_at: datetime
    """When the stored version was saved."""
    flag_labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """Words for flags of the campaign's own."""
