"""The loop itself: look, decide, act, until a person is needed or every round is done. Nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from filelock import FileLock, Timeout

from alignloop.errors import DataError, RunError
from alignloop.store.project import Project
from alignloop.workflow.loop.config import LoopConfig
from alignloop.workflow.loop.facts import Facts, facts_of
from alignloop.workflow.loop.pace import Pace
from alignloop.workflow.loop.steps import (
    Done,
    Step,
    Wait,
    check_labelers,
    next_step,
    steps_ahead,
)
from alignloop.workflow.overview.runs import runs_below

LOUD = (
    "SIMULATED LABELERS: every label of this project is made up by code with tastes of its own (docs/judges.md); "
    "what comes of it shows that the loop runs, and nothing about what people want"
)


def look(project: Project) -> Facts:
    """The facts of a project as it stands."""
    runs = runs_below(project.folder / "runs")
    if not project.is_begun:
        return facts_of(None, runs)
    with closing(project.open(create=False)) as store, store.read() as connection:
        return facts_of(connection, runs)


def loop(
    project: Project,
    config: LoopConfig,
    *,
    rounds: int,
    simulated: bool,
    say: Callable[[str], None],
) -> Wait | Done:
    """Take a project as far as it goes without a person; returns what it waits for.

    A call that was killed is taken up by the next one, since every decision rests on what lies in the store and in
    `runs/`.

    Raises:
        ConfigError: labels of people and of code would be mixed.
        RunError: another call works on this project, or a run there was begun with other settings.
        AlignloopError: whatever a stage refuses.
    """
    if not project.folder.is_dir():
        empty = _decided(Facts(), config, rounds, simulated)
        if not isinstance(empty, Step):
            return empty
        project.folder.mkdir(parents=True)
    lock = FileLock(project.folder / ".loop.lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another `alignloop loop` works on {project.folder}; wait until it is through"
        ) from None
    try:
        return _to_the_next_person(project, config, rounds, simulated, say)
    finally:
        lock.release()


def _to_the_next_person(
    project: Project,
    config: LoopConfig,
    rounds: int,
    simulated: bool,
    say: Callable[[str], None],
) -> Wait | Done:
    from alignloop.workflow.loop.act import Site

    pace = Pace()
    site = Site(project, config, simulated, say, pace)
    before: Step | None = None
    while True:
        facts = look(project)
        step = _decided(facts, config, rounds, simulated)
        if not isinstance(step, Step):
            return step
        if step == before:
            raise DataError(
                f"nothing came of '{step.action}' for '{step.run}'; what it said above tells why"
            )
        ahead = steps_ahead(facts, config, rounds=rounds, simulated=simulated)
        site.act(step, ahead)
        before = step


def _decided(facts: Facts, config: LoopConfig, rounds: int, simulated: bool) -> Step | Wait | Done:
    check_labelers(facts, simulated=simulated)
    return next_step(facts, config, rounds=rounds, simulated=simulated)
