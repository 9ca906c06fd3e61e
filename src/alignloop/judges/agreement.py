"""How far two labelers agree: over the pairs that both ordered, and with ties.

Counts of two rankings, and of all of them by pair of labelers. `agreement_tables` has the same figures with
intervals, by labeler, cohort, K and distance, for many rankings at once.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from alignloop.data.records import Ranking


@dataclass(frozen=True, slots=True)
class Reference:
    """An agreement that was published, to read one's own beside it."""

    share: float
    """Of the pairs that both ordered."""
    plus_minus: float
    """As printed; neither paper says whether it is a standard error or an interval."""
    who: str
    source: str


TRAINING_LABELERS = Reference(
    0.726, 0.015, "training labelers of InstructGPT", "Ouyang et al. 2022, section 3.4"
)
HELD_OUT_LABELERS = Reference(
    0.773, 0.013, "held-out labelers of InstructGPT", "Ouyang et al. 2022, section 3.4"
)
SUMMARY_RESEARCHERS = Reference(
    0.73,
    0.04,
    "researchers among themselves, on summaries",
    "Stiennon et al. 2020, appendix C.2, as cited by Ouyang et al. 2022, section 3.4",
)
REFERENCES = (TRAINING_LABELERS, HELD_OUT_LABELERS, SUMMARY_RESEARCHERS)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts over pairs of texts that two labelers both ranked; counts can be added up."""

    ordered: int = 0
    """Pairs that both ordered, neither calling a tie."""
    same_order: int = 0
    """Of those, pairs that they ordered alike."""
    one_tie: int = 0
    """Pairs that one of them called a tie."""
    both_ties: int = 0
    """Pairs that both called a tie."""

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.ordered + other.ordered,
            self.same_order + other.same_order,
            self.one_tie + other.one_tie,
            self.both_ties + other.both_ties,
        )

    @property
    def pairs(self) -> int:
        """All pairs."""
        return self.ordered + self.one_tie + self.both_ties

    @property
    def ordered_share(self) -> float:
        """Agreement as the paper gives it: over the pairs that both ordered. NaN without any."""
        return self.same_order / self.ordered if self.ordered else math.nan

    @property
    def three_way_share(self) -> float:
        """A tie is a third answer, and agrees with a tie alone. NaN without pairs."""
        return (self.same_order + self.both_ties) / self.pairs if self.pairs else math.nan

    @property
    def tie_aware_share(self) -> float:
        """Tie-aware agreement: two ties agree, a tie and an order agree by half. NaN without pairs."""
        agreed = self.same_order + self.both_ties + self.one_tie / 2
        return agreed / self.pairs if self.pairs else math.nan


def compare_ranks(a: Sequence[int], b: Sequence[int]) -> Agreement:
    """Compare two rankings of the same texts.

    Raises:
        ValueError: they rank different numbers of texts.
    """
    if len(a) != len(b):
        raise ValueError(f"one ranking has {len(a)} texts, the other {len(b)}")
    found = Counter[str]()
    for i, j in itertools.combinations(range(len(a)), 2):
        left, right = _sign(a[i] - a[j]), _sign(b[i] - b[j])
        if left and right:
            found["ordered"] += 1
            found["same_order"] += left == right
        else:
            found["one_tie" if left or right else "both_ties"] += 1
    return Agreement(**found)


def agreement_of(rankings: Iterable[Ranking]) -> dict[tuple[str, str], Agreement]:
    """Agreement of each pair of labelers over the prompts that both ranked.

    Rankings of a prompt are compared where they rank the same texts in the same places. Sum the
    values for the overall figure: `sum(result.values(), Agreement())`.
    """
    by_task: dict[Hashable, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for ranking in rankings:
        task = (ranking.prompt.id, tuple(completion.text for completion in ranking.completions))
        by_task[task][ranking.labeler] = ranking.ranks
    found: dict[tuple[str, str], Agreement] = defaultdict(Agreement)
    for by_labeler in by_task.values():
        for a, b in itertools.combinations(sorted(by_labeler), 2):
            found[a, b] += compare_ranks(by_labeler[a], by_labeler[b])
    return dict(sorted(found.items()))


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
