"""Which file each task is read from: the user's, or the one that ships with the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from alignloop.errors import ConfigError
from alignloop.evaluation.tasks.catalogue import TASKS, task_called
from alignloop.resources import asset
from alignloop.runs.artifact import open_artifact

TASK_ROLE = "task "
"""Before a task's name it is the role of its file: no policy is called so."""


def bundled_tasks() -> list[str]:
    """Names of the tasks whose file ships with the package."""
    return [name for name, task in TASKS.items() if task.bundled is not None]


def task_files(given: Mapping[str, Path | None], text: Path | None = None) -> dict[str, Path]:
    """What `evaluate_tasks` takes, from a task's name and the user's file, or None for the bundled one.

    Args:
        text: a `pretraining-text` artefact, whose test side is the file of the task `text`.

    Raises:
        DataError: there is no such task.
        ConfigError: a task has no bundled file.
        ArtifactError: `text` is none.
    """
    found: dict[str, Path] = {}
    for name, path in given.items():
        task = task_called(name)
        if path is None and task.is_text and text is not None:
            path = open_artifact(text, "pretraining-text").file("test.jsonl.gz")
        if path is None:
            if task.bundled is None:
                raise ConfigError(
                    f"task '{name}' has no bundled file: write it as --task {name}=FILE"
                    + (", or give --text" if task.is_text else "")
                )
            path = asset(*task.bundled.split("/"))
        found[TASK_ROLE + name] = path
    return found
