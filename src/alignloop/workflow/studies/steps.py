"""What is to be done for some studies, step by step, and which step may be done beside which."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alignloop.workflow.studies.cells import Cell, read_cell, run_cell
from alignloop.workflow.studies.foundation import JUDGES, SHARED, BaseName, Foundation
from alignloop.workflow.studies.study import Bench, Study

Plan = tuple[Study, Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of a foundation, or a cell of a study."""

    study: str
    """Name of the study that asks for it before all others."""
    base: BaseName
    seed: int
    stage: str
    """Of the foundation; empty for a cell."""
    cell: str
    """Its id; empty for a stage."""
    kind: str
    """Steps of one kind take about as long as one another."""
    guess: float
    """Seconds on two quiet cores."""
    label: str
    uses: frozenset[Path] = field(repr=False)
    """Foundations that it is part of, or builds on."""

    def must_follow(self, earlier: Step) -> bool:
        """Whether it has to wait for a step that stands before it in the plan.

        The stages of a foundation are made one by one, and before its cells; what all foundations share, before all.
        Cells of one name, as two studies have them that need the same policy, share their runs.
        """
        if earlier.stage:
            return earlier.stage in SHARED or bool(earlier.uses & self.uses)
        return self.cell == earlier.cell


def next_step(waiting: Sequence[Step], running: Iterable[Step]) -> Step | None:
    """The earliest step that need not wait for one that runs or stands before it; None where all must."""
    before = list(running)
    for step in waiting:
        if not any(step.must_follow(other) for other in before):
            return step
        before.append(step)
    return None


def steps_of(plans: Sequence[Plan], bench: Bench) -> list[Step]:
    """What is to be done, the stages of foundations before the cells that need them, each once."""
    steps: list[Step] = []
    planned: set[Path] = set()

    def lay(study: Study, foundation: Foundation, names: Sequence[str]) -> None:
        for stage in foundation.missing(names):
            place = foundation.place(stage)
            if place not in planned:
                planned.add(place)
                base, seed = foundation.base_name, foundation.seed
                label = f"{place.parent.name}: {stage}"
                kind, guess = f"{base} {stage}", foundation.guess(stage)
                uses = frozenset({foundation.demo.folder})
                steps.append(Step(study.name, base, seed, stage, "", kind, guess, label, uses))

    for study, plan in plans:
        for cell in plan:
            if read_cell(cells_folder(bench.ground.folder, study.name), cell) is not None:
                continue
            foundation = bench.foundation(cell.base, cell.seed)
            below = [(foundation, study.needs)]
            if cell.judge is not None:
                below.append((cell.judge, JUDGES))
            for one, names in below:
                lay(study, one, names)
            steps.append(
                Step(
                    study.name,
                    cell.base,
                    cell.seed,
                    "",
                    cell.id,
                    f"{study.name} {cell.base} {cell.name}",
                    cell.guess,
                    f"{study.name}: {cell.id}",
                    frozenset(one.demo.folder for one, _ in below),
                )
            )
    return steps


class Workshop:
    """Does steps of some studies in a folder. Cells of one foundation share the models that they have read."""

    def __init__(self, plans: Sequence[Plan], bench: Bench) -> None:
        self._bench = bench
        self._cells = {study.name: {cell.id: cell for cell in plan} for study, plan in plans}

    def do(self, step: Step) -> float:
        """Do a step, where it is not done; the seconds that it took.

        Raises:
            AlignloopError: whatever a stage refuses.
        """
        began = time.perf_counter()
        if step.stage:
            self._bench.foundation(step.base, step.seed).path(step.stage)
        else:
            folder = cells_folder(self._bench.ground.folder, step.study)
            run_cell(folder, self._cells[step.study][step.cell])
        return time.perf_counter() - began


def cells_folder(folder: Path, study: str) -> Path:
    """Where the cells of the study of that name leave their rows."""
    return folder / study / "cells"
