"""What the routes work on: one lab's store, its folder, and what one server keeps in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from anyio import CapacityLimiter

from alignloop.labeling.app import cookies
from alignloop.labeling.app.memory import Memory
from alignloop.store.database import Store
from alignloop.web.limits import RateLimit
from alignloop.web.security import Origins


@dataclass(frozen=True, slots=True)
class Lab:
    """What the routes work on."""

    store: Store
    origins: Origins
    folder: Path
    """The project's folder, for the files of exports."""
    memory: Memory = field(default_factory=Memory)
    """Figures that took long, and exports that are being made."""
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    """Milliseconds since 1970, UTC."""
    submits: RateLimit = field(default_factory=lambda: RateLimit(120, 60))
    """Submissions per person and minute: far above what anybody reads."""
    drafts: RateLimit = field(default_factory=lambda: RateLimit(300, 60))
    work: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(8))
    """Requests that are worked on at once; others wait in turn, quicker for all than to share the interpreter."""
    figures: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))
    """The same for researchers' pages, apart, so that figures keep no labeler from anything."""

    def cookie(self, name: cookies.Name) -> str:
        """What a cookie of ours is called."""
        return cookies.cookie_name(name, behind_tls=self.origins.behind_tls)

    @property
    def session_cookie(self) -> str:
        """The one that signs somebody in."""
        return self.cookie("session")
