"""Answers that were drawn once are kept, by all that decides them, and never drawn again; model judges' replies too.

Any store with `get` and `put` will do; the one here is a folder with a small file for each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from alignloop.data.records import Completion
from alignloop.files import write_bytes


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """Everything that decides a policy's answers to one prompt."""

    policy: str
    """SHA-256 of the policy."""
    prompt: Mapping[str, Any]
    """What it is asked, earlier turns and all."""
    asked: Mapping[str, Any]
    """How it is asked."""
    sampling: Mapping[str, Any]
    """What changes a draw; not how many rows are drawn together."""
    seed: int
    name: str
    """The draws are seeded with it."""
    copies: int = 1

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return digest_of(
            [
                *("answer", self.policy, dict(self.prompt), dict(self.asked), dict(self.sampling)),
                *(self.seed, self.name, self.copies),
            ]
        )


class AnswerStore(Protocol):
    """Where answers are kept."""

    def get(self, key: AnswerKey) -> list[Completion] | None:
        """The answers that were drawn for this key, or None."""
        ...

    def put(self, key: AnswerKey, answers: Sequence[Completion]) -> None:
        """Keep them."""
        ...


@dataclass(frozen=True, slots=True)
class AnswerFolder:
    """Answers in a folder, a file for each key; several runs may share it. A file that was damaged counts as absent."""

    folder: Path

    def get(self, key: AnswerKey) -> list[Completion] | None:
        """The answers that were drawn for this key, or None."""
        kept = read_kept(self._place(key))
        try:
            return [Completion.model_validate(one) for one in kept["answers"]] if kept else None
        except (KeyError, TypeError, ValidationError):
            return None

    def put(self, key: AnswerKey, answers: Sequence[Completion]) -> None:
        """Keep them, whole or not at all."""
        rows = [one.model_dump(mode="json", exclude_defaults=True) for one in answers]
        keep(self._place(key), {"answers": rows})

    def _place(self, key: AnswerKey) -> Path:
        return place_of(self.folder / "answers", key.digest)


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
