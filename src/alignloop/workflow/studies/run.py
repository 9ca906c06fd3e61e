"""Running studies: foundations first, then cells, then findings; all that is there already is passed over."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from alignloop.files import write_json
from alignloop.workflow.studies.cells import (
    Cell,
    Clock,
    Done,
    Say,
    minutes,
    read_cell,
    run_cell,
)
from alignloop.workflow.studies.foundation import BaseName, Foundation, Ground
from alignloop.workflow.studies.study import Bench, Findings, Study
from alignloop.workflow.studies.wording import line

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks of every study."""

    ground: Ground
    seeds: int = 3
    quick: bool = False
    base: BaseName | None = None

    @property
    def bench(self) -> Bench:
        """What studies are planned with; quick means the first seed."""
        count = 1 if self.quick else self.seeds
        return Bench(self.ground, range(1, count + 1), self.quick, self.base)

    def command(self, name: str) -> str:
        """What to type to make it again."""
        words = [f"alignloop study {name}"]
        words += ["--quick"] if self.quick else [f"--seeds {self.seeds}"]
        words += [f"--base {self.base}"] if self.base else []
        words += [f"--precision {self.ground.precision}"]
        words += ["--smoke"] if self.ground.smoke else []
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class _Step:
    """A stage of a foundation, or a cell of a study."""

    study: Study
    kind: str
    guess: float
    label: str
    foundation: Foundation | None = None
    stage: str = ""
    cell: Cell | None = None


@dataclass(slots=True)
class _Progress:
    steps: Sequence[_Step]
    clock: Clock = field(default_factory=Clock)
    at: int = 0

    def left(self) -> str:
        rest = self.steps[self.at :]
        return minutes(self.clock.left([(step.kind, step.guess) for step in rest]))


def run_studies(
    studies: Sequence[Study], asked: Asked, say: Say, after: Callable[[], object] = lambda: None
) -> list[dict[str, Any]]:
    """Run studies one after another, and write what each found when its last cell is done.

    Everything lies in the ground's folder: `foundations/`, and per study `NAME/cells/` and `NAME/study.json`.

    Args:
        after: called when a study is written: the page, so that there is one when a later study is stopped.

    Returns:
        What each `study.json` holds.

    Raises:
        AlignloopError: whatever a stage refuses; the same command goes on from there.
    """
    bench, folder = asked.bench, asked.ground.folder
    plans = [(study, study.plan(bench)) for study in studies]
    progress = _Progress(_steps(plans, bench, folder))
    cells = sum(len(plan) for _, plan in plans)
    to_do = sum(step.cell is not None for step in progress.steps)
    say(
        f"{len(plans)} {'study' if len(plans) == 1 else 'studies'}, {cells} cells, {to_do} of them to do, "
        f"{len(progress.steps) - to_do} stages below them: {progress.left()}"
    )
    results: list[dict[str, Any]] = []
    for study, plan in plans:
        for step in (step for step in progress.steps if step.study is study):
            _do(step, folder, progress, say)
        done = [found for cell in plan if (found := read_cell(_cells(folder, study), cell))]
        findings = study.findings(done)
        results.append(_result(study, asked, plan, findings))
        write_json(folder / study.name / "study.json", results[-1])
        say(f"{study.name}: {study.title}")
        for judged in findings.judged:
            say(f"  {line(judged)}")
        after()
    return results


def read_study(folder: Path, study: Study) -> tuple[dict[str, Any], list[Done]] | None:
    """A finished study's `study.json` and its cells; None where it did not finish yet, or a cell was deleted."""
    path = folder / study.name / "study.json"
    if not path.is_file():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    cells = [_cells(folder, study) / f"{name}.json" for name in result["cells"]]
    if not all(cell.is_file() for cell in cells):
        return None
    rows = [json.loads(cell.read_text(encoding="utf-8")) for cell in cells]
    keys = ("name", "base", "seed", "setting", "rows")
    return result, [Done(*(row[key] for key in keys)) for row in rows]


def seconds_taken(folder: Path, study: str, cells: Sequence[str]) -> float:
    """Seconds that these cells took, of those that were noted."""
    noted = _timings(folder)
    return sum(noted.get(f"{study}/{cell}", 0.0) for cell in cells)


def foundation_seconds(folder: Path, bases: Sequence[str], seeds: Sequence[int]) -> float:
    """Seconds of all stages that were made for these bases and seeds, whichever study asked for them."""
    names = ["shared", *(f"{base}_seed_{seed}" for base in bases for seed in seeds)]
    return sum(sum(_timings(folder / "foundations" / name).values()) for name in names)


def _steps(
    plans: Sequence[tuple[Study, Sequence[Cell]]], bench: Bench, folder: Path
) -> list[_Step]:
    """What is to be done, foundations before the cells that need them, each once."""
    steps: list[_Step] = []
    planned: set[Path] = set()
    for study, plan in plans:
        for cell in plan:
            if read_cell(_cells(folder, study), cell) is not None:
                continue
            foundation = bench.foundation(cell.base, cell.seed)
            for stage in foundation.missing(study.needs):
                place = foundation.place(stage)
                if place not in planned:
                    planned.add(place)
                    label = f"{place.parent.name}: {stage}"
                    kind = f"{cell.base} {stage}"
                    guess = foundation.guess(stage)
                    steps.append(_Step(study, kind, guess, label, foundation, stage))
            kind = f"{study.name} {cell.base} {cell.name}"
            steps.append(_Step(study, kind, cell.guess, f"{study.name}: {cell.id}", cell=cell))
    return steps


def _do(step: _Step, folder: Path, progress: _Progress, say: Say) -> None:
    def work() -> None:
        if step.foundation is not None:
            step.foundation.path(step.stage)
        elif step.cell is not None:
            run_cell(_cells(folder, step.study), step.cell)

    progress.clock.timed(step.kind, step.guess, work)
    progress.at += 1
    took = progress.clock.took[step.kind][-1]
    if step.cell is not None:
        with FileLock(folder / ".timings.lock"):  # another study may run in the same folder
            noted = _timings(folder)
            noted[f"{step.study.name}/{step.cell.id}"] = round(took, 2)
            write_json(folder / "timings.json", noted)
    say(
        f"[{progress.at}/{len(progress.steps)}] {step.label}   {took:.0f} s   {progress.left()} left"
    )


def _result(study: Study, asked: Asked, plan: Sequence[Cell], findings: Findings) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "study": study.name,
        "title": study.title,
        "command": asked.command(study.name),
        "bases": list(dict.fromkeys(cell.base for cell in plan)),
        "seeds": list(dict.fromkeys(cell.seed for cell in plan)),
        "quick": asked.quick,
        "smoke": asked.ground.smoke,
        "claims": [judged.as_json() for judged in findings.judged],
        "notes": list(findings.notes),
        "cells": [cell.id for cell in plan],
    }


def _cells(folder: Path, study: Study) -> Path:
    return folder / study.name / "cells"


def _timings(folder: Path) -> dict[str, float]:
    path = folder / "timings.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
