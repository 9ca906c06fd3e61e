"""The cells of a study: each works once, leaves its rows in a file, and is passed over when it is asked again.

What a cell trains are runs of ordinary stages inside its own folder, which go on by themselves where they were killed;
the cell's file is written last, whole or not at all. So a study may be stopped at any moment and called again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from alignloop.files import write_json
from alignloop.workflow.studies.foundation import BaseName, Foundation

Row = Mapping[str, Any]
Say = Callable[[str], None]
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting at one seed: what is to be done for it, and what it is called."""

    name: str
    """Of letters, digits, `_`, `-` and `.`; the setting's short name, without seed and base."""
    base: BaseName
    seed: int
    setting: Mapping[str, Any]
    """JSON values that decide the rows beside seed and base; a cell made with others is made anew."""
    work: Callable[[Path], Sequence[Row]] = field(repr=False)
    """Gets the cell's folder, for runs; returns JSON rows."""
    guess: float = 60.0
    """Seconds on two quiet cores, for the time left; corrected by what was timed."""
    judge: Foundation | None = field(default=None, repr=False)
    """Whose reward model and SFT baseline the work asks for; made before it."""

    @property
    def id(self) -> str:
        """Names the file and the folder."""
        return f"{self.base}_{self.name}_seed_{self.seed}"


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished cell says."""

    name: str
    base: str
    seed: int
    setting: Mapping[str, Any]
    rows: Sequence[Row]


@dataclass(slots=True)
class Clock:
    """How long each kind of work took, for the time left.

    A kind that was timed takes its mean again; another takes its guess, as much slower or faster as this machine has
    been so far.
    """

    took: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    _guessed: float = 0.0
    _spent: float = 0.0

    def note(self, kind: str, guess: float, seconds: float) -> None:
        """Remember how long some work took."""
        self.took.setdefault(kind, []).append(seconds)
        self._guessed += guess
        self._spent += seconds

    def left(self, kinds: Sequence[tuple[str, float]]) -> float:
        """Seconds that work of these kinds, each with its guess, should take."""
        pace = self._spent / self._guessed if self._guessed else 1.0
        return sum(
            sum(took) / len(took) if (took := self.took.get(kind)) else guess * pace
            for kind, guess in kinds
        )


def minutes(seconds: float) -> str:
    """Time left, in words."""
    return f"about {max(round(seconds / 60), 1)} min" if seconds else "nothing"


def read_cell(folder: Path, cell: Cell) -> Done | None:
    """What the cell left, if it was made with this very setting; the file is `folder/CELL.json`."""
    path = folder / f"{cell.id}.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    # Compared as JSON, which has no tuples.
    setting = json.loads(json.dumps(dict(cell.setting)))
    if found.get("schema") != SCHEMA or found["setting"] != setting:
        return None
    return Done(found["name"], found["base"], found["seed"], found["setting"], found["rows"])


def run_cell(folder: Path, cell: Cell) -> Done:
    """Do a cell's work in `folder/CELL/`, where it is not done, and leave its file.

    Where another process works on it, its rows are waited for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{cell.id}.lock"):
        return read_cell(folder, cell) or _worked(folder, cell)


def _worked(folder: Path, cell: Cell) -> Done:
    inside = folder / cell.id
    if (path := folder / f"{cell.id}.json").is_file():
        # Made with another setting: its runs would refuse this one's. The file goes last, lest a stop leave runs.
        shutil.rmtree(inside, ignore_errors=True)
        path.unlink()
    inside.mkdir(parents=True, exist_ok=True)
    rows = list(cell.work(inside))
    write_json(
        folder / f"{cell.id}.json",
        {
            "schema": SCHEMA,
            "name": cell.name,
            "base": cell.base,
            "seed": cell.seed,
            "setting": dict(cell.setting),
            "rows": rows,
        },
    )
    done = read_cell(folder, cell)
    assert done is not None
    return done
