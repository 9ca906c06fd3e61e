"""The files that imports write for people, and how they stay in step with the database whenever a process is killed.

What an import rejects and drops is first written to `.staging/HASH/`, flushed, and appended to the files of the folder
after the database has the import. Whoever comes after a kill finds the staging folder: the database knows whether that
import is in, and so whether its lines are to be appended, or thrown away.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from filelock import FileLock, Timeout

from alignloop.errors import DataError
from alignloop.files import sync, sync_folder, write_bytes

REJECTED = "rejected.jsonl"
DROPPED = "dropped"
_STAGING = ".staging"
_STARTS = "starts.json"
"""Written last: how long each file was before. Without it the staging folder is unfinished."""
_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """One import at a time in a project's folder.

    Raises:
        DataError: another process imports into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(f"{folder}: another import is under way; wait for it") from None
    try:
        yield
    finally:
        lock.release()


class Staging:
    """The lines that one import writes for people, aside until the database has it.

    Used in a `with`: what was not sealed is gone at its end; what was sealed and not published waits for
    `finish_earlier`, which asks the database.
    """

    def __init__(self, folder: Path, sha256: bytes) -> None:
        self.folder = folder
        self.scratch = folder / _STAGING / sha256.hex()
        """For whatever else is temporary too."""
        self._open = ExitStack()
        self._files: dict[str, TextIO] = {}

    def __enter__(self) -> Self:
        shutil.rmtree(self.scratch, ignore_errors=True)
        (self.scratch / DROPPED).mkdir(parents=True, mode=_PRIVATE_FOLDER)
        for private in (self.scratch.parent, self.scratch, self.scratch / DROPPED):
            private.chmod(_PRIVATE_FOLDER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        if not (self.scratch / _STARTS).exists():
            _remove(self.scratch)

    def write(self, name: str, line: Mapping[str, Any]) -> None:
        """A line of the file `name`, which is relative to the folder."""
        file = self._files.get(name)
        if file is None:
            file = self._open.enter_context(_private(self.scratch / name))
            self._files[name] = file
        file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def seal(self) -> None:
        """All lines are there: flush them. From here on a later import can finish what this one began."""
        self._open.close()
        starts = {name: _size(self.folder / name) for name in sorted(self._files)}
        sync_folder(self.scratch)
        write_bytes(self.scratch / _STARTS, json.dumps(starts).encode())

    def publish(self) -> None:
        """Append the lines to the files of the folder: once, however often this is called or killed."""
        publish(self.folder, self.scratch)


def publish(folder: Path, scratch: Path) -> None:
    """Append sealed lines to the files of the folder, over whatever an earlier try left after their places."""
    starts: dict[str, int] = json.loads((scratch / _STARTS).read_text(encoding="utf-8"))
    for name, start in starts.items():
        path = folder / name
        if path.parent != folder:
            path.parent.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE_FILE)
        with os.fdopen(descriptor, "r+b") as file, (scratch / name).open("rb") as lines:
            file.truncate(min(start, _size(path)))
            file.seek(0, os.SEEK_END)
            shutil.copyfileobj(lines, file, 2**20)
            file.flush()
            os.fsync(file.fileno())
        sync(path.parent)
    _remove(scratch)


def finish_earlier(folder: Path, is_in: Callable[[bytes], bool]) -> None:
    """After a kill: publish what belongs to an import that the database has, and throw the rest away."""
    staging = folder / _STAGING
    if not staging.is_dir():
        return
    for scratch in sorted(staging.iterdir()):
        is_sealed = (scratch / _STARTS).is_file()
        if is_sealed and is_in(bytes.fromhex(scratch.name)):
            publish(folder, scratch)
        else:
            _remove(scratch)
    shutil.rmtree(staging, ignore_errors=True)


def _private(path: Path) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_FILE)
    return os.fdopen(descriptor, "w", encoding="utf-8", buffering=2**16)


def _remove(scratch: Path) -> None:
    """A staging folder; the mark that it is whole goes first, so that half of it never counts."""
    (scratch / _STARTS).unlink(missing_ok=True)
    shutil.rmtree(scratch, ignore_errors=True)
    with suppress(OSError):  # others are in it, or it is gone
        scratch.parent.rmdir()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
