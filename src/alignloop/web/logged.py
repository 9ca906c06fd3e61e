"""What the terminal is told: one line at a time, and nothing that anybody wrote."""

from __future__ import annotations

import traceback
from pathlib import Path


def line(text: str) -> str:
    """One line that a terminal cannot take for commands."""
    return "".join(char if char.isprintable() else "?" for char in text[:300])


def trace(error: BaseException) -> str:
    """What was raised and where, without its message: that may quote a prompt, an answer or a password."""
    told: list[str] = []
    at: BaseException | None = error
    while at is not None and len(told) < 5:
        frames = reversed(traceback.extract_tb(at.__traceback__))
        places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        told.append(f"{type(at).__name__} in {' < '.join(places)}")
        at = at.__cause__ or at.__context__
    return "; after ".join(told)
