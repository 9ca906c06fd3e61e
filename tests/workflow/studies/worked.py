"""A program that runs studies of tiny models in two processes, slowly enough to be stopped: FOLDER LAID STUDY..."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from alignloop.errors import AlignloopError
from alignloop.runs.run import Run
from alignloop.workflow.studies.registry import study_of
from alignloop.workflow.studies.run import Asked, run_studies
from tests.workflow.studies.laid import tiny_ground

_log = Run.log


def _logging(self: Run, *arguments: Any, **timings: float) -> None:
    _log(self, *arguments, **timings)
    time.sleep(0.1)


# Other processes import this file as well, so they are slow too.
Run.log = _logging  # type: ignore[method-assign]


def main() -> None:
    """Run them; an error is one line and its exit code, as on the command line."""
    folder, laid, *names = sys.argv[1:]
    asked = Asked(tiny_ground(Path(folder), Path(laid)), seeds=2)
    try:
        run_studies([study_of(name) for name in names], asked, print, jobs=2)
    except AlignloopError as error:
        print(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
