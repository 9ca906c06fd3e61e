"""From token lists to tensors: packed pretraining blocks and right-padded ragged batches."""

# pyright: basic

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alignloop.data.formatter import encode_texts
from alignloop.data.jsonl import read_records
from alignloop.data.records import Text
from alignloop.errors import DataError
from alignloop.seeds import derive_seed
from alignloop.tensors import counts_up_to

_READING_BUDGET = 8192
"""Padded tokens per pass where there are no gradients to keep."""


class PackedText:
    """An endless stream of fixed-width blocks from documents joined by an end token, reshuffled every epoch.

    The order depends on (seed, epoch) alone, so any block can be had again without saving a cursor.
    """

    def __init__(self, documents: Sequence[Sequence[int]], end: int, width: int, seed: int) -> None:
        self._documents = [np.asarray([*document, end], dtype=np.int32) for document in documents]
        self._width, self._seed = width, seed
        self.tokens = sum(len(document) for document in self._documents)
        self.blocks_per_epoch = (self.tokens - 1) // width
        if self.blocks_per_epoch < 1:
            raise DataError(f"the text has {self.tokens} tokens: not one block of {width}")
        self._epoch, self._blocks = -1, np.empty((0, width + 1), dtype=np.int32)

    @classmethod
    def read(cls, path: Path, tokenizer: Any, width: int, seed: int) -> PackedText:
        """Pack a file of `Text` records, each document closed by the tokenizer's end token."""
        documents = encode_texts(tokenizer, [text.text for text in read_records(path, Text)])
        return cls(documents, int(tokenizer.eos_token_id), width, seed)

    def batch(self, first: int, count: int) -> Tensor:
        """Blocks `first` to `first + count` of the stream: [count, width + 1], inputs and targets in one."""
        rows = [self._block(number) for number in range(first, first + count)]
        return torch.from_numpy(np.stack(rows)).long()

    def _block(self, number: int) -> NDArray[np.int32]:
        epoch, at = divmod(number, self.blocks_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._blocks = epoch, self._shuffled(epoch)
        return self._blocks[at]

    def _shuffled(self, epoch: int) -> NDArray[np.int32]:
        """All blocks of one epoch: documents in a new order, cut into blocks, blocks in a new order."""
        random = np.random.default_rng(derive_seed(self._seed, "pack", epoch))
        stream = np.concatenate(
            [self._documents[i] for i in random.permutation(len(self._documents))]
        )
        starts = random.permutation(self.blocks_per_epoch) * self._width
        return stream[starts[:, None] + np.arange(self._width + 1)[None, :]]


def block_pieces(blocks: Tensor, budget: int) -> Sequence[Tensor]:
    """Blocks [N, width + 1] in pieces of at most `budget` predicted tokens, one block at least."""
    return blocks.split(max(budget // (blocks.shape[1] - 1), 1))


@dataclass(frozen=True, slots=True)
class Ragged:
    """Sequences of unequal length, right-padded.

    tokens: [B, T]; lengths: [B] real tokens per row; prompt_lengths: [B] how many of them are the prompt.
    """

    tokens: Tensor
    lengths: Tensor
    prompt_lengths: Tensor

    @classmethod
    def of(
        cls, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], pad: int
    ) -> Ragged:
        """Join each prompt with its response and pad on the right."""
        rows = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
        width = max(len(row) for row in rows)
        tokens = torch.full((len(rows), width), pad, dtype=torch.long)
        for at, row in enumerate(rows):
            tokens[at, : len(row)] = torch.tensor(row)
        return cls(
            tokens,
            torch.tensor([len(row) for row in rows]),
            torch.tensor([len(prompt) for prompt in prompts]),
        )

    def rows(self, indices: Sequence[int]) -> Ragged:
        """Some of the rows, cut to the longest among them."""
        at = torch.tensor(list(indices))
        width = int(self.lengths[at].max())
        return Ragged(self.tokens[at, :width], self.lengths[at], self.prompt_lengths[at])

    def is_response(self) -> Tensor:
        """[B, T]: True at the response's own tokens, EOS included."""
        width = self.tokens.shape[1]
        return counts_up_to(self.lengths, width) & ~counts_up_to(self.prompt_lengths, width)


@dataclass(frozen=True, slots=True)
class Forest:
    """Several responses to each prompt in one row: the prompt once, then its responses side by side.

    Each response sees the prompt and itself, at the positions that it would have in a row of its own. So the prompt is
    read once for all of them.

    tokens, positions: [B, T]; sees: [B, 1, T, T] bool, True where the query (third axis) sees the key; last_row,
    last_position: [C] where each response's last token stands, in the order of the responses; and of every token of
    every response, [N], which response it belongs to, its row, where it stands, and where the token before it stands.
    """

    tokens: Tensor
    positions: Tensor
    sees: Tensor
    last_row: Tensor
    last_position: Tensor
    response_of_token: Tensor
    token_row: Tensor
    token_position: Tensor
    before_position: Tensor

    @classmethod
    def of(
        cls,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[Sequence[int]]],
        pad: int,
    ) -> Forest:
        """Lay out each prompt with its responses, padded on the right."""
        width = max(
            len(prompt) + sum(map(len, group))
            for prompt, group in zip(prompts, responses, strict=True)
        )
        tokens = torch.full((len(prompts), width), pad, dtype=torch.long)
        positions = torch.zeros_like(tokens)
        sees = torch.zeros(len(prompts), 1, width, width, dtype=torch.bool)
        # Padding sees itself: a query that sees nothing would be NaN, and NaN spreads through masked keys.
        sees[:, 0].diagonal(dim1=1, dim2=2).fill_(True)
        last: list[tuple[int, int]] = []
        each: list[tuple[int, int, int, int]] = []
        causal = torch.ones(width, width, dtype=torch.bool).tril()
        for row, (prompt, group) in enumerate(zip(prompts, responses, strict=True)):
            start = len(prompt)
            tokens[row, :start] = torch.tensor(prompt)
            positions[row, :start] = torch.arange(start)
            sees[row, 0, :start, :start] = causal[:start, :start]
            at = start
            for response in group:
                end = at + len(response)
                tokens[row, at:end] = torch.tensor(response)
                positions[row, at:end] = torch.arange(start, start + len(response))
                sees[row, 0, at:end, :start] = True
                sees[row, 0, at:end, at:end] = causal[: end - at, : end - at]
                # A response's first token follows the prompt's last, wherever it stands.
                before = [start - 1, *range(at, end - 1)]
                number = len(last)
                each += [(number, row, at + i, place) for i, place in enumerate(before)]
                last.append((row, end - 1))
                at = end
        rows, ends = zip(*last, strict=True)
        of_tokens = torch.tensor(each).unbind(dim=1)
        return cls(tokens, positions, sees, torch.tensor(rows), torch.tensor(ends), *of_tokens)

    def lengths(self) -> Tensor:
        """[C]: tokens of each response."""
        return torch.bincount(self.response_of_token, minlength=len(self.last_row))


def micro_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split row indices into groups of similar length whose padded size stays within `budget` tokens.

    Every row is in exactly one group; a row longer than the budget gets a group of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    groups: list[list[int]] = []
    for i in order:
        if groups and (len(groups[-1]) + 1) * lengths[i] <= budget:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def row_groups(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> list[list[int]]:
    """`micro_batches` of prompts with their responses, for passes that learn nothing."""
    sizes = [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
    return micro_batches(sizes, _READING_BUDGET)


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """A permutation of `count` rows that depends on (seed, epoch) alone."""
    return np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(count).tolist()
