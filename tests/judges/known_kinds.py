"""How often a utility ranks texts of known kinds right.

The kinds are those of the derived story rankings: human above other story above repetition above
shuffled words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from alignloop.data.records import Prompt
from alignloop.data.stories import tidy

_INLINE = "Continue the story:"


@dataclass(frozen=True, slots=True)
class KindRanking:
    """Texts of known kinds under one prompt."""

    prompt: Prompt
    texts: tuple[str, ...]
    ranks: tuple[int, ...]
    """The smaller is the better; equal ranks are ties, which are not counted."""
    kinds: tuple[str, ...]
    """What each text is: human, other_story, repetition or shuffled_words."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> KindRanking:
        """Read one row of the derived story rankings: `{id, source, prompt, candidates, rank, kind}`.

        The prompt is parted into instruction and context (after the blank line, or after "Continue
        the story:").

        Raises:
            KeyError: a field is missing.
        """
        instruction, blank, context = row["prompt"].partition("\n\n")
        if not blank and instruction.startswith(_INLINE):
            instruction, context = _INLINE, instruction.removeprefix(_INLINE)
        instruction, context = tidy(instruction), tidy(context)
        return cls(
            prompt=Prompt(
                id=row["id"],
                text=f"{instruction}\n\n{context}" if context else instruction,
                group=row["id"].removeprefix("rk-").rpartition("#")[0]
                or row["id"].removeprefix("rk-"),
                source=row["source"],
                use_case="continue",
                context=context,
            ),
            texts=tuple(tidy(text) for text in row["candidates"]),
            ranks=tuple(row["rank"]),
            kinds=tuple(row["kind"]),
        )


def ranking_accuracy(
    utility: Callable[[Prompt, str], float], rankings: Iterable[KindRanking]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Count the pairs that `utility` puts in the right order; two texts of equal utility are not.

    Returns:
        (better kind, worse kind) -> (pairs in the right order, all pairs), ties of the ranking left out.
    """
    right: dict[tuple[str, str], int] = defaultdict(int)
    total: dict[tuple[str, str], int] = defaultdict(int)
    for ranking in rankings:
        scores = [utility(ranking.prompt, text) for text in ranking.texts]
        for i, better in enumerate(ranking.kinds):
            for j, worse in enumerate(ranking.kinds):
                if ranking.ranks[i] < ranking.ranks[j]:
                    total[better, worse] += 1
                    right[better, worse] += scores[i] > scores[j]
    return {pair: (right[pair], total[pair]) for pair in sorted(total)}
