"""The pairs within one ranking: who is preferred, by how many ranks, and which are ties. Torch-free."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """Two completions of one prompt, by their indices."""

    preferred: int
    """In a tie, the earlier of the two."""
    other: int
    gap: int
    """How many ranks they are apart, empty ones not counted; 0 for a tie."""

    @property
    def is_ordered(self) -> bool:
        """Whether the labeler preferred one of them."""
        return self.gap > 0


def pairs_of(ranks: Sequence[int]) -> list[Pair]:
    """All K(K-1)/2 pairs, in a fixed order. Ranks 1, 2, 2, 4 and 1, 2, 2, 3 say the same, and give the same gaps."""
    level = {rank: number for number, rank in enumerate(sorted(set(ranks)))}
    levels = [level[rank] for rank in ranks]
    return [
        Pair(i, j, levels[j] - levels[i])
        if levels[i] <= levels[j]
        else Pair(j, i, levels[i] - levels[j])
        for i, j in itertools.combinations(range(len(ranks)), 2)
    ]
