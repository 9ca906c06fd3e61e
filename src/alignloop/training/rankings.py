"""Rankings as token batches, for all that learns from them: a prompt's completions stay together, with their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alignloop.data.batches import Forest
from alignloop.data.formatter import Formatter
from alignloop.data.pairs import Pair, pairs_of
from alignloop.data.records import Ranking
from alignloop.errors import DataError
from alignloop.models.packing import packed_groups

Ties = Literal["drop", "half"]


@dataclass(frozen=True, slots=True)
class RankedPrompt:
    """One ranking as tokens."""

    prompt: list[int]
    completions: list[list[int]]
    pairs: list[Pair]
    """Those that are learned from."""
    is_best: list[bool]
    """Per completion, whether it has the best rank."""

    @classmethod
    def of(
        cls, prompt: list[int], completions: list[list[int]], ranks: Sequence[int], ties: Ties
    ) -> RankedPrompt:
        """A prompt whose ties are left out, or kept as pairs [RM-04]."""
        pairs = [pair for pair in pairs_of(ranks) if pair.is_ordered or ties == "half"]
        return cls(prompt, completions, pairs, [rank == min(ranks) for rank in ranks])

    @property
    def all_pairs(self) -> int:
        """K(K-1)/2, ties included."""
        return len(self.completions) * (len(self.completions) - 1) // 2

    @property
    def ordered_pairs(self) -> int:
        """Pairs that are not ties."""
        return sum(pair.is_ordered for pair in self.pairs)

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
    gaps: Tensor
    is_ordered: Tensor
    kept_pairs: Tensor
    all_pairs: Tensor
    prompt_of_completion: Tensor
    is_best: Tensor

    @classmethod
    def of(cls, prompts: Sequence[RankedPrompt]) -> RankedBatch:
        """Lay the prompts out, each with its completions."""
        offsets = [0]
        for prompt in prompts:
            offsets.append(offsets[-1] + len(prompt.completions))
        pairs = [(number, pair) for number, one in enumerate(prompts) for pair in one.pairs]
        return cls(
            Forest.of([p.prompt for p in prompts], [p.completions for p in prompts]),
            torch.tensor([offsets[n] + pair.preferred for n, pair in pairs], dtype=torch.long),
            torch.tensor([offsets[n] + pair.other for n, pair in pairs], dtype=torch.long),
            torch.tensor([n for n, _ in pairs], dtype=torch.long),
            torch.tensor([float(pair.gap) for _, pair in pairs]),
            torch.tensor([pair.is_ordered for _, pair in pairs], dtype=torch.bool),
            torch.tensor([float(max(len(p.pairs), 1)) for p in prompts]),
            torch.tensor([float(p.all_pairs) for p in prompts]),
            torch.tensor([n for n, p in enumerate(prompts) for _ in p.completions]),
            torch.tensor([is_best for p in prompts for is_best in p.is_best]),
        )


def encode_rankings(
    rankings: Sequence[Ranking], formatter: Formatter, context: int, ties: Ties = "drop"
) -> list[RankedPrompt]:
    """Tokens of every ranking that has a pair to learn from.

    Completions are read as they were drawn where their tokens are known, truncated ones without an end.

    Raises:
        DataError: a completion is empty or does not fit the context; or no ranking has a pair that is not a tie.
    """
    encoded: list[RankedPrompt] = []
    for ranking in rankings:
        prompt = formatter.prompt(ranking.prompt)
        completions: list[list[int]] = []
        if ties == "drop" and len(set(ranking.ranks)) == 1:
            continue
        for completion in ranking.completions:
            try:
                completions.append(formatter.completion(completion))
            except DataError as error:
                raise DataError(f"ranking of prompt '{ranking.prompt.id}': {error}") from None
        row = RankedPrompt.of(prompt, completions, ranking.ranks, ties)
        if row.width > context:
            raise DataError(
                f"ranking of prompt '{ranking.prompt.id}': {row.width} tokens, the context is {context}"
            )
        encoded.append(row)
    if not any(row.ordered_pairs for row in encoded):
        raise DataError("no ranking orders any pair: all are ties, so there is nothing to learn")
    return encoded


def prompt_groups(prompts: Sequence[RankedPrompt], budget: int) -> list[list[int]]:
    """Indices in groups of at most `budget` tokens; a prompt beyond that gets a group of its own."""
    return packed_groups([prompt.size for prompt in prompts], budget)
