"""Answers that were drawn once are kept, by all that decides them, and never drawn again; judges' replies too.

Any store with `get` and `put` will do; the one here is a folder with a small file for each answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from alignloop.files import write_bytes


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """All that decides an answer."""

    policy: str
    """SHA-256 of the policy."""
    prompt: Sequence[int]
    """The encoded prompt, marks of the chat format included."""
    sampling: Mapping[str, Any]
    """How it was drawn, as JSON values: temperature, longest answer, where it is cut."""
    seed: int
    """Of the draw."""

    def digest(self) -> str:
        """SHA-256 of all of it."""
        fields = [self.policy, list(self.prompt), dict(self.sampling), self.seed]
        return digest_of(["answer", *fields])


class AnswerStore(Protocol):
    """Where answers are kept."""

    def get(self, key: AnswerKey) -> dict[str, Any] | None:
        """What `put` was given under this key, or None."""
        ...

    def put(self, key: AnswerKey, answer: Mapping[str, Any]) -> None:
        """Keep an answer of JSON values."""
        ...


@dataclass(frozen=True, slots=True)
class AnswerFolder:
    """Answers in a folder, which several runs may share. A file that was damaged counts as absent."""

    folder: Path

    def get(self, key: AnswerKey) -> dict[str, Any] | None:
        """What `put` was given under this key, or None."""
        return read_kept(place_of(self.folder, key.digest()))

    def put(self, key: AnswerKey, answer: Mapping[str, Any]) -> None:
        """Keep an answer, whole or not at all."""
        keep(place_of(self.folder, key.digest()), answer)


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def place_of(folder: Path, digest: str) -> Path:
    """The file for a digest: in one of 256 folders, since some file systems are slow with many files in one."""
    return folder / digest[:2] / f"{digest[2:]}.json"


def read_kept(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def keep(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all; another run that keeps the same at the same time does no harm."""
    try:
        write_bytes(path, json.dumps(dict(value), ensure_ascii=True).encode() + b"\n")
    except FileNotFoundError:  # the other one was a moment quicker, and has renamed it
        if not path.exists():
            raise
