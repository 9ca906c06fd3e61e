"""The command that goes on with an interrupted run, as one would type it. Torch-free."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def command_to_go_on(*, asks_for_resume: bool) -> str:
    """This process's own command line, quoted for a shell, with --resume where it is needed and not there yet.

    A program that calls alignloop as a library, and each rank under torchrun, know of no such line: those are told to
    give the same command again.

    Args:
        asks_for_resume: whether the command takes up its run with --resume alone; `demo` and `study` always do.
    """
    resume = ["--resume"] if asks_for_resume and "--resume" not in sys.argv else []
    program = _program()
    if program is None or "WORLD_SIZE" in os.environ:
        return " ".join(["the same command", *(["with --resume"] if resume else [])])
    return shlex.join([*program, *sys.argv[1:], *resume])


def _program() -> list[str] | None:
    """How `alignloop` was called: by the entry script of a checkout, by its name, or as a module."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py" and called.parent.name == "alignloop":
        # The entry script starts the module, and says by what name it was called itself.
        entry = os.environ.get("ALIGNLOOP_PROGRAM")
        return [entry] if entry else [sys.executable, "-m", "alignloop"]
    if called.name != "alignloop":
        return None
    on_path = shutil.which("alignloop")
    return ["alignloop" if on_path and Path(on_path).samefile(called) else str(called)]
