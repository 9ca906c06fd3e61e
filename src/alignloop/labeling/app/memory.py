"""What one server keeps in memory: figures that took long to compute, and exports that are being made.

Nothing here is the only copy of anything: after a restart figures are computed again, and an export that was being made
is gone, whole.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar, cast

from sqlalchemy import Connection

from alignloop.errors import BusyError
from alignloop.labeling.judged import JudgedSoFar
from alignloop.store import quality
from alignloop.store.audit import Checked, check_on
from alignloop.store.database import Store

T = TypeVar("T")


class Figures:
    """The figures asked for last; each is computed once, however many ask for it at the same time."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._found: OrderedDict[Hashable, _Figure] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The figure of this key. A key has to hold all that the figure depends on, the state of the store included."""
        with self._lock:
            figure = self._found.setdefault(key, _Figure())
            self._found.move_to_end(key)
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        with figure.lock:
            if not figure.is_known:
                figure.value = compute()
                figure.is_known = True
            return cast(T, figure.value)


@dataclass(slots=True)
class _Figure:
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_known: bool = False
    value: object = None


class Settled:
    """The state of the store that figures are made for: of a large one, a new state once a minute.

    While fifty people work, something comes in every few seconds, and each page would count everything anew.
    """

    def __init__(self, large: int = 5000, again_after_ms: int = 60_000) -> None:
        self._large, self._again_after_ms = large, again_after_ms
        self._version: tuple[int, ...] = ()
        self._at = 0
        self._lock = threading.Lock()

    def of(self, version: tuple[int, ...], now: int) -> tuple[int, ...]:
        """This version (`quality.version`), or the one before where nothing but labels came in since.

        What was withdrawn, and what researchers decided, graded or answered, counts at once.
        """
        with self._lock:
            before = self._version
            is_near = (
                bool(before)
                and before[1] >= self._large
                and version[0] >= before[0]
                and version[1] >= before[1]
                and version[2:] == before[2:]
                and 0 <= now - self._at < self._again_after_ms
            )
            if not is_near:
                self._version, self._at = version, now
            return self._version


@dataclass(slots=True)
class Job:
    """An export that is being made, or that could not be made."""

    public_id: str
    kind: str
    form: str
    campaign: str
    by: str
    at: int
    problem: str = ""
    """Why it failed; empty while it runs."""


class Jobs:
    """Exports on their way. Those that are done stand in the store, and here no longer."""

    def __init__(self, most: int = 20) -> None:
        self._most = most
        self._jobs: dict[str, Job] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def start(self, job: Job, work: Callable[[], str]) -> None:
        """Do `work` beside the requests; it returns what went wrong, or nothing."""

        def run() -> None:
            problem = "it could not be made: the terminal says why"
            try:
                problem = work()
            finally:
                with self._lock:
                    if problem:
                        job.problem = problem
                    else:
                        self._jobs.pop(job.public_id, None)

        thread = threading.Thread(target=run, name=f"export {job.public_id}", daemon=True)
        with self._lock:
            self._jobs[job.public_id] = job
            over = len(self._jobs) - self._most
            failed = [name for name, one in self._jobs.items() if one.problem]
            for name in failed[: max(over, 0)]:
                del self._jobs[name]
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
        thread.start()

    def running(self) -> int:
        """How many are being made."""
        with self._lock:
            return sum(not job.problem for job in self._jobs.values())

    def all(self) -> list[Job]:
        """Those that run and the last that failed, newest first."""
        with self._lock:
            return list(self._jobs.values())[::-1]

    def wait(self, seconds: float = 60) -> None:
        """Until all that run are done."""
        for thread in list(self._threads):
            thread.join(seconds)


class Chain:
    """How far the log's chain was checked. Each hour it is checked from its start again."""

    def __init__(self, again_after_ms: int = 3_600_000) -> None:
        self._again_after_ms = again_after_ms
        self._began_at = 0
        self._checked = Checked()
        self._lock = threading.Lock()

    def check(self, connection: Connection, now: int, limit: int) -> Checked:
        """Go on for so many entries; what was found broken stays so until it is checked from the start."""
        with self._lock:
            if not self._checked.entries or now - self._began_at > self._again_after_ms:
                self._began_at, self._checked = now, Checked()
            self._checked = check_on(connection, self._checked, limit)
            return self._checked


@dataclass(frozen=True, slots=True)
class Memory:
    """What one server keeps in memory."""

    judged: JudgedSoFar = field(default_factory=JudgedSoFar)
    figures: Figures = field(default_factory=Figures)
    settled: Settled = field(default_factory=Settled)
    chain: Chain = field(default_factory=Chain)
    exports: Jobs = field(default_factory=Jobs)

    def warm(self, store: Store) -> threading.Thread:
        """Read every judgment beside the requests, before anybody asks for what is made of them.

        Whoever asks meanwhile waits for it, as they would for their own reading.
        """

        def read() -> None:
            with suppress(BusyError), store.read() as connection:
                self.judged.all(connection, quality.version(connection))

        thread = threading.Thread(target=read, name="judgments", daemon=True)
        thread.start()
        return thread
