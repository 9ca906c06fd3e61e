"""Few-shot prompts of labelers: an instruction with K pairs of query and response becomes K demonstrations and more.

Appendix A.1 of the paper: each pair in turn is the one to answer, with the other K-1 as context. Appendix A.3: further
demonstrations have other sets of the examples as context, drawn at random.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from alignloop.errors import ConfigError
from alignloop.seeds import derive_seed

Pair = tuple[str, str]
"""(query, response)."""


@dataclass(frozen=True, slots=True)
class FewShot:
    """One demonstration made of an instruction's pairs."""

    instruction: str
    context: tuple[Pair, ...]
    """What is shown before, in order."""
    query: str
    response: str
    """What is to be learned."""

    def prompt(self, query_label: str = "Input", response_label: str = "Output") -> str:
        """The whole as one text that ends where the response begins; the labels stand before each part."""
        shown = [
            f"{query_label}: {query}\n{response_label}: {response}"
            for query, response in self.context
        ]
        return "\n\n".join(
            [self.instruction, *shown, f"{query_label}: {self.query}\n{response_label}:"]
        )


def expand(instruction: str, pairs: Sequence[Pair]) -> list[FewShot]:
    """K demonstrations of K pairs, in the order of the pairs, each with the others as context in their order."""
    return [
        FewShot(instruction, (*pairs[:i], *pairs[i + 1 :]), query, response)
        for i, (query, response) in enumerate(pairs)
    ]


def sample_sets(
    instruction: str, pairs: Sequence[Pair], *, size: int, count: int, seed: int
) -> list[FewShot]:
    """Up to `count` demonstrations with `size` other pairs as context, drawn without repeating a set.

    A set of pairs is used once for each pair to answer, whatever its order; the order in the context is drawn too.
    Fewer come back where there are no more sets. The same seed and pairs give the same demonstrations.

    Raises:
        ConfigError: there are not `size` other pairs.
    """
    others = len(pairs) - 1
    if not 0 <= size <= others:
        raise ConfigError(
            f"{len(pairs)} examples leave {max(others, 0)} as context for one of them, not {size}"
        )
    draw = random.Random(derive_seed(seed, "few-shot", instruction))
    wanted = min(count, len(pairs) * math.comb(others, size))
    chosen: dict[tuple[int, frozenset[int]], tuple[int, ...]] = {}
    while len(chosen) < wanted:
        target = draw.randrange(len(pairs))
        rest = [i for i in range(len(pairs)) if i != target]
        context = tuple(draw.sample(rest, size))
        chosen.setdefault((target, frozenset(context)), context)
    return [
        FewShot(instruction, tuple(pairs[i] for i in context), *pairs[target])
        for (target, _), context in chosen.items()
    ]
