"""Every task by its name."""

from __future__ import annotations

import difflib

from alignloop.errors import DataError
from alignloop.evaluation.tasks.bbq import BBQ
from alignloop.evaluation.tasks.choice import HELLASWAG, RTE, SST
from alignloop.evaluation.tasks.drop import DROP
from alignloop.evaluation.tasks.instructed import INSTRUCTED
from alignloop.evaluation.tasks.pairs import CROWS, WINOGENDER
from alignloop.evaluation.tasks.probes import PROBES
from alignloop.evaluation.tasks.reading import FAIRYTALE, QUAC, SQUAD
from alignloop.evaluation.tasks.task import Task
from alignloop.evaluation.tasks.text import TEXT
from alignloop.evaluation.tasks.toxicity import REAL_TOXICITY
from alignloop.evaluation.tasks.truthfulqa import TRUTHFULQA, TRUTHFULQA_MC
from alignloop.evaluation.tasks.ways import WAYS_OF_ASKING
from alignloop.evaluation.tasks.writing import CNN_DM, P3, TLDR, TRANSLATION, WSC

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        TRUTHFULQA,
        TRUTHFULQA_MC,
        REAL_TOXICITY,
        WINOGENDER,
        CROWS,
        BBQ,
        SQUAD,
        DROP,
        QUAC,
        FAIRYTALE,
        HELLASWAG,
        SST,
        RTE,
        WSC,
        TRANSLATION,
        CNN_DM,
        TLDR,
        P3,
        *INSTRUCTED,
        *PROBES,
        WAYS_OF_ASKING,
        TEXT,
    )
}


def task_called(name: str) -> Task:
    """The task of that name.

    Raises:
        DataError: there is none; the nearest name is told.
    """
    if name in TASKS:
        return TASKS[name]
    close = difflib.get_close_matches(name, TASKS, n=1)
    advice = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(TASKS)}"
    raise DataError(f"no task is called '{name}'; {advice}")
