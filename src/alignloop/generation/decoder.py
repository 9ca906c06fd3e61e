"""Decoding with a key-value cache: what the sampler asks of a model, and how any transformers model gives it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from alignloop.models.backbone import whole_model
from alignloop.models.compilation import eagerly, is_filled
from alignloop.models.loading import backbone_of
from alignloop.tensors import rounded_up

_GROWTH = 64
"""Columns by which a cache that rows join grows at a time."""


class Decoder(Protocol):
    """Hidden states of the newest token of every row; the rows' past is in a cache."""

    multiple: int
    """It is quickest where the number of rows is a multiple of this."""
    can_join: bool
    """Whether rows can join others that are under way."""

    def start(self, prompts: Sequence[Sequence[int]], rows: Tensor, room: int) -> Tensor:
        """[B, D]: read distinct prompts, then go on with `rows` [B] of them; each may get `room` more tokens."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """[B, D]: one more token per row."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        ...

    def fresh(self) -> Decoder:
        """Another decoder of the same weights, to read prompts with while this one's rows are under way."""
        ...

    def join(self, other: Decoder, places: Tensor) -> None:
        """Take over the rows of a `fresh` decoder, which is done with thereafter.

        Args:
            places: [N], one per row of the other: rows of this one that were released, or new ones, which follow the
                last without a gap.
        """
        ...

    def release(self, rows: Tensor) -> None:
        """Forget the past of some rows. They are stepped with the others until they are dropped or replaced."""
        ...


def left_padded(prompts: Sequence[Sequence[int]], multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Tokens [P, T] with padding on the left, T a multiple; and [P, T] bool: True at the prompts' own tokens."""
    width = rounded_up(max(map(len, prompts)), multiple)
    tokens = torch.zeros(len(prompts), width, dtype=torch.long)
    is_real = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = torch.tensor(prompt)
        is_real[row, width - len(prompt) :] = True
    return tokens, is_real


class TransformersDecoder:
    """Any model of transformers, through its own forward pass."""

    multiple = 1

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._trunk = backbone_of(model)
        # transformers 5.24 calls it `cache` and warns of the older name; not every architecture has followed.
        known = inspect.signature(whole_model(model).base_model.forward).parameters
        self._cache_name = "cache" if "cache" in known else "past_key_values"
        # Of other layers (sliding windows, recurrent states) a row's part cannot be moved to another column.
        layers = DynamicCache(config=model.config).layers
        self.can_join = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)

    def start(self, prompts: Sequence[Sequence[int]], rows: Tensor, room: int) -> Tensor:
        """See `Decoder`."""
        tokens, is_real = left_padded(prompts)
        self._room = tokens.shape[1] + room
        self._cache = DynamicCache(config=self._model.config)
        self._cache.layers = [
            _RoomyLayer(self._room) if type(layer) is DynamicLayer else layer
            for layer in self._cache.layers
        ]
        self._is_real = is_real.long()
        hidden = self._forward(tokens)[rows]
        self._cache.batch_select_indices(rows)
        self._is_real = self._is_real[rows]
        return hidden

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        if self.can_join and self._is_real.shape[1] == self._room:
            self._refit(len(tokens), 0)
        ones = torch.ones(len(tokens), 1, dtype=torch.long)
        self._is_real = torch.cat([self._is_real, ones], dim=1)
        return self._forward(tokens[:, None])

    def keep(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self._cache.batch_select_indices(rows)
        self._is_real = self._is_real[rows]

    def fresh(self) -> TransformersDecoder:
        """See `Decoder`."""
        return TransformersDecoder(self._model)

    def release(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self._is_real[rows] = 0

    def join(self, other: Decoder, places: Tensor) -> None:
        """See `Decoder`."""
        assert isinstance(other, TransformersDecoder) and self.can_join
        longest = int(other._is_real.sum(dim=1).max())
        count = max(int(places.max()) + 1, len(self._is_real))
        if count > len(self._is_real) or longest > self._is_real.shape[1]:
            self._refit(count, longest)
        used = self._is_real.shape[1]
        self._is_real[places] = F.pad(other._is_real[:, -longest:], (used - longest, 0))
        for mine, theirs in zip(self._layers(), other._layers(), strict=True):
            mine.put(places, theirs, longest)

    def _layers(self) -> list[_RoomyLayer]:
        return [layer for layer in self._cache.layers if isinstance(layer, _RoomyLayer)]

    def _refit(self, count: int, width: int) -> None:
        """Make room for so many rows and for so many columns at least; leave out columns that no row sees."""
        longest = max(int(self._is_real.sum(dim=1).max()), 1)
        used = max(longest, width)
        self._room = used + _GROWTH
        shape = (used - longest, 0, 0, count - len(self._is_real))
        self._is_real = F.pad(self._is_real[:, -longest:], shape)
        for layer in self._layers():
            layer.refit(count, longest, used, self._room)

    def _forward(self, tokens: Tensor) -> Tensor:
        positions = (self._is_real.cumsum(dim=1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        with eagerly(is_filled(self._model)):  # the past is longer at every step
            return self._trunk(
                input_ids=tokens,
                attention_mask=None if bool(self._is_real.all()) else self._is_real,
                position_ids=positions,
                use_cache=True,
                **{self._cache_name: self._cache},
            ).last_hidden_state[:, -1]


class _RoomyLayer(DynamicLayer):
    """A cache layer that writes into room made beforehand, instead of copying everything for each new token."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self._buffers is None:
            shape = (*key_states.shape[:2], self._room, key_states.shape[-1])
            self._buffers = (
                key_states.new_empty(shape),
                value_states.new_empty((*shape[:3], value_states.shape[-1])),
            )
            self._filled = 0
        start, stop = self._filled, self._filled + key_states.shape[-2]
        keys, values = self._buffers
        keys[:, :, start:stop] = key_states
        values[:, :, start:stop] = value_states
        self._filled = stop
        self.keys, self.values = keys[:, :, :stop], values[:, :, :stop]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        assert self._buffers is not None
        selected = []
        for buffer in self._buffers:
            bigger = buffer.new_empty((len(indices), *buffer.shape[1:]))
            bigger[:, :, : self._filled] = buffer[indices, :, : self._filled]
            selected.append(bigger)
        self._buffers = selected[0], selected[1]
        self.keys = selected[0][:, :, : self._filled]
        self.values = selected[1][:, :, : self._filled]

    def put(self, places: Tensor, other: _RoomyLayer, longest: int) -> None:
        """Write another layer's rows, their last `longest` columns, beside what was read last here."""
        assert self._buffers is not None and other._buffers is not None
        columns = slice(self._filled - longest, self._filled)
        for mine, theirs in zip(self._buffers, other._buffers, strict=True):
            mine[places] = 0  # whatever stood there may be NaN
            mine[places, :, columns] = theirs[:, :, other._filled - longest : other._filled]

    def refit(self, count: int, longest: int, used: int, room: int) -> None:
        """Copy the last `longest` columns into buffers of `count` rows and `room` columns, `used` of them in use."""
        assert self._buffers is not None
        copies: list[Tensor] = []
        for buffer in self._buffers:
            bigger = buffer.new_zeros((count, buffer.shape[1], room, buffer.shape[3]))
            kept = buffer[:, :, self._filled - longest : self._filled]
            bigger[: len(buffer), :, used - longest : used] = kept
            copies.append(bigger)
        self._buffers = copies[0], copies[1]
        self._room, self._filled = room, used
        self.keys, self.values = copies[0][:, :, :used], copies[1][:, :, :used]
