"""Rankings as token batches, for all that learns from them: a prompt's completions stay together, with their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignloop.data.batches import Forest, micro_batches
from alignloop.data.formatter import Formatter
from alignloop.data.records import Ranking
from alignloop.errors import DataError


@dataclass(frozen=True, slots=True)
class RankedPrompt:
    """One ranking as tokens."""

    prompt: list[int]
    completions: list[list[int]]
    pairs: list[tuple[int, int]]
    """(preferred, other) indices into `completions`; ties are left out."""

    @property
    def all_pairs(self) -> int:
        """K(K-1)/2, ties included."""
        return len(self.completions) * (len(self.completions) - 1) // 2

    def best(self) -> list[int]:
        """Indices of the completions that none was preferred to; several where they tie."""
        beaten = {other for _, other in self.pairs}
        return [i for i in range(len(self.completions)) if i not in beaten]

    @property
    def width(self) -> int:
        """Tokens of the prompt with its longest completion: what must fit the context."""
        return len(self.prompt) + max(map(len, self.completions))

    @property
    def size(self) -> int:
        """Tokens of the prompt and all its completions."""
        return len(self.prompt) + sum(map(len, self.completions))


@dataclass(frozen=True, slots=True)
class RankedBatch:
    """Some prompts' completions, each once, and their pairs as indices into all completions."""

    completions: Forest
    preferred: Tensor
    other: Tensor
    prompt_of_pair: Tensor
    kept_pairs: Tensor
    all_pairs: Tensor
    is_best: Tensor
    """Per completion: whether none of its prompt was preferred to it."""

    @classmethod
    def of(cls, prompts: Sequence[RankedPrompt], pad: int) -> RankedBatch:
        """Lay the prompts out as rows, each with its completions."""
        preferred: list[int] = []
        other: list[int] = []
        owner: list[int] = []
        offset = 0
        for number, prompt in enumerate(prompts):
            for better, worse in prompt.pairs:
                preferred.append(offset + better)
                other.append(offset + worse)
                owner.append(number)
            offset += len(prompt.completions)
        return cls(
            Forest.of([p.prompt for p in prompts], [p.completions for p in prompts], pad),
            torch.tensor(preferred, dtype=torch.long),
            torch.tensor(other, dtype=torch.long),
            torch.tensor(owner, dtype=torch.long),
            torch.tensor([float(max(len(p.pairs), 1)) for p in prompts]),
            torch.tensor([float(p.all_pairs) for p in prompts]),
            torch.tensor([i in p.best() for p in prompts for i in range(len(p.completions))]),
        )


def encode_rankings(
    rankings: Sequence[Ranking], formatter: Formatter, context: int
) -> list[RankedPrompt]:
    """Tokens of every ranking that orders at least one pair.

    Completions are read as they were drawn where their tokens are known, truncated ones without an end.

    Raises:
        DataError: a completion is empty or does not fit the context; or no ranking has a pair that is not a tie.
    """
    encoded: list[RankedPrompt] = []
    for ranking in rankings:
        pairs = ranking.pairs()
        if not pairs:
            continue
        prompt = formatter.prompt(ranking.prompt.text)
        completions: list[list[int]] = []
        for completion in ranking.completions:
            try:
                completions.append(formatter.completion(completion))
            except DataError as error:
                raise DataError(f"ranking of prompt '{ranking.prompt.id}': {error}") from None
        row = RankedPrompt(prompt, completions, pairs)
        if row.width > context:
            raise DataError(
                f"ranking of prompt '{ranking.prompt.id}': {row.width} tokens, the context is {context}"
            )
        encoded.append(row)
    if not encoded:
        raise DataError("no ranking orders any pair: all are ties, so there is nothing to learn")
    return encoded


def prompt_groups(prompts: Sequence[RankedPrompt], budget: int) -> list[list[int]]:
    """Indices in groups whose padded rows stay within `budget` tokens; prompts of similar size together."""
    return micro_batches([prompt.size for prompt in prompts], budget)
