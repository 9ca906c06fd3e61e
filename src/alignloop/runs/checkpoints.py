"""The checkpoints of a run folder: found, sealed with the hash of every file, and checked before they are used."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from alignloop.files import sha256_of, write_json

_NAME = re.compile(r"step_(\d+)")


def folder_of(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint of a step stands."""
    return checkpoints / f"step_{step:06d}"


def step_of(checkpoint: Path) -> int:
    """How many steps had been made."""
    return int(checkpoint.name.removeprefix("step_"))


def sealed_in(checkpoints: Path) -> list[Path]:
    """Every checkpoint that was written to its end, the oldest first; whether it still is what was written is open."""
    found = [path.parent for path in checkpoints.glob("step_*/done")]
    return sorted((path for path in found if _NAME.fullmatch(path.name)), key=step_of)


def seal(checkpoint: Path) -> None:
    """Write `done`, the last file of a checkpoint: the SHA-256 of every other one.

    Raises:
        OSError: the disk is full, say.
    """
    files = {name: sha256_of(checkpoint / name) for name in _files_in(checkpoint)}
    write_json(checkpoint / "done", {"files": files})


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a sealed checkpoint: a file that is missing, cut short or changed. None where nothing is."""
    try:
        sealed: dict[str, Any] = json.loads((checkpoint / "done").read_text(encoding="utf-8"))
        expected: dict[str, str] = sealed["files"]
        there = _files_in(checkpoint)
        if missing := sorted(expected.keys() - set(there)):
            return f"{missing[0]} is missing"
        for name, sha256 in expected.items():
            if sha256_of(checkpoint / name) != sha256:
                return f"{name} is not what was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read: {type(error).__name__}: {error}"
    return None


def put_aside(checkpoint: Path) -> Path:
    """Rename a damaged checkpoint, so that it is neither found nor counted again; it goes when the run has finished."""
    aside = checkpoint.with_name(f"damaged_{checkpoint.name}")
    number = 1
    while aside.exists():
        number += 1
        aside = checkpoint.with_name(f"damaged_{checkpoint.name}_{number}")
    checkpoint.rename(aside)
    return aside


def _files_in(checkpoint: Path) -> list[str]:
    return sorted(
        str(path.relative_to(checkpoint))
        for path in checkpoint.rglob("*")
        if path.is_file() and path != checkpoint / "done"
    )
