"""Who waits for whom: threads of one process write in turn, and everybody waits while a SQLite file is written anew."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

_LONGEST_S = 600
"""For so long one that writes the file anew waits for another that does."""


class InTurn:
    """So many places, given to threads in the order in which they came: a plain lock may let somebody wait for long."""

    def __init__(self, places: int) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._free = places

    def __enter__(self) -> None:
        with self._guard:
            if self._free:
                self._free -= 1
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()  # until the one before hands over

    def __exit__(self, *_: object) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class Rewrites:
    """The times that a SQLite file is written anew. A lock beside the file tells other processes of it."""

    def __init__(self, file: Path | None) -> None:
        """Of a file; None where the database is no file, and never written anew."""
        # One file has one lock, whatever links lead to it.
        self._lock = "" if file is None else f"{file.resolve()}.rewrite.lock"
        self._one = threading.Lock()
        self._begun = self._done = 0

    @property
    def is_due(self) -> bool:
        """Whether the last one failed."""
        return self._done < self._begun

    def share(self, rewrite: Callable[[], bool]) -> bool:
        """Have the file written anew, by this thread or by another one that begins after this call.

        Args:
            rewrite: whether it could be done.
        """
        before = self._begun
        with self._one:
            if self._done > before:
                return True
            self._begun += 1
            is_done = rewrite()
            if is_done:
                self._done = self._begun
            return is_done

    def lock(self) -> BaseFileLock:
        """To be held meanwhile. Taking it raises `filelock.Timeout` where another process holds it for very long."""
        return FileLock(self._lock, timeout=_LONGEST_S)

    def is_under_way(self) -> bool:
        """Whether somebody writes the file anew, in this process or in another one."""
        if not self._lock:
            return False
        try:
            with FileLock(self._lock, blocking=False):
                return False
        except Timeout:
            return True
