"""Who attends to whom in a packed row: what a pass of `packing` tells attention, and how it is done in few calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from alignloop.data.batches import Forest
from alignloop.tensors import counts_up_to, rounded_up

SIMILAR = 0.4
"""One attention over padded sequences is quicker than several, where the shortest has this share of the longest."""
_MULTIPLE = 32
"""Of which the width of padded sequences is a multiple: a CPU makes a kernel for every size of a product."""
_SHORT = 256
"""Tokens of a prompt with a response up to which attention is little beside the rest of a layer."""
_AGAIN = 1.5
"""Prompt tokens that may attend again, for each of a prompt's further responses, as a share of all tokens."""
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Causal attention [B, T, H, D] of queries [B, H, T, D] to keys and values; the last T keys are the queries' own."""


class Layout(Protocol):
    """What attention is told of a packed row: an object that compiled layers pass on without looking into it."""

    @property
    def tokens(self) -> int:
        """How many tokens of the row are text; what lies beyond fills it."""
        ...

    def attend(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[1, T, H, D]: the attention of queries, keys and values [1, H, T, D] of the row's text."""
        ...


class Rows:
    """Sequences of similar lengths: one attention for all, padded."""

    def __init__(self, lengths: Tensor, width: int) -> None:
        self.count, self.width = len(lengths), width
        is_real = counts_up_to(lengths, width)
        self.places = is_real.flatten().nonzero()[:, 0]
        """Where each token stands among the padded ones."""
        self.is_whole = len(self.places) == is_real.numel()
        """Whether nothing is padded, and so nothing has to be moved."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, multiple: int = 1) -> Rows:
        """As wide as the longest; where there is padding anyhow, a multiple."""
        width = max(lengths)
        if min(lengths) < width:
            width = rounded_up(width, multiple)
        return cls(torch.tensor(lengths, device=device), width)

    @property
    def tokens(self) -> int:
        return len(self.places)

    def grid(self, states: Tensor) -> Tensor:
        """[B, L, D] from [T, D]; zeros where padding is.

        A copy by index, since its gradient is another; that of many small copies is a pass over everything for each.
        """
        grid = states.new_zeros(self.count * self.width, states.shape[1])
        return grid.index_copy(0, self.places, states).view(self.count, self.width, -1)

    def padded(self, states: Tensor) -> Tensor:
        """[B, H, L, D] from [1, H, T, D]; zeros where padding is."""
        if self.is_whole:
            return states[0].unflatten(1, (self.count, self.width)).transpose(0, 1)
        grid = self.grid(states[0].transpose(0, 1).flatten(1))
        return grid.unflatten(2, (states.shape[1], -1)).transpose(1, 2)

    def joined(self, states: Tensor) -> Tensor:
        """[1, T, ...] from padded [B, L, ...]."""
        by_token = states.flatten(0, 1)
        return (by_token if self.is_whole else by_token.index_select(0, self.places))[None]

    def attend(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.joined(attend(*(self.padded(states) for states in (query, key, value))))


class Sequences:
    """Sequences of any lengths: one attention for those of similar length that stand side by side."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.runs = [Rows.of(run, device, _MULTIPLE) for run in similar_runs(lengths)]

    @property
    def tokens(self) -> int:
        return sum(rows.tokens for rows in self.runs)

    def attend(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        sizes = [rows.tokens for rows in self.runs]
        pieces = zip(*(states.split(sizes, dim=2) for states in (query, key, value)), strict=True)
        found = [rows.attend(attend, *piece) for rows, piece in zip(self.runs, pieces, strict=True)]
        return torch.cat(found, dim=1)


class Trees:
    """Prompts that attend to themselves, each followed by its responses, which attend to it and to themselves."""

    def __init__(self, forest: Forest) -> None:
        device = forest.tokens.device
        self.prompts = forest.prompt_lengths
        self.responses = [Rows.of(lengths, device) for lengths in forest.response_lengths]

    @property
    def tokens(self) -> int:
        return sum(self.prompts) + sum(rows.tokens for rows in self.responses)

    def attend(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found: list[Tensor] = []
        sizes = [
            size
            for length, rows in zip(self.prompts, self.responses, strict=True)
            for size in (length, rows.tokens)
        ]
        split = (states.split(sizes, dim=2) for states in (query, key, value))
        pieces = iter(zip(*split, strict=True))
        for rows in self.responses:
            prompt = next(pieces)
            found.append(attend(*prompt))
            own_query, own_key, own_value = (rows.padded(states) for states in next(pieces))
            keys, values = (
                torch.cat([shared.expand(rows.count, -1, -1, -1), own], dim=2)
                for shared, own in zip(prompt[1:], (own_key, own_value), strict=True)
            )
            found.append(rows.joined(attend(own_query, keys, values)))
        return torch.cat(found, dim=1)


class Paths:
    """Every response behind its prompt, each such path a row: one attention for all, a prompt's done for each anew.

    Where that is little this is quicker than two calls for every prompt, which `Trees` makes.
    """

    def __init__(self, forest: Forest) -> None:
        places, is_new = forest.rows()
        self.count, self.width = places.shape
        self.places = places.flatten()
        """Where the tokens of the paths stand in the forest."""
        new = is_new.flatten().nonzero()[:, 0]
        self.back = torch.empty_like(new).index_copy(0, self.places[new], new)
        """Where each token of the forest stands among those of the paths: in the first that it is part of."""

    @property
    def tokens(self) -> int:
        return len(self.back)

    def attend(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = attend(*(self._along(states) for states in (query, key, value)))
        return found.flatten(0, 1).index_select(0, self.back)[None]

    def _along(self, states: Tensor) -> Tensor:
        """[B, H, L, D] from [1, H, T, D]."""
        by_token = states[0].transpose(0, 1).flatten(1).index_select(0, self.places)
        return by_token.view(self.count, self.width, states.shape[1], -1).transpose(1, 2)


def similar_runs(lengths: Sequence[int]) -> list[list[int]]:
    """Cut lengths into runs of neighbours, in which the shortest has at least `SIMILAR` of the longest."""
    runs: list[list[int]] = []
    for length in lengths:
        run = [*runs[-1], length] if runs else [length]
        if runs and min(run) >= SIMILAR * max(run):
            runs[-1] = run
        else:
            runs.append([length])
    return runs


def layout_of(forest: Forest) -> Layout:
    is_short = forest.width <= _SHORT
    is_little = forest.repeated <= _AGAIN * forest.tokens.shape[1]
    return Paths(forest) if is_short and is_little else Trees(forest)
