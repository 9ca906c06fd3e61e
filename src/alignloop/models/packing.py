"""Several sequences in one row without padding, none of which sees another; or prompts with several responses each.

On a CPU and wherever attention is PyTorch's own, each sequence gets a causal attention of its own, the responses of a
prompt one that shares the prompt's keys, and all else runs over the whole row at once: no work on padding, and no mask
of the row's length squared. An attention of transformers that is told by positions where sequences start
(FlashAttention's) is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from alignloop.data.batches import Forest
from alignloop.errors import ModelError
from alignloop.models import attention
from alignloop.models.loading import backbone_of
from alignloop.tensors import counts_up_to

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
    with _attention_within_sequences(model):
        return backbone_of(model)(
            input_ids=row.tokens,
            position_ids=row.positions,
            use_cache=False,
            sequence_lengths=row.lengths,
        ).last_hidden_state


def forest_hidden_states(model: PreTrainedModel, forest: Forest) -> Tensor:
    """Last hidden states [1, T, D] of a forest: of each response as in a row of its own, but for rounding."""
    if not _packs(model):
        return backbone_of(model)(
            input_ids=forest.tokens,
            position_ids=forest.positions,
            attention_mask=forest.sees(),
            use_cache=False,
        ).last_hidden_state
    with _attention_within_sequences(model):
        return backbone_of(model)(
            input_ids=forest.tokens,
            position_ids=forest.positions,
            use_cache=False,
            forest=forest,
        ).last_hidden_state


def _packs(model: PreTrainedModel) -> bool:
    """Whether attention can be told what stands where; tried once per model."""
    if model not in _PACKS:
        was_training = model.training
        model.eval()
        try:
            check_packing(model)
            _PACKS[model] = model.config._attn_implementation in _OWN
        except ModelError:
            _PACKS[model] = False
        model.train(was_training)
    return _PACKS[model]


_PACKS: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


@torch.no_grad()
def check_packing(model: PreTrainedModel) -> None:
    """Two short sequences in one row must give what they give apart.

    Raises:
        ModelError: they see one another, as where a layer passes on a state and not by attention.
    """
    rows = _embedding_rows(model)
    sequences = [[token % rows for token in range(start, start + 5)] for start in (3, 11)]
    apart = [
        backbone_of(model)(input_ids=torch.tensor([one]), use_cache=False).last_hidden_state
        for one in sequences
    ]
    expected = torch.cat(apart, dim=1)
    found = packed_hidden_states(model, PackedRow.of(sequences))
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise ModelError(
            f"{type(model).__name__}: packed sequences see one another in this architecture; "
            "set packing = 'bucketed'"
        )


def _embedding_rows(model: PreTrainedModel) -> int:
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.weight.shape[0])


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


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    sequence_lengths: list[int] | None = None,
    forest: Forest | None = None,
    sliding_window: int | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention [1, H, T, D] within each sequence or tree, by the function that attends within rows otherwise.

    Raises:
        ModelError: the architecture does not pass on where sequences end.
    """
    if forest is not None and attention_mask is None:
        attend = partial(attention.attend_causally, module, **settings)
        return _attend_in_trees(attend, query, key, value, forest), None
    if sequence_lengths is None or attention_mask is not None:
        raise ModelError(
            f"{type(module).__name__}: sequences cannot be packed in this architecture; "
            "set packing = 'bucketed'"
        )
    found: list[Tensor] = []
    pieces = (states.split(sequence_lengths, dim=2) for states in (query, key, value))
    for one_query, one_key, one_value in zip(*pieces, strict=True):
        sees = _window(one_query.shape[2], sliding_window, query.device)
        attended, _ = attention.attend(
            module, one_query, one_key, one_value, sees, is_causal=sees is None, **settings
        )
        found.append(attended)
    return torch.cat(found, dim=1), None


def _attend_in_trees(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    forest: Forest,
) -> Tensor:
    """[1, T, H, D]: prompts attend to themselves, a prompt's responses, as one batch, to it and to themselves."""
    found: list[Tensor] = []
    at = 0
    for length, responses in zip(forest.prompt_lengths, forest.response_lengths, strict=True):
        end, stop = at + length, at + length + sum(responses)
        prompt = [states[:, :, at:end] for states in (query, key, value)]
        found.append(attend(*prompt))
        longest = max(responses)
        is_real = counts_up_to(torch.tensor(responses, device=query.device), longest)
        places = is_real.flatten().nonzero()[:, 0]
        own_query, own_key, own_value = (
            _padded(states[0, :, end:stop], places, len(responses), longest)
            for states in (query, key, value)
        )
        keys, values = (
            torch.cat([shared.expand(len(responses), -1, -1, -1), own], dim=2)
            for shared, own in zip(prompt[1:], (own_key, own_value), strict=True)
        )
        attended = attend(own_query, keys, values)
        found.append(attended.flatten(0, 1).index_select(0, places)[None])
        at = stop
    return torch.cat(found, dim=1)


def _padded(states: Tensor, places: Tensor, count: int, longest: int) -> Tensor:
    """[K, H, L, D] from [H, R, D]: the R tokens of K responses, each put at its place among K * L.

    A copy by index, since its gradient is another; that of many small copies is a pass over everything for each.
    """
    heads, _, width = states.shape
    rows = states.transpose(0, 1).flatten(1)
    grid = rows.new_zeros(count * longest, heads * width).index_copy(0, places, rows)
    return grid.view(count, longest, heads, width).transpose(1, 2)


def _window(length: int, sliding_window: int | None, device: torch.device) -> Tensor | None:
    """[1, 1, T, T]: which keys each query sees, where a window hides some of those before it; else None."""
    if sliding_window is None or length <= sliding_window:
        return None
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return ((distance >= 0) & (distance < sliding_window))[None, None]


AttentionInterface.register(_NAME, _attend)
