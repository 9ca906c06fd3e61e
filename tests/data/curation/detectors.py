"""Detectors that other processes can import, for the tests of how they are used there."""

from __future__ import annotations

import os
import signal
import sys

from alignloop.data.curation.spans import Span
from alignloop.errors import DataError


def marked(text: str) -> list[Span]:
    """Every `#`, as a secret."""
    return [Span("secret", at, at + 1) for at, sign in enumerate(text) if sign == "#"]


def torch_is_loaded(_text: str) -> list[Span]:
    """A span where torch was imported in this process."""
    return [Span("torch", 0, 1)] if "torch" in sys.modules or "transformers" in sys.modules else []


def prints(text: str) -> list[Span]:
    """Nothing, but noise on standard output."""
    print("found nothing in", text)
    return []


def raises(_text: str) -> list[Span]:
    """A bug."""
    raise ZeroDivisionError("a detector's own mistake")


def refuses(_text: str) -> list[Span]:
    """An error that a user can mend."""
    raise DataError("the detector's word list is missing")


def dies(_text: str) -> list[Span]:
    """As where the system runs out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return []
