"""From token lists to tensors: packed pretraining blocks and right-padded ragged batches."""

# pyright: basic

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alignloop.data.formatter import encode_texts
from alignloop.data.jsonl import read_records
from alignloop.data.records import Text
from alignloop.distributed import World
from alignloop.errors import DataError
from alignloop.seeds import derive_seed
from alignloop.tensors import counts_up_to

_READING_BUDGET = 4096
"""Padded tokens per pass where there are no gradients to keep."""


class PackedText:
    """An endless stream of fixed-width blocks from documents joined by an end token, reshuffled every epoch.

    The order depends on (seed, epoch) alone, so any block can be had again without saving a cursor.
    """

    def __init__(
        self,
        documents: Sequence[Sequence[int] | NDArray[np.int32]],
        end: int,
        width: int,
        seed: int,
    ) -> None:
        self._documents = [
            np.append(np.asarray(document, dtype=np.int32), np.int32(end)) for document in documents
        ]
        self._width, self._seed = width, seed
        self.tokens = sum(len(document) for document in self._documents)
        self.blocks_per_epoch = (self.tokens - 1) // width
        if self.blocks_per_epoch < 1:
            raise DataError(f"the text has {self.tokens} tokens: not one block of {width}")
        self._epoch, self._blocks = -1, np.empty((0, width + 1), dtype=np.int32)

    @classmethod
    def read(cls, path: Path, tokenizer: Any, width: int, seed: int) -> PackedText:
        """Pack a file of `Text` records, each document closed by the tokenizer's end token."""
        vocabulary = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
        source = _Source(path.resolve(), path.stat().st_mtime_ns, vocabulary, tokenizer)
        return cls(_tokens_of(source), int(tokenizer.eos_token_id), width, seed)

    def batch(self, first: int, count: int) -> Tensor:
        """Blocks `first` to `first + count` of the stream: [count, width + 1], inputs and targets in one."""
        rows = [self._block(number) for number in range(first, first + count)]
        return torch.as_tensor(np.stack(rows), device=torch.get_default_device()).long()

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


@dataclass(frozen=True, slots=True)
class _Source:
    """A file of texts as it is now, and who reads it."""

    path: Path
    changed: int
    vocabulary: str
    """A hash of all that decides the tokens."""
    tokenizer: Any = field(compare=False)


@lru_cache(maxsize=2)
def _tokens_of(source: _Source) -> list[NDArray[np.int32]]:
    """Of every text. A demo or a study has one run after another read the same text, its two sides at most."""
    texts = [text.text for text in read_records(source.path, Text)]
    return [np.asarray(one, dtype=np.int32) for one in encode_texts(source.tokenizer, texts)]


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

    @classmethod
    def whole(cls, tokens: Tensor) -> Ragged:
        """Rows [B, T] of one length, all of it text."""
        lengths = torch.full((len(tokens),), tokens.shape[1])
        return cls(tokens, lengths, torch.zeros_like(lengths))

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
    """Prompts with several responses each, one after another in a single row, without padding: a prompt, then its own.

    Each response sees its prompt and itself, at the positions that it would have in a row of its own. So a prompt is
    read once for all of them.

    tokens, positions: [1, T]; prompt_lengths: of each prompt; response_lengths: of its responses; last_position: [C]
    where each response's last token stands, in the order of the responses; and of every token of every response, [N],
    which response it belongs to, where it stands, and where the token before it stands.
    """

    tokens: Tensor
    positions: Tensor
    prompt_lengths: list[int]
    response_lengths: list[list[int]]
    last_position: Tensor
    response_of_token: Tensor
    token_position: Tensor
    before_position: Tensor

    @classmethod
    def of(
        cls, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[Sequence[int]]]
    ) -> Forest:
        """Lay out each prompt with its responses."""
        tokens: list[int] = []
        positions: list[int] = []
        last: list[int] = []
        each: list[tuple[int, int, int]] = []
        for prompt, group in zip(prompts, responses, strict=True):
            tokens += prompt
            positions += range(len(prompt))
            end_of_prompt = len(tokens) - 1
            for response in group:
                at = len(tokens)
                # A response's first token follows the prompt's last, wherever it stands.
                before = [end_of_prompt, *range(at, at + len(response) - 1)][: len(response)]
                each += [(len(last), at + i, place) for i, place in enumerate(before)]
                tokens += response
                positions += range(len(prompt), len(prompt) + len(response))
                last.append(len(tokens) - 1 if response else end_of_prompt)
        return cls(
            torch.tensor([tokens]),
            torch.tensor([positions]),
            [len(prompt) for prompt in prompts],
            [[len(response) for response in group] for group in responses],
            torch.tensor(last),
            *torch.tensor(each, dtype=torch.long).view(-1, 3).unbind(dim=1),
        )

    @property
    def width(self) -> int:
        """Tokens of the longest response behind its prompt."""
        pairs = zip(self.prompt_lengths, self.response_lengths, strict=True)
        return max(prompt + max(responses) for prompt, responses in pairs)

    @property
    def repeated(self) -> int:
        """Tokens by which rows of their own would be more: a prompt's, for each response but its first."""
        pairs = zip(self.prompt_lengths, self.response_lengths, strict=True)
        return sum(prompt * (len(responses) - 1) for prompt, responses in pairs)

    def lengths(self) -> Tensor:
        """[C]: tokens of each response."""
        return torch.bincount(self.response_of_token, minlength=len(self.last_position))

    def rows(self) -> tuple[Tensor, Tensor]:
        """For each response a row of its own behind its prompt, right-padded: where its tokens stand here, [C, W].

        Beside it [C, W] bool, True where a row brings a token that none before it has: a prompt's come with its
        first response.
        """
        rows: list[list[int]] = []
        new_from: list[int] = []
        at = 0
        for prompt, group in zip(self.prompt_lengths, self.response_lengths, strict=True):
            first = at + prompt
            for number, length in enumerate(group):
                rows.append([*range(at, at + prompt), *range(first, first + length)])
                new_from.append(prompt if number else 0)
                first += length
            at = first
        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max())
        places = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        is_new = counts_up_to(lengths, width) & ~counts_up_to(torch.tensor(new_from), width)
        return places, is_new


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


def forests_of(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> Iterator[tuple[list[int], Forest]]:
    """Rows, a prompt and its response each, as forests for passes that learn nothing: equal prompts are read together.

    Yields:
        Which rows, in the order of the forest's responses. Every row is in one forest.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for row, prompt in enumerate(prompts):
        alike.setdefault(tuple(prompt), []).append(row)
    trees: list[list[int]] = []
    sizes: list[int] = []
    for prompt, rows in alike.items():
        lengths = [len(prompt) + len(responses[row]) for row in rows]
        for group in micro_batches(lengths, _READING_BUDGET):
            trees.append([rows[at] for at in group])
            sizes.append(len(group) * max(lengths[at] for at in group))
    for group in micro_batches(sizes, _READING_BUDGET):
        grown = [trees[at] for at in group]
        yield (
            [row for tree in grown for row in tree],
            Forest.of(
                [prompts[tree[0]] for tree in grown],
                [[responses[row] for row in tree] for tree in grown],
            ),
        )


def read_together(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    read: Callable[[Forest], Tensor],
) -> list[float]:
    """One number per row, a prompt and its response: what `read` makes of each response of a forest, [C]."""
    found = [0.0] * len(prompts)
    for rows, forest in forests_of(prompts, responses):
        for row, value in zip(rows, read(forest).tolist(), strict=True):
            found[row] = value
    return found


def shares_of_batch(
    lengths: Sequence[int],
    budget: int,
    world: World,
    grouped: Callable[[Sequence[int], int], list[list[int]]] = micro_batches,
) -> list[tuple[list[int], float]]:
    """The micro-batches of this rank: rows of the batch, and the weight of their loss.

    Every rank gets as many, since all have to make the same number of passes: one that has fewer repeats the batch's
    shortest row with weight 0. With one rank they are `micro_batches`, each with weight 1.
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    ranks: list[list[list[int]]] = []
    for rank in range(world.size):
        rows = order[rank :: world.size]
        groups = grouped([lengths[i] for i in rows], budget)
        ranks.append([[rows[i] for i in group] for group in groups])
    mine = ranks[world.rank]
    idle = max(map(len, ranks)) - len(mine)
    return [(rows, 1.0) for rows in mine] + [(order[:1], 0.0)] * idle


def shares_of_blocks(blocks: Tensor, budget: int, world: World) -> list[tuple[Tensor, float]]:
    """`shares_of_batch` of blocks [N, width + 1], each of `width` predicted tokens."""
    widths = [blocks.shape[1] - 1] * len(blocks)
    return [(blocks[rows], weight) for rows, weight in shares_of_batch(widths, budget, world)]


def own_groups(batch: Ragged, budget: int, world: World) -> list[list[int]]:
    """This rank's share of the rows, in groups to pass through a gathered model."""
    lengths = batch.lengths.tolist()
    mine = world.shard(range(len(lengths)))
    return [[mine[i] for i in rows] for rows in micro_batches([lengths[i] for i in mine], budget)]


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """A permutation of `count` rows that depends on (seed, epoch) alone."""
    return np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(count).tolist()
