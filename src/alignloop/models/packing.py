"""Several sequences in one row without padding, none of which sees another; or prompts with several responses each.

On a CPU and wherever attention is PyTorch's own, each sequence attends to itself, neighbours of similar length in one
call, a response to its prompt as well; all else runs over the whole row at once: little work on padding, and no mask of
the row's length squared. An attention of transformers that is told by positions where sequences start
(FlashAttention's) is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from alignloop.data.batches import Forest, Ragged
from alignloop.errors import ModelError
from alignloop.models import attention
from alignloop.models.compilation import eagerly, filled_width, is_filled
from alignloop.models.loading import backbone_of, embedding_rows
from alignloop.tensors import counts_up_to, rounded_up

_NAME = "alignloop_packed"
_OWN = ("sdpa", attention.NAME)
"""Attention that can be done for each sequence by itself."""
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


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Sequences one after another.

    tokens, positions: [1, T], the positions of each sequence from 0; lengths: of every sequence.
    """

    tokens: Tensor
    positions: Tensor
    lengths: list[int]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> PackedRow:
        """Join sequences."""
        lengths = [len(sequence) for sequence in sequences]
        return cls(
            torch.tensor([[token for sequence in sequences for token in sequence]]),
            torch.cat([torch.arange(length) for length in lengths])[None],
            lengths,
        )


def packed_groups(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split indices into groups of at most `budget` tokens: the longest first, each where it still fits.

    Every index is in exactly one group; one longer than the budget gets a group of its own.
    """
    groups: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        at = next((at for at, left in enumerate(room) if lengths[i] <= left), len(groups))
        if at == len(groups):
            groups.append([])
            room.append(budget)
        groups[at].append(i)
        room[at] -= lengths[i]
    return groups


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


class Layout(Protocol):
    """What attention is told of a packed row: an object that compiled layers pass on without looking into it."""

    @property
    def tokens(self) -> int:
        """How many tokens of the row are text; what lies beyond fills it."""
        ...

    def attend(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[1, T, H, D]: the attention of queries, keys and values [1, H, T, D] of the row's text."""
        ...


class _Rows:
    """Sequences of similar lengths: one attention for all, padded."""

    def __init__(self, lengths: Tensor, width: int) -> None:
        self.count, self.width = len(lengths), width
        is_real = counts_up_to(lengths, width)
        self.places = is_real.flatten().nonzero()[:, 0]
        """Where each token stands among the padded ones."""
        self.is_whole = len(self.places) == is_real.numel()
        """Whether nothing is padded, and so nothing has to be moved."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, multiple: int = 1) -> _Rows:
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


class _Sequences:
    """Sequences of any lengths: one attention for those of similar length that stand side by side."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.runs = [_Rows.of(run, device, _MULTIPLE) for run in similar_runs(lengths)]

    @property
    def tokens(self) -> int:
        return sum(rows.tokens for rows in self.runs)

    def attend(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        sizes = [rows.tokens for rows in self.runs]
        pieces = zip(*(states.split(sizes, dim=2) for states in (query, key, value)), strict=True)
        found = [rows.attend(attend, *piece) for rows, piece in zip(self.runs, pieces, strict=True)]
        return torch.cat(found, dim=1)


class _Trees:
    """Prompts that attend to themselves, each followed by its responses, which attend to it and to themselves."""

    def __init__(self, forest: Forest) -> None:
        device = forest.tokens.device
        self.prompts = forest.prompt_lengths
        self.responses = [_Rows.of(lengths, device) for lengths in forest.response_lengths]

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


class _Paths:
    """Every response behind its prompt, each such path a row: one attention for all, a prompt's done for each anew.

    Where that is little this is quicker than two calls for every prompt, which `_Trees` makes.
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


def packed_hidden_states(model: PreTrainedModel, row: PackedRow) -> Tensor:
    """Last hidden states [1, T, D]: for each sequence those that it has in a row of its own, but for rounding."""
    layout = _Sequences(row.lengths, row.tokens.device)
    return _pass(model, row.tokens, row.positions, layout)


def ragged_hidden_states(model: PreTrainedModel, batch: Ragged) -> Tensor:
    """[B, T, D]: last hidden states of rows that pass through the model as one packed row; zeros where padding is.

    Raises:
        ModelError: the architecture, or its attention, cannot be told where sequences end.
    """
    packs(model)
    rows = _Rows(batch.lengths, batch.tokens.shape[1])
    tokens, positions = batch.tokens.flatten()[rows.places], rows.places % rows.width
    return rows.grid(_pass(model, tokens[None], positions[None], rows)[0])


def forest_hidden_states(model: PreTrainedModel, forest: Forest) -> Tensor:
    """Last hidden states [1, T, D] of a forest: of each response as in a row of its own, but for rounding.

    Where the architecture passes on more than attention does, as recurrent layers do, each gets a row of its own.
    """
    if not packs(model):
        return _in_rows_of_their_own(model, forest)
    return _pass(model, forest.tokens, forest.positions, _layout_of(forest))


def _layout_of(forest: Forest) -> Layout:
    is_short = forest.width <= _SHORT
    is_little = forest.repeated <= _AGAIN * forest.tokens.shape[1]
    return _Paths(forest) if is_short and is_little else _Trees(forest)


def _in_rows_of_their_own(model: PreTrainedModel, forest: Forest) -> Tensor:
    """[1, T, D] from right-padded rows; a prompt's states are those of the row of its first response."""
    places, is_new = forest.rows()
    rows = forest.tokens[0][places]
    hidden = backbone_of(model)(input_ids=rows, use_cache=False).last_hidden_state
    flat = hidden.new_zeros(forest.tokens.shape[1], hidden.shape[2])
    return flat.index_put((places[is_new],), hidden[is_new])[None]


def _pass(model: PreTrainedModel, tokens: Tensor, positions: Tensor, layout: Layout) -> Tensor:
    """[1, T, D]; a model that takes one width alone gets the row filled up to it."""
    count = tokens.shape[1]
    if beyond := filled_width(model, count) - count:
        tokens, positions = (F.pad(ids, (0, beyond)) for ids in (tokens, positions))
    with _attention_within_sequences(model):
        hidden = backbone_of(model)(
            input_ids=tokens, position_ids=positions, use_cache=False, layout=layout
        ).last_hidden_state
    return hidden[:, :count]


def packs(model: PreTrainedModel) -> bool:
    """Whether attention can be told what stands where; tried once per model, in float32.

    Training stages ask when they have read a model: where it is sharded, all ranks have to ask at once.

    Raises:
        ModelError: it cannot, and the model is one that takes packed rows alone.
    """
    if model not in _PACKS:
        was_training = model.training
        model.eval()
        try:
            with torch.autocast(next(model.parameters()).device.type, enabled=False):
                check_packing(model)
            _PACKS[model] = model.config._attn_implementation in _OWN
        except ModelError:
            _PACKS[model] = False
        model.train(was_training)
    if is_filled(model) and not _PACKS[model]:
        raise ModelError(
            f"{type(model).__name__} with attention '{model.config._attn_implementation}' cannot read rows in one; "
            "set compile = false"
        )
    return _PACKS[model]


_PACKS: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


@torch.no_grad()
def check_packing(model: PreTrainedModel) -> None:
    """Two short sequences in one row must give what they give apart, and the second the same after another first.

    The second comparison is by far the sharper one: of weights at their random start a state that is passed on
    changes little, but nothing at all may change.

    Raises:
        ModelError: they see one another, as where a layer passes on a state and not by attention.
    """
    rows = embedding_rows(model)
    sequences = [[token % rows for token in range(start, start + 5)] for start in (3, 11)]
    with eagerly(is_filled(model)):
        apart = [
            backbone_of(model)(input_ids=torch.tensor([one]), use_cache=False).last_hidden_state
            for one in sequences
        ]
        found = packed_hidden_states(model, PackedRow.of(sequences))
        others = [[(token + 1) % rows for token in sequences[0]], sequences[1]]
        after_another = packed_hidden_states(model, PackedRow.of(others))
    expected = torch.cat(apart, dim=1)
    size, second = float(expected.abs().max()), slice(len(sequences[0]), None)
    if not (
        torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * size)
        and torch.allclose(found[:, second], after_another[:, second], rtol=0, atol=1e-5 * size)
    ):
        raise ModelError(
            f"{type(model).__name__}: packed sequences see one another in this architecture; "
            "set packing = 'bucketed'"
        )


@contextmanager
def _attention_within_sequences(model: PreTrainedModel) -> Iterator[None]:
    own = model.config._attn_implementation
    if own not in _OWN:
        yield
        return
    model.config._attn_implementation = _NAME
    try:
        yield
    finally:
        model.config._attn_implementation = own


@torch.compiler.disable
def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention [1, T, H, D] within each sequence or tree, by the function that attends within rows otherwise.

    Raises:
        ModelError: the architecture does not pass on where sequences end.
    """
    if layout is None or attention_mask is not None:
        raise ModelError(
            f"{type(module).__name__}: sequences cannot be packed in this architecture; "
            "set packing = 'bucketed'"
        )

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        sees = _window(key.shape[2], sliding_window, query.device)
        if sees is None:
            return attention.attend_causally(module, query, key, value, **settings)
        return attention.attend(module, query, key, value, sees, is_causal=False, **settings)[0]

    text = (states[:, :, : layout.tokens] for states in (query, key, value))
    found = layout.attend(attend, *text)
    beyond = query.shape[2] - layout.tokens
    return F.pad(found, (0, 0, 0, 0, 0, beyond)) if beyond else found, None


def _window(length: int, sliding_window: int | None, device: torch.device) -> Tensor | None:
    """[1, 1, T, T]: which keys each query sees, where a window hides some of those before it; else None."""
    if sliding_window is None or length <= sliding_window:
        return None
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return ((distance >= 0) & (distance < sliding_window))[None, None]


AttentionInterface.register(_NAME, _attend)
