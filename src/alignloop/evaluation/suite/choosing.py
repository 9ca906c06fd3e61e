"""Which items are asked, and which are kept apart to serve as examples: the same for every policy and setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignloop.errors import DataError
from alignloop.evaluation.tasks.task import Item, Task
from alignloop.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class Chosen:
    """The items of one task."""

    items: list[Item]
    """To be asked, in the file's order."""
    examples: list[Item]
    """As many as the longest few-shot prompt has; a prompt of k examples has the last k of them."""
    in_file: int
    """Items of the whole file."""


def choose(
    task: Task,
    path: Path,
    seed: int,
    limit: int | None,
    shots: Sequence[int] | None,
    is_held_out: Callable[[str], bool] | None = None,
) -> Chosen:
    """Read a task's file and draw its examples and items.

    An example takes its whole cluster (a passage, a story) out of the items, so that nothing asked was shown [TASK-03].

    Args:
        is_held_out: whether a story may be asked about, by its name; of tasks without stories nothing is left out.

    Raises:
        DataError: the file cannot be read; two items have one id; or too few are left.
    """
    items = in_file = task.read(path)
    if task.has_stories and is_held_out is not None:
        items = [item for item in in_file if is_held_out(item.cluster)]
        if not items:
            raise DataError(f"{path}: none of its stories is on the test side of the text given")
    if len({item.id for item in items}) < len(items):
        counts: dict[str, int] = {}
        for item in items:
            counts[item.id] = counts.get(item.id, 0) + 1
        twice = next(name for name, count in counts.items() if count > 1)
        raise DataError(f"{path}: two items are called '{twice}'")
    wanted = max((setting.shots for setting in task.settings(shots)), default=0)
    examples = _examples(task, path, items, wanted, seed)
    shown = {item.unit for item in examples}
    left = [item for item in items if item.unit not in shown]
    if not left:
        raise DataError(
            f"{path}: nothing is left to ask once {wanted} examples are taken out of {len(items)} items; "
            "lower shots"
        )
    if limit is not None and limit < len(left):
        left = _limited(
            task, left, limit, np.random.default_rng(derive_seed(seed, "items", task.name))
        )
    return Chosen(left, examples, len(in_file))


def _limited(
    task: Task, items: Sequence[Item], limit: int, generator: np.random.Generator
) -> list[Item]:
    """So many items in their order; whole clusters where the task compares within them, the last one too."""
    if not task.in_sets:
        return [items[i] for i in sorted(generator.permutation(len(items))[:limit].tolist())]
    sets: dict[str, list[int]] = {}
    for i, item in enumerate(items):
        sets.setdefault(item.unit, []).append(i)
    units = list(sets)
    kept: list[int] = []
    for number in generator.permutation(len(units)).tolist():
        if len(kept) >= limit:
            break
        kept += sets[units[number]]
    return [items[i] for i in sorted(kept)]


def _examples(task: Task, path: Path, items: Sequence[Item], wanted: int, seed: int) -> list[Item]:
    """The last item of each of so many clusters: where questions follow one another it shows them all."""
    last = {item.unit: item for item in items if item.answer}
    units = list(last)
    if len(units) < wanted:
        raise DataError(
            f"{path}: {wanted} examples are wanted, but there are {len(units)} to take them from; lower shots"
        )
    drawn = np.random.default_rng(derive_seed(seed, "examples", task.name)).permutation(len(units))
    return [last[units[i]] for i in drawn[:wanted].tolist()]
