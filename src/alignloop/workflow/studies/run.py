"""Running studies: foundations first, then cells, then findings; all that is there already is passed over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from alignloop.errors import ConfigError
from alignloop.files import write_json
from alignloop.workflow.studies.cells import Cell, Clock, Done, Say, minutes, read_cell
from alignloop.workflow.studies.foundation import BaseName, Ground
from alignloop.workflow.studies.steps import Plan, Step, Workshop, cells_folder, steps_of
from alignloop.workflow.studies.study import Bench, Findings, Study
from alignloop.workflow.studies.wording import line
from alignloop.workflow.studies.workers import threads_of, worked_off

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


@dataclass(slots=True)
class _Progress:
    steps: Sequence[Step]
    jobs: int
    clock: Clock = field(default_factory=Clock)
    done: set[str] = field(default_factory=set[str])
    """Labels of steps."""

    @property
    def rest(self) -> list[Step]:
        """What is not done yet."""
        return [step for step in self.steps if step.label not in self.done]

    def left(self) -> str:
        """The time that it should take, in words."""
        kinds = [(step.kind, step.guess) for step in self.rest]
        return minutes(self.clock.left(kinds) / self.jobs)


def run_studies(
    studies: Sequence[Study],
    asked: Asked,
    say: Say,
    after: Callable[[], object] = lambda: None,
    *,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """Run studies, and write what each found when its last cell is done.

    Everything lies in the ground's folder: `foundations/`, and per study `NAME/cells/` and `NAME/study.json`.

    Args:
        jobs: how many steps are worked on at once, each in a process of its own; 1 does all in this one.
        after: called when a study is written: the page, so that there is one when a later study is stopped.

    Returns:
        What each `study.json` holds.

    Raises:
        AlignloopError: whatever a stage refuses; the same command goes on from there.
    """
    bench, folder = asked.bench, asked.ground.folder
    plans = [(study, study.plan(bench)) for study in studies]
    _check_demo(asked.ground, plans)
    steps = steps_of(plans, bench)
    jobs = min(jobs, len(steps)) or 1
    progress = _Progress(steps, jobs)
    cells = sum(len(plan) for _, plan in plans)
    to_do = sum(bool(step.cell) for step in steps)
    threads = threads_of(jobs)
    at_once = f", {jobs} at once with {threads} thread{'s' * (threads > 1)} each" * (jobs > 1)
    say(
        f"{len(plans)} {'study' if len(plans) == 1 else 'studies'}, {cells} cells, {to_do} of them to do, "
        f"{len(steps) - to_do} stages below them{at_once}: {progress.left()}"
    )
    results: dict[str, dict[str, Any]] = {}

    def conclude() -> None:
        """Write what has been found of each study whose last step is done."""
        open_studies = {step.study for step in progress.rest}
        for study, plan in plans:
            if study.name not in results and study.name not in open_studies:
                results[study.name] = _concluded(study, plan, asked, say)
                after()

    conclude()
    if jobs > 1:
        work: Iterable[tuple[Step, float]] = worked_off(steps, asked, jobs)
    else:
        workshop = Workshop(plans, bench)
        work = ((step, workshop.do(step)) for step in steps)
    for step, seconds in work:
        progress.clock.note(step.kind, step.guess, seconds)
        progress.done.add(step.label)
        if step.cell:
            _note_time(folder, f"{step.study}/{step.cell}", seconds)
        say(
            f"[{len(progress.done)}/{len(steps)}] {step.label}   {seconds:.0f} s   {progress.left()} left"
        )
        conclude()
    return [results[study.name] for study in studies]


def _check_demo(ground: Ground, plans: Sequence[Plan]) -> None:
    """A demo that is given has to serve some cell.

    Raises:
        ConfigError: it serves none.
    """
    if ground.finished is None:
        return
    wanted: set[tuple[BaseName, int]] = {
        (cell.base, cell.seed) for _, plan in plans for cell in plan
    }
    if all(ground.foundation(base, seed).finished is None for base, seed in wanted):
        bases = ", ".join(sorted({base for base, _ in wanted}))
        seeds = ", ".join(map(str, sorted({seed for _, seed in wanted})))
        raise ConfigError(
            f"{ground.finished} would not be used: a demo serves the base 'demo' and its own seed, and these studies "
            f"have bases {bases} and seeds {seeds}; add --base demo, or leave --demo out"
        )


def read_study(folder: Path, study: Study) -> tuple[dict[str, Any], list[Done]] | None:
    """A finished study's `study.json` and its cells; None where it did not finish yet, or a cell was deleted."""
    path = folder / study.name / "study.json"
    if not path.is_file():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    cells = [cells_folder(folder, study.name) / f"{name}.json" for name in result["cells"]]
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


def _note_time(folder: Path, name: str, seconds: float) -> None:
    with FileLock(folder / ".timings.lock"):  # another study may run in the same folder
        noted = _timings(folder)
        noted[name] = round(seconds, 2)
        write_json(folder / "timings.json", noted)


def _concluded(study: Study, plan: Sequence[Cell], asked: Asked, say: Say) -> dict[str, Any]:
    """Judge a study's claims from its cells, and write them down."""
    folder = asked.ground.folder
    done = [found for cell in plan if (found := read_cell(cells_folder(folder, study.name), cell))]
    findings = study.findings(done)
    result = _result(study, asked, plan, findings)
    write_json(folder / study.name / "study.json", result)
    say(f"{study.name}: {study.title}")
    for judged in findings.judged:
        say(f"  {line(judged)}")
    return result


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


def _timings(folder: Path) -> dict[str, float]:
    path = folder / "timings.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
