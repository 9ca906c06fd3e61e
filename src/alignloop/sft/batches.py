"""Demonstrations as token ids, checked against the context, and laid out for forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from alignloop.data.batches import Ragged, micro_batches, shares_of_batch
from alignloop.data.formatter import Formatter
from alignloop.data.records import Demonstration
from alignloop.distributed import ALONE, World
from alignloop.errors import DataError
from alignloop.models.packing import PackedRow, packed_groups
from alignloop.sft.config import Packing, Turns


@dataclass(frozen=True, slots=True)
class Example:
    """One demonstration as tokens.

    earlier: (start, stop) in the prompt of the assistant's earlier turns, where those are learned too.
    """

    prompt: list[int]
    response: list[int]
    earlier: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    @property
    def length(self) -> int:
        """Tokens of prompt and response."""
        return len(self.prompt) + len(self.response)

    def learned(self, *, on_prompt: bool) -> list[tuple[int, int]]:
        """(start, stop) of the tokens that the loss counts: responses, or all but the first."""
        return [(1, self.length)] if on_prompt else [*self.earlier, (len(self.prompt), self.length)]

    def count(self, *, on_prompt: bool = False) -> int:
        """How many tokens the loss counts."""
        return sum(stop - start for start, stop in self.learned(on_prompt=on_prompt))


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward pass reads, and [B, T] which of its tokens are learned."""

    rows: Ragged | PackedRow
    is_learned: Tensor
    weight: float = 1.0
    """0 where a rank repeats a row because others have more passes to make."""


def lay_out(
    examples: Sequence[Example],
    packing: Packing,
    budget: int,
    pad: int,
    *,
    on_prompt: bool,
    world: World = ALONE,
) -> list[MicroBatch]:
    """Examples as forward passes of at most `budget` tokens: rows of similar length padded, or one row packed.

    Of several ranks each gets its share: see `shares_of_batch`.
    """
    grouped = packed_groups if packing == "packed" else micro_batches
    shares = shares_of_batch([example.length for example in examples], budget, world, grouped)
    passes: list[MicroBatch] = []
    for rows, weight in shares:
        chosen = [examples[i] for i in rows]
        made = (
            _packed(chosen, on_prompt) if packing == "packed" else _padded(chosen, pad, on_prompt)
        )
        passes.append(replace(made, weight=weight))
    return passes


def _padded(examples: Sequence[Example], pad: int, on_prompt: bool) -> MicroBatch:
    rows = Ragged.of([e.prompt for e in examples], [e.response for e in examples], pad)
    is_learned = torch.zeros(rows.tokens.shape, dtype=torch.bool)
    for row, example in enumerate(examples):
        for start, stop in example.learned(on_prompt=on_prompt):
            is_learned[row, start:stop] = True
    return MicroBatch(rows, is_learned)


def _packed(examples: Sequence[Example], on_prompt: bool) -> MicroBatch:
    row = PackedRow.of([[*e.prompt, *e.response] for e in examples])
    is_learned = torch.zeros(row.tokens.shape, dtype=torch.bool)
    first = 0
    for example in examples:
        for start, stop in example.learned(on_prompt=on_prompt):
            is_learned[0, first + start : first + stop] = True
        first += example.length
    return MicroBatch(row, is_learned)


def encode_demonstrations(
    demonstrations: Sequence[Demonstration],
    formatter: Formatter,
    context: int,
    max_prompt_tokens: int | None,
    turns: Turns = "last",
) -> tuple[list[Example], int]:
    """Tokens of every demonstration, and how many were left out for a prompt beyond `max_prompt_tokens`.

    Args:
        turns: which of the assistant's turns are learned.

    Raises:
        DataError: one does not fit the context, or has an empty response (its id is named); or none is left.
    """
    examples: list[Example] = []
    dropped = 0
    conversations = formatter.conversations([one.prompt for one in demonstrations])
    for demonstration, asked in zip(demonstrations, conversations, strict=True):
        prompt = asked.tokens
        if max_prompt_tokens is not None and len(prompt) > max_prompt_tokens:
            dropped += 1
            continue
        try:
            response = formatter.response(demonstration.response)
        except DataError as error:
            raise DataError(f"demonstration '{demonstration.prompt.id}': {error}") from None
        if len(prompt) + len(response) > context:
            raise DataError(
                f"demonstration '{demonstration.prompt.id}' has {len(prompt)} + {len(response)} tokens, the context "
                f"is {context}; shorten it, or set max_prompt_tokens to leave such rows out"
            )
        examples.append(Example(prompt, response, asked.answers if turns == "all" else []))
    if not examples:
        raise DataError("no demonstration of a side is left; look at max_prompt_tokens")
    return examples, dropped
