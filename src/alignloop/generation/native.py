"""Sampling with a key-value cache: each distinct prompt is encoded once, finished rows are dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from alignloop.errors import DataError
from alignloop.generation.engine import Response, SamplingConfig
from alignloop.models.loading import backbone_of, context_length, output_weight
from alignloop.tensors import generator

_COMPACT_BELOW = 0.8
"""Finished rows are dropped from the cache once fewer than this share of them is still being written."""


class NativeEngine:
    """Samples from a transformers model in this process."""

    def __init__(self, model: PreTrainedModel, end: int, batch_rows: int = 128) -> None:
        self._model, self._end, self._batch_rows = model, end, batch_rows

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        sampling: SamplingConfig,
        advance: Callable[[int], object] = lambda _: None,
    ) -> list[Response]:
        """See `Engine.generate`; long and short prompts are drawn in separate batches to keep padding small.

        Raises:
            DataError: a prompt and the longest response do not fit the context.
        """
        longest = max(map(len, prompts), default=0)
        if longest + sampling.max_new_tokens > context_length(self._model):
            raise DataError(
                f"a prompt of {longest} tokens and a response of up to {sampling.max_new_tokens} do not fit "
                f"the model's context of {context_length(self._model)}"
            )
        was_training = self._model.training
        self._model.eval()
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), tuple(prompts[i]), i))
        responses: list[Response | None] = [None] * len(prompts)
        for at in range(0, len(order), self._batch_rows):
            rows = order[at : at + self._batch_rows]
            drawn = self._batch(
                [prompts[i] for i in rows], [seeds[i] for i in rows], sampling, advance
            )
            for i, response in zip(rows, drawn, strict=True):
                responses[i] = response
        self._model.train(was_training)
        return [response for response in responses if response is not None]

    def _batch(
        self,
        prompts: list[Sequence[int]],
        seeds: list[int],
        sampling: SamplingConfig,
        advance: Callable[[int], object],
    ) -> list[Response]:
        weight = output_weight(self._model)
        # What each row will draw with: uniforms from its own stream, one per step.
        uniforms = torch.stack([_uniforms(sampling.max_new_tokens, seed) for seed in seeds])
        hidden, cache, is_real = self.encode(prompts, sampling.max_new_tokens)
        tokens: list[list[int]] = [[] for _ in prompts]
        log_probs: list[list[float]] = [[] for _ in prompts]
        live = torch.arange(len(prompts))  # which prompt each row of the cache belongs to
        is_open = torch.ones(len(prompts), dtype=torch.bool)
        for step in range(sampling.max_new_tokens):
            logits = torch.nn.functional.linear(hidden, weight).float() / sampling.temperature
            drawn, drawn_log_probs = _draw(logits, uniforms[live, step])
            for row, token, log_prob in zip(
                live.tolist(), drawn.tolist(), drawn_log_probs.tolist(), strict=True
            ):
                if is_open[row]:
                    tokens[row].append(token)
                    log_probs[row].append(log_prob)
            ended = (drawn == self._end) & is_open[live]
            is_open[live[ended]] = False
            advance(int(ended.sum()))
            still_open = is_open[live]
            if not still_open.any() or step + 1 == sampling.max_new_tokens:
                break
            if still_open.float().mean() < _COMPACT_BELOW:
                kept = still_open.nonzero()[:, 0]
                live, drawn, is_real = live[kept], drawn[kept], is_real[kept]
                cache.batch_select_indices(kept)
            is_real = torch.cat([is_real, torch.ones(len(live), 1, dtype=torch.long)], dim=1)
            hidden = self.forward(drawn[:, None], is_real, cache)[:, -1]
        advance(int(is_open.sum()))
        return [
            Response(row, log_prob, finished=bool(row) and row[-1] == self._end)
            for row, log_prob in zip(tokens, log_probs, strict=True)
        ]

    def encode(
        self, prompts: list[Sequence[int]], room: int
    ) -> tuple[Tensor, DynamicCache, Tensor]:
        """Left-pad and encode each distinct prompt once, then copy its cache to its rows."""
        distinct = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
        width = max(map(len, distinct))
        inputs = torch.zeros(len(distinct), width, dtype=torch.long)
        is_real = torch.zeros(len(distinct), width, dtype=torch.long)
        for row, prompt in enumerate(distinct):
            inputs[row, width - len(prompt) :] = torch.tensor(prompt)
            is_real[row, width - len(prompt) :] = 1
        cache = DynamicCache(config=self._model.config)
        cache.layers = [
            _RoomyLayer(width + room) if type(layer) is DynamicLayer else layer
            for layer in cache.layers
        ]
        hidden = self.forward(inputs, is_real, cache)[:, -1]
        where = {prompt: row for row, prompt in enumerate(distinct)}
        rows = torch.tensor([where[tuple(prompt)] for prompt in prompts])
        cache.batch_select_indices(rows)
        return hidden[rows], cache, is_real[rows]

    def forward(self, inputs: Tensor, is_real: Tensor, cache: DynamicCache) -> Tensor:
        """Hidden states [B, q, D] of `inputs`, the newest of the positions that `is_real` [B, T] describes."""
        positions = (is_real.cumsum(dim=1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
        return backbone_of(self._model)(
            input_ids=inputs,
            attention_mask=None if bool(is_real.all()) else is_real,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state


def _uniforms(count: int, seed: int) -> Tensor:
    """A stream of one row, drawn on the CPU: the same on every device."""
    drawn = torch.rand(count, generator=generator(seed), dtype=torch.float64, device="cpu")
    return drawn.to(torch.get_default_device())


def _draw(logits: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Invert each row's cumulative distribution at its uniform: [B, V], [B] -> tokens [B], log-probabilities [B]."""
    log_probs = torch.log_softmax(logits, dim=-1)
    cumulative = log_probs.double().exp().cumsum(dim=-1)
    target = uniforms[:, None] * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
    return drawn, log_probs.gather(1, drawn[:, None])[:, 0]


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


@torch.no_grad()
def stream_tokens(
    model: PreTrainedModel, prompt: Sequence[int], sampling: SamplingConfig, end: int, seed: int
) -> Iterator[int]:
    """Draw one response token by token, the end token included; the same seed draws what `generate` draws."""
    engine = NativeEngine(model, end)
    weight = output_weight(model)
    uniforms = _uniforms(sampling.max_new_tokens, seed)
    hidden, cache, is_real = engine.encode([prompt], sampling.max_new_tokens)
    for step in range(sampling.max_new_tokens):
        logits = torch.nn.functional.linear(hidden, weight).float() / sampling.temperature
        drawn, _ = _draw(logits, uniforms[step : step + 1])
        yield int(drawn)
        if int(drawn) == end:
            return
        is_real = torch.cat([is_real, torch.ones(1, 1, dtype=torch.long)], dim=1)
        hidden = engine.forward(drawn[:, None], is_real, cache)[:, -1]
