"""Steps of studies in several processes at once: models of a million parameters keep one core busy, and no second.

Each process is a Python of its own that plans the same studies and is told which step to do. A stop is passed on to
them, so that their runs save and can go on; they end with the process that started them, however that dies.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from alignloop.errors import Interrupted, RunError
from alignloop.machine import cores
from alignloop.runs.command import command_to_go_on
from alignloop.runs.signals import StopSignal
from alignloop.workflow.studies.registry import study_of
from alignloop.workflow.studies.steps import Step, Workshop, next_step

if TYPE_CHECKING:
    from alignloop.workflow.studies.run import Asked

_THREADS = "OMP_NUM_THREADS"
_MOST = 4
"""Processes that are started without being asked for: each takes two to three gigabytes."""


def usual_jobs() -> int:
    """How many processes suit this machine: one per core."""
    return min(cores(), _MOST)


def threads_of(jobs: int) -> int:
    """Threads of each of so many processes: what the user set, or an equal share of the cores."""
    said = os.environ.get(_THREADS, "")
    return int(said) if said.isdigit() and int(said) else max(1, cores() // jobs)


def worked_off(steps: Sequence[Step], asked: Asked, jobs: int) -> Generator[tuple[Step, float]]:
    """Do the steps in so many processes; each with the seconds that it took, as they end.

    Raises:
        AlignloopError: whatever a step refuses; the others were stopped, and the same command goes on.
        Interrupted: a signal asked this process to stop.
    """
    waiting, running = list(steps), dict[Future[float], Step]()
    pool = ProcessPoolExecutor(
        jobs,
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(asked, list(dict.fromkeys(step.study for step in steps)), threads_of(jobs)),
    )
    stop = _PassedOn()
    stop.install()
    try:
        while waiting or running:
            while len(running) < jobs and (step := next_step(waiting, running.values())):
                waiting.remove(step)
                running[pool.submit(_do, step)] = step
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                step = running.pop(future)
                yield step, _seconds(future, step, stop)
    except BaseException:
        stop.wish()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        stop.restore()


def _seconds(future: Future[float], step: Step, stop: StopSignal) -> float:
    try:
        return future.result()
    except (BrokenProcessPool, Interrupted):
        if stop.received is not None:
            command = command_to_go_on(asks_for_resume=False)
            raise Interrupted(
                f"the studies were interrupted; go on with: {command}", stop.received
            ) from None
        raise RunError(
            f"a process ended before its time while '{step.label}' was worked on (out of memory?); the same command "
            "goes on, and needs less memory with --jobs 1"
        ) from None


# --- a stop ---


class _PassedOn(StopSignal):
    """A stop for the processes too: the first signal is a wish, the second ends them as they are."""

    def __init__(self) -> None:
        super().__init__()
        self._is_wished = False

    def wish(self) -> None:
        """Ask the processes to stop, once: a second wish would stop their runs without saving."""
        if not self._is_wished:
            self._is_wished = True
            _tell(signal.SIGTERM)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.wish()
        else:
            _tell(signal.SIGKILL)
        super()._receive(number, _frame)


def _tell(number: int) -> None:
    for process in multiprocessing.active_children():
        if process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)


# --- in the other process ---

_workshop: Workshop | None = None
_is_working = False
_stopped_by: int | None = None


def _begin(asked: Asked, studies: Sequence[str], threads: int) -> None:
    """Make ready for steps: this process's threads, signals and plans."""
    global _workshop
    os.environ[_THREADS] = str(threads)  # before torch is imported here
    os.setpgid(0, 0)  # Ctrl-C in the terminal is for the parent, which passes it on
    signal.signal(signal.SIGTERM, _interrupted)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    bench = asked.bench
    plans = [(study, study.plan(bench)) for study in map(study_of, studies)]
    _workshop = Workshop(plans, bench)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _interrupted(number: int, _frame: FrameType | None) -> None:
    """Ends the step, but not the process: of a pool that lacks one, the others are ended as they are."""
    global _stopped_by
    _stopped_by = number
    if _is_working:
        raise Interrupted("a study was interrupted", number)


def _do(step: Step) -> float:
    global _is_working
    assert _workshop is not None
    _is_working = True
    try:
        if _stopped_by is not None:
            raise Interrupted("a study was interrupted", _stopped_by)
        return _workshop.do(step)
    finally:
        _is_working = False
