"""Which file each task is read from: the user's, or the one that ships with the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from alignloop.errors import ConfigError
from alignloop.evaluation.tasks.catalogue import TASKS, task_called
from alignloop.resources import asset

TASK_ROLE = "task "
"""Before a task's name it is the role of its file: no policy is called so."""


def bundled_tasks() -> list[str]:
    """Names of the tasks whose file ships with the package."""
    return [name for name, task in TASKS.items() if task.bundled is not None]


def task_files(given: Mapping[str, Path | None]) -> dict[str, Path]:
    """What `evaluate_tasks` takes, from a task's name and the user's file, or None for the bundled one.

    Raises:
        DataError: there is no such task.
        ConfigError: a task has no bundled file.
    """
    found: dict[str, Path] = {}
    for name, path in given.items():
        task = task_called(name)
        if path is None:
            if task.bundled is None:
                raise ConfigError(
                    f"task '{name}' has no bundled file: write it as --task {name}=FILE"
                )
            path = asset(*task.bundled.split("/"))
        found[TASK_ROLE + name] = path
    return found
