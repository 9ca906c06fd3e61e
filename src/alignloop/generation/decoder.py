"""Decoding with a key-value cache: what the sampler asks of a model, and how any transformers model gives it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from alignloop.models.backbone import whole_model
from alignloop.models.compilation import eagerly, is_filled
from alignloop.models.loading import backbone_of
from alignloop.tensors import rounded_up


class Decoder(Protocol):
    """Hidden states of the newest token of every row; the rows' past is in a cache."""

    multiple: int
    """It is quickest where the number of rows is a multiple of this."""

    def start(self, prompts: Sequence[Sequence[int]], rows: Tensor, room: int) -> Tensor:
        """[B, D]: read distinct prompts, then go on with `rows` [B] of them; each may get `room` more tokens."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """[B, D]: one more token per row."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
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

    def start(self, prompts: Sequence[Sequence[int]], rows: Tensor, room: int) -> Tensor:
        """See `Decoder`."""
        tokens, is_real = left_padded(prompts)
        self._cache = DynamicCache(config=self._model.config)
        self._cache.layers = [
            _RoomyLayer(tokens.shape[1] + room) if type(layer) is DynamicLayer else layer
            for layer in self._cache.layers
        ]
        self._is_real = is_real.long()
        hidden = self._forward(tokens)[rows]
        self._cache.batch_select_indices(rows)
        self._is_real = self._is_real[rows]
        return hidden

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        ones = torch.ones(len(tokens), 1, dtype=torch.long)
        self._is_real = torch.cat([self._is_real, ones], dim=1)
        return self._forward(tokens[:, None])

    def keep(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self._cache.batch_select_indices(rows)
        self._is_real = self._is_real[rows]

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
