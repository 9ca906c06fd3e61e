"""Processes that look at rows, and their answers in the order of the questions.

Each is a Python of its own that runs `worker.py`, not a copy of this one: it imports none of the caller's modules (so
no torch, and a script without a main guard is safe), copies no threads or locks, and ends when its input ends, that is,
with this process, however that dies. Ctrl-C reaches this process alone, which then ends them.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any, Self, TypeVar, cast

from alignloop.data.curation.examine import Examiner, Look, Row, Setup
from alignloop.errors import AlignloopError, ConfigError, DataError

T = TypeVar("T")

_AHEAD = 2
"""Chunks per worker that are under way or waiting: enough that none is idle while answers are used."""
_ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
} | {"TOKENIZERS_PARALLELISM": "false"}


class Workers:
    """So many processes, closed at the end of a `with`.

    Raises:
        ConfigError: the detector cannot be sent to another process.
        DataError: a process cannot be started.
    """

    def __init__(self, count: int, setup: Setup) -> None:
        self._threads = ThreadPoolExecutor(count, "curation")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        told = _pickled(setup)
        try:
            for _ in range(count):
                self._processes.append(_start())
        except OSError as error:
            self.close()
            raise DataError(
                f"no further process can be started ({error.strerror}); use fewer workers"
            ) from None
        self._ready = [self._threads.submit(self._tell, one, told) for one in self._processes]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they are at."""
        for process in self._processes:
            process.kill()  # they keep nothing, so nothing is lost; a thread that waits for an answer wakes up
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what was not written yet goes nowhere
                    cast(IO[bytes], pipe).close()
            process.wait()

    def map(self, chunks: Iterable[tuple[T, Sequence[Row]]]) -> Iterator[tuple[T, list[Look]]]:
        """What was seen of each chunk, in order; of the chunks no more are read than are under way.

        Raises:
            AlignloopError: as `Examiner`; or a process ended before its time.
        """
        limit = _AHEAD * len(self._processes)
        waiting: deque[tuple[T, Future[list[Look]]]] = deque()
        for item, rows in chunks:
            waiting.append((item, self._threads.submit(self._ask, rows)))
            if len(waiting) >= limit:
                yield self._next(waiting)
        while waiting:
            yield self._next(waiting)

    def _next(self, waiting: deque[tuple[T, Future[list[Look]]]]) -> tuple[T, list[Look]]:
        for ready in self._ready:
            ready.result()
        self._ready.clear()
        item, future = waiting.popleft()
        return item, future.result()

    def _tell(self, process: subprocess.Popen[bytes], told: bytes) -> None:
        try:
            _exchange(process, told)
        finally:
            self._idle.put(process)

    def _ask(self, rows: Sequence[Row]) -> list[Look]:
        process = self._idle.get()
        try:
            return _exchange(process, pickle.dumps(rows, pickle.HIGHEST_PROTOCOL))
        finally:
            self._idle.put(process)


def _start() -> subprocess.Popen[bytes]:
    # What can be imported here can be imported there: a detector of the caller's, say.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "alignloop.data.curation.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C in the terminal is for this process alone
    )


def _exchange(process: subprocess.Popen[bytes], question: bytes) -> Any:
    """One question, one answer.

    Raises:
        AlignloopError: as the process says; or it is gone.
        RuntimeError: a bug there, with its traceback.
    """
    given, taken = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    try:
        given.write(question)
        given.flush()
        kind, answer = pickle.load(taken)
    except (EOFError, OSError, ValueError, pickle.UnpicklingError):
        code = process.wait()
        raise DataError(
            f"a process that curates ended before its time (exit code {code}); where the memory does not suffice, "
            "use fewer workers"
        ) from None
    if kind == "error":
        raise cast(AlignloopError, answer)
    if kind == "bug":
        raise RuntimeError(f"in a process that curates:\n{answer}")
    return answer


def _pickled(setup: Setup) -> bytes:
    module = getattr(setup.detector, "__module__", "")
    try:
        if module == "__main__":
            raise pickle.PicklingError("it is defined in the main script")
        return pickle.dumps(setup, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"the detector cannot be sent to other processes ({error}); define it in a module, or use one worker"
        ) from None


def examined(
    chunks: Iterator[tuple[T, Sequence[Row]]], setup: Setup, workers: int
) -> Generator[tuple[T, list[Look]]]:
    """What was seen of each chunk, in order: here where there is one worker or one chunk, else in other processes."""
    ahead = [chunk for _, chunk in zip(range(2), chunks, strict=False)]
    if workers == 1 or len(ahead) < 2:
        examiner = Examiner(setup)
        for item, rows in _chain(ahead, chunks):
            yield item, examiner(rows)
        return
    with Workers(workers, setup) as pool:
        yield from pool.map(_chain(ahead, chunks))


def _chain(first: list[T], rest: Iterator[T]) -> Iterator[T]:
    while first:
        yield first.pop(0)
    yield from rest
