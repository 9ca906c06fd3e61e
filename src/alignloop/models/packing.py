"""Several sequences in one row without padding, none of which sees another; or prompts with several responses each.

On a CPU and wherever attention is PyTorch's own, each sequence attends to itself, neighbours of similar length in one
call, a response to its prompt as well; all else runs over the whole row at once: little work on padding, and no mask of
the row's length squared. An attention of transformers that is told by positions where sequences start
(FlashAttention's) is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from alignloop.data.batches import Forest, Ragged
from alignloop.errors import ModelError
from alignloop.models import attention
from alignloop.models.compilation import eagerly, filled_width, is_filled
from alignloop.models.layouts import Layout, Rows, Sequences, layout_of
from alignloop.models.loading import backbone_of, embedding_rows

_NAME = "alignloop_packed"
_OWN = ("sdpa", attention.NAME)
"""Attention that can be done for each sequence by itself."""


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


def packed_hidden_states(model: PreTrainedModel, row: PackedRow) -> Tensor:
    """Last hidden states [1, T, D]: for each sequence those that it has in a row of its own, but for rounding."""
    layout = Sequences(row.lengths, row.tokens.device)
    return _pass(model, row.tokens, row.positions, layout)


def ragged_hidden_states(model: PreTrainedModel, batch: Ragged) -> Tensor:
    """[B, T, D]: last hidden states of rows that pass through the model as one packed row; zeros where padding is.

    Raises:
        ModelError: the architecture, or its attention, cannot be told where sequences end.
    """
    packs(model)
    rows = Rows(batch.lengths, batch.tokens.shape[1])
    tokens, positions = batch.tokens.flatten()[rows.places], rows.places % rows.width
    return rows.grid(_pass(model, tokens[None], positions[None], rows)[0])


def forest_hidden_states(model: PreTrainedModel, forest: Forest) -> Tensor:
    """Last hidden states [1, T, D] of a forest: of each response as in a row of its own, but for rounding.

    Where the architecture passes on more than attention does, as recurrent layers do, each gets a row of its own.
    """
    if not packs(model):
        return _in_rows_of_their_own(model, forest)
    return _pass(model, forest.tokens, forest.positions, layout_of(forest))


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
