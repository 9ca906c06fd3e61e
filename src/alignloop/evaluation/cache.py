"""What a policy answered is never drawn again, and a judge never asked twice: one small file each, named by all that
decides it.

    cache = AnswerCache(folder)
    key = AnswerKey(policy=artifact.sha256, prompt=tokens, sampling=sampling, seed=seed)
    answer = cache.get(key)
    if answer is None:
        answer = draw(...)
        cache.put(key, answer)

Several processes may share a folder: files are written aside and renamed, and two that write the same answer write the
same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from alignloop.errors import DataError

_SCHEMA = 1
"""Part of every key: raise it when the same key would give another answer."""


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """All that decides an answer."""

    policy: str
    """SHA-256 of the policy's artefact."""
    prompt: Sequence[int]
    """The encoded prompt, marks of the chat format included."""
    sampling: Mapping[str, Any]
    """How it was asked, as JSON values: temperature, longest answer, precision, where it is cut; or what was scored."""
    seed: int
    """Of the draw; any constant where nothing is drawn."""

    def digest(self) -> str:
        """SHA-256 in hex over the key as canonical JSON."""
        return digest_of([_SCHEMA, self.policy, list(self.prompt), dict(self.sampling), self.seed])


def digest_of(value: Any) -> str:
    """SHA-256 in hex over a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Cache:
    """A folder of JSON objects by digest; it may be deleted at any time, and is made anew."""

    def __init__(self, folder: Path) -> None:
        """A cache in a folder, which the first answer makes.

        Raises:
            DataError: there is a file of that name.
        """
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder} is a file; a cache needs a folder")
        self._folder = folder

    def get(self, digest: str) -> dict[str, Any] | None:
        """What `put` was given under this digest, or None. A file that a crash left damaged counts as none."""
        try:
            found = json.loads(self._path(digest).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return cast(dict[str, Any], found) if isinstance(found, dict) else None

    def put(self, digest: str, value: Mapping[str, Any]) -> None:
        """Keep an object of JSON values; what stood under the digest is replaced.

        Raises:
            OSError: the disk is full, say; nothing half-written is left.
        """
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(dict(value), ensure_ascii=False, allow_nan=False).encode("utf-8")
        # Not flushed to the disk one by one: what a power cut takes is drawn again.
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(aside, 0o644)
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)
            raise

    def _path(self, digest: str) -> Path:
        # In one of 256 folders, since some file systems are slow with many files in one.
        return self._folder / digest[:2] / f"{digest}.json"


class AnswerCache:
    """Answers by their keys."""

    def __init__(self, folder: Path) -> None:
        """See `Cache`."""
        self._cache = Cache(folder)

    def get(self, key: AnswerKey) -> dict[str, Any] | None:
        """See `Cache.get`."""
        return self._cache.get(key.digest())

    def put(self, key: AnswerKey, answer: Mapping[str, Any]) -> None:
        """See `Cache.put`."""
        self._cache.put(key.digest(), answer)
