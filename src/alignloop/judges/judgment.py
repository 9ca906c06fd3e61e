"""One labeler's answer to one ranking task, with what the interface knows about how it came about."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

import numpy as np
from numpy.typing import NDArray

from alignloop.data.records import Ranking


@dataclass(frozen=True, slots=True)
class Judgment:
    """A ranking of the K items of a task. Items are told apart by their place in the task, the same for everybody.

    What was not recorded is left empty, and the measures that need it leave the judgment out.
    """

    task: str
    """Tasks of one name have the same items in the same order."""
    labeler: str
    ranks: tuple[int, ...]
    """One per item: the lowest is the best, equal numbers are ties."""
    _: KW_ONLY
    prompt: str = ""
    """What tasks about one prompt share, so that intervals keep them together; the task itself where empty."""
    cohort: str = ""
    """`training` or `heldout`, say: who was screened, and whose labels train."""
    likert: tuple[int | None, ...] = ()
    """Overall quality per item, 1 to 7, higher is better (the paper's Table 3)."""
    flags: Mapping[str, tuple[bool | None, ...]] = field(
        default_factory=dict[str, tuple[bool | None, ...]]
    )
    """Name of a yes/no question (Table 3) -> answer per item."""
    positions: tuple[int, ...] = ()
    """Place of each item on the labeler's screen, 0 the first."""
    lengths: tuple[int, ...] = ()
    """Length of each item, in any one unit."""
    session_hours: float | None = None
    """Hours since the labeler's session began."""
    seconds: float | None = None
    """Active time spent."""

    @property
    def cluster(self) -> str:
        """The independent unit that intervals are drawn over."""
        return self.prompt or self.task

    def __post_init__(self) -> None:
        k = len(self.ranks)
        if k < 2:
            raise ValueError(f"task '{self.task}': a ranking needs at least two items")
        per_item = {"likert": self.likert, "positions": self.positions, "lengths": self.lengths}
        for name, values in {**per_item, **self.flags}.items():
            if len(values) not in (0, k):
                raise ValueError(f"task '{self.task}': {k} ranks but {len(values)} of '{name}'")


def judgments_of(
    rankings: Iterable[Ranking], cohorts: Mapping[str, str] | None = None
) -> list[Judgment]:
    """Rankings as judgments: a task is a prompt with the same texts in the same places; lengths are in tokens.

    Args:
        rankings: in the order in which they were made, where somebody ranked a task twice.
        cohorts: labeler -> cohort; no cohort where absent.
    """
    known = cohorts or {}
    return [
        Judgment(
            task=_task_of(ranking),
            labeler=ranking.labeler,
            ranks=ranking.ranks,
            prompt=ranking.prompt.id,
            cohort=known.get(ranking.labeler, ""),
            lengths=tuple(completion.tokens for completion in ranking.completions),
        )
        for ranking in rankings
    ]


def without_repeats(judgments: Iterable[Judgment]) -> list[Judgment]:
    """The first judgment of each labeler on each task; later ones are repeats, and speak for consistency alone."""
    found: dict[tuple[str, str], Judgment] = {}
    for judgment in judgments:
        found.setdefault((judgment.task, judgment.labeler), judgment)
    return list(found.values())


def by_task(judgments: Iterable[Judgment]) -> dict[str, list[Judgment]]:
    """Judgments of each task, in the order given.

    Raises:
        ValueError: two judgments of a task rank different numbers of items.
    """
    found: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        found[judgment.task].append(judgment)
    for task, of_task in found.items():
        sizes = sorted({len(judgment.ranks) for judgment in of_task})
        if len(sizes) > 1:
            raise ValueError(
                f"task '{task}' has {sizes[0]} items to one labeler and {sizes[1]} to another"
            )
    return dict(found)


def by_size(judgments: Sequence[Judgment]) -> dict[int, NDArray[np.int64]]:
    """K -> places in `judgments` of those that rank K items."""
    sizes = np.array([len(judgment.ranks) for judgment in judgments], dtype=np.int64)
    return {int(k): np.flatnonzero(sizes == k) for k in np.unique(sizes)}


def _task_of(ranking: Ranking) -> str:
    texts = "\x1f".join(completion.text for completion in ranking.completions)
    return f"{ranking.prompt.id}/{hashlib.sha256(texts.encode()).hexdigest()[:16]}"
