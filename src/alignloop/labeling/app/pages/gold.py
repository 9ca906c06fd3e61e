"""The researchers' pages about right answers: which tasks get them, giving them, and grading demonstrations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from alignloop.labeling.app.pages.common import Errors, Message, Passage, Turn
from alignloop.labeling.app.pages.tasks import FlagChoice, Output


@dataclass(frozen=True, slots=True)
class GoldTask:
    """A task that could be given right answers."""

    task: str
    prompt: tuple[Turn, ...]
    k: int


@dataclass(frozen=True, slots=True)
class GoldTasksPage:
    """Tasks of a campaign that could be given right answers. Address: `gold_tasks`. Nothing is sent."""

    template: ClassVar[str] = "gold_tasks.html"

    campaign: str
    title: str
    rows: tuple[GoldTask, ...]
    done: int
    """Tasks that have right answers."""
    teaches: bool
    """Practice and screening: the tasks themselves get them. Elsewhere a copy does, which takes the task's place."""


@dataclass(frozen=True, slots=True)
class GoldPage:
    """Right answers to one task, on the labelers' own screen. Address: `gold`.

    Sends: `rank[ITEM]` as on `RankPage`, of all outputs or of none; `flag[ITEM]` and `none_apply[ITEM]` as on
    `RatePage`, where something is known of that output's flags. Items are places in this reader's own order.
    """

    template: ClassVar[str] = "gold.html"

    campaign: str
    title: str
    task: str
    prompt: tuple[Turn, ...]
    outputs: tuple[Output, ...]
    flags: tuple[FlagChoice, ...]
    sensitive: bool = False
    errors: Errors = field(default_factory=dict[str, Message])


@dataclass(frozen=True, slots=True)
class GradePage:
    """Grade a demonstration of practice or screening without knowing whose it is. Address: `grade`.

    Sends: `submission`, `score` 1 to 7.
    """

    template: ClassVar[str] = "grade.html"

    submission: str
    """Empty: nothing is left to grade."""
    prompt: tuple[Turn, ...] = ()
    response: Passage | None = None
    left: int = 0
    errors: Errors = field(default_factory=dict[str, Message])
