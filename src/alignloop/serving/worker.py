"""A thread that does one model's work: a bounded queue in, events out; deadlines, and requests that are given up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignloop.serving.problems import ApiProblem

_log = logging.getLogger(__name__)


class Inbox:
    """What workers tell one request; made in the event loop that reads it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()

    def put(self, number: int, event: Any) -> None:
        """Called in the event loop."""
        self._events.put_nowait((number, event))

    async def get(self) -> tuple[int, Any]:
        """The next event and the number of the job that it is about.

        Raises:
            ApiProblem: the worker could not do the job.
        """
        number, event = await self._events.get()
        if isinstance(event, ApiProblem):
            raise event
        return number, event

    def is_empty(self) -> bool:
        """Whether `get` would wait."""
        return self._events.empty()


@dataclass(eq=False, slots=True)
class Job:
    """One thing to do for a request."""

    number: int
    """Its place among the request's jobs."""
    inbox: Inbox
    size: int
    """Rows that it takes while it is done."""
    arrived: float
    deadline: float
    """When it is given up, by the worker's clock."""
    is_cancelled: bool = field(default=False, init=False)


class Worker(ABC):
    """One thread, one model. Subclasses say what a round of work is."""

    def __init__(self, name: str, queue: int, clock: Callable[[], float]) -> None:
        """A worker that is to be started.

        Args:
            queue: rows that may wait beyond those that there is room for.
            clock: seconds, never backwards.
        """
        self.name, self.clock = name, clock
        self._queue = queue
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"model {name}", daemon=True)
        self._letters: list[tuple[Job, Any]] = []

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Give up what is under way, and end."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._waiting)

    @property
    def is_alive(self) -> bool:
        """Whether it can be given work."""
        return self._thread.is_alive() and not self._is_stopping

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs, all of them or none.

        Raises:
            ApiProblem: 503, the queue is full, or the server is about to stop.
        """
        with self._changed:
            if self._is_stopping:
                raise ApiProblem(503, "the server is stopping", code="stopping", retry_after=5)
            if sum(max(job.size, 1) for job in (*self._waiting, *jobs)) > self._queue + self.free:
                raise ApiProblem(
                    503,
                    f"'{self.name}' has more requests than it can take; try again a little later",
                    code="queue_full",
                    retry_after=1,
                )
            self._waiting += jobs
            self._changed.notify()

    def cancel(self, jobs: Iterable[Job]) -> None:
        """Nobody waits for these any more; those that are done already do not mind."""
        with self._changed:
            for job in jobs:
                job.is_cancelled = True
            self._changed.notify()

    @property
    @abstractmethod
    def free(self) -> int:
        """How many rows could be begun at once."""

    @property
    @abstractmethod
    def is_busy(self) -> bool:
        """Whether something is under way."""

    @abstractmethod
    def work(self) -> None:
        """One round: take jobs that fit, do a bit of everything, `tell` what came of it."""

    @abstractmethod
    def give_up(self) -> list[Job]:
        """Let go of everything that is under way, and say what that was."""

    def take(self, fits: Callable[[Job], bool]) -> list[Job]:
        """The first jobs of the queue, up to one that does not fit; those that nobody waits for any more leave too."""
        now = self.clock()
        taken: list[Job] = []
        with self._changed:
            late = [job for job in self._waiting if job.deadline <= now and not job.is_cancelled]
            gone = {id(job) for job in self._waiting if job.is_cancelled or job.deadline <= now}
            if gone:
                self._waiting = deque(job for job in self._waiting if id(job) not in gone)
            while self._waiting and fits(self._waiting[0]):
                taken.append(self._waiting.popleft())
        for job in late:
            self.tell(job, too_late("in the queue"))
        return taken

    def tell(self, job: Job, event: Any) -> None:
        """An event for a job's request; sent at the end of the round."""
        self._letters.append((job, event))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_stopping or bool(self._waiting) or self.is_busy
                )
                if self._is_stopping:
                    break
            try:
                self.work()
            except Exception:
                # A bug, or memory that ran out: those who wait are told, and the thread lives on.
                _log.exception("'%s' failed; what it was doing is given up", self.name)
                for job in self.give_up():
                    self.tell(
                        job, ApiProblem(500, "the model failed on this; see the server's log")
                    )
            self._send()
        with self._changed:
            left = [*self._waiting, *self.give_up()]
            self._waiting.clear()
        for job in left:
            self.tell(job, ApiProblem(503, "the server is stopping", code="stopping"))
        self._send()

    def _send(self) -> None:
        """One call into each event loop, however many events there are."""
        letters, self._letters = self._letters, []
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Any]]] = {}
        for job, event in letters:
            by_loop.setdefault(job.inbox.loop, []).append((job, event))
        for loop, theirs in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
                loop.call_soon_threadsafe(_deliver, theirs)


def _deliver(letters: list[tuple[Job, Any]]) -> None:
    for job, event in letters:
        job.inbox.put(job.number, event)


def too_late(where: str) -> ApiProblem:
    """A job was given up at its deadline."""
    return ApiProblem(504, f"the time for this request ran out {where}", code="timeout")
