"""A quicker decoder for Llama-type models: joined matrices, a cache that products read in place, no framework between.

Its hidden states are those of transformers' own forward pass but for rounding; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from alignloop.data.batches import micro_batches
from alignloop.generation.decoder import left_padded
from alignloop.models.backbone import AdaptedModel, whole_model

_FAMILIES = ("llama", "qwen3")
_PROMPT_TOKENS = 512
"""Tokens of prompts that are read together on a CPU: little padding, and states that stay in the cache."""
_PROMPT_TOKENS_ON_GPU = 32768
_GROWTH = 16
"""Positions by which the cache grows: products over all of it need it whole in memory, so it is copied now and then."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's weights; matrices that read the same input are joined."""

    attention_norm: Tensor
    qkv: Tensor
    query_norm: Tensor | None
    key_norm: Tensor | None
    out: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


def supports(model: PreTrainedModel) -> bool:
    """Whether `LlamaDecoder` computes what this model computes."""
    config: Any = model.config
    rope: Mapping[str, Any] = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type in _FAMILIES
        and config.hidden_act == "silu"
        and not getattr(config, "attention_bias", False)
        and not getattr(config, "mlp_bias", False)
        and not getattr(config, "use_sliding_window", False)
        and rope.get("rope_type", "default") in ("default", "linear", "llama3")
    )


class LlamaDecoder:
    """Reads a model's weights as they are when it is made; see `Decoder`."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype = torch.float32) -> None:
        config: Any = model.config
        self._dtype = dtype
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._width = getattr(config, "head_dim", None) or config.hidden_size // self._heads
        self._eps = config.rms_norm_eps
        self._rotary: Any = whole_model(model).base_model.rotary_emb
        weights = _weights_of(model)

        def joined(*names: str) -> Tensor:
            return torch.cat([weights[name] for name in names]).to(dtype)

        self._embedding = weights["embed_tokens.weight"].to(dtype)
        self._norm = weights["norm.weight"].to(dtype)
        self._layers: list[_Layer] = []
        for number in range(config.num_hidden_layers):
            at = f"layers.{number}"
            heads = [f"{at}.self_attn.{name}_norm.weight" for name in ("q", "k")]
            query_norm, key_norm = (
                weights[name].to(dtype) if name in weights else None for name in heads
            )
            self._layers.append(
                _Layer(
                    attention_norm=joined(f"{at}.input_layernorm.weight"),
                    qkv=joined(*(f"{at}.self_attn.{name}_proj.weight" for name in "qkv")),
                    query_norm=query_norm,
                    key_norm=key_norm,
                    out=joined(f"{at}.self_attn.o_proj.weight"),
                    mlp_norm=joined(f"{at}.post_attention_layernorm.weight"),
                    gate_up=joined(f"{at}.mlp.gate_proj.weight", f"{at}.mlp.up_proj.weight"),
                    down=joined(f"{at}.mlp.down_proj.weight"),
                )
            )

    def start(self, prompts: Sequence[Sequence[int]], rows: Tensor, room: int) -> Tensor:
        """See `Decoder`."""
        tokens, is_real = left_padded(prompts)
        count, width = tokens.shape
        positions = (is_real.cumsum(dim=1) - 1).clamp(min=0)
        every = torch.arange(width + room)[None]
        self._cos, self._sin = (
            part[0].to(self._dtype) for part in self._rotary(self._embedding[:1], every)
        )
        shape = (count, self._kv_heads, width, self._width)
        self._keys, self._values = (
            [self._embedding.new_zeros(shape) for _ in self._layers] for _ in range(2)
        )
        last = self._embedding.new_empty(count, self._embedding.shape[1])
        budget = _PROMPT_TOKENS if tokens.device.type == "cpu" else _PROMPT_TOKENS_ON_GPU
        for group in micro_batches([len(prompt) for prompt in prompts], budget):
            longest = max(len(prompts[row]) for row in group)
            at, columns = torch.tensor(group), slice(width - longest, width)
            last[at] = self._read(
                tokens[at, columns], positions[at, columns], is_real[at, columns], at, columns
            )
        self._used = width
        self._positions = positions[:, -1][rows]
        self._is_real = is_real
        self._grow(rows)
        return self._rms(last, self._norm)[rows]

    def _read(
        self, tokens: Tensor, positions: Tensor, is_real: Tensor, rows: Tensor, columns: slice
    ) -> Tensor:
        """[P, D]: states after some of the prompts, left-padded; their keys and values go to those rows and columns."""
        count, width = tokens.shape
        # Padding sees itself: a query that sees nothing would be NaN.
        sees = None
        if not bool(is_real.all()):
            causal = torch.ones(width, width, dtype=torch.bool).tril()
            sees = (causal & is_real[:, None, :]) | torch.eye(width, dtype=torch.bool)
            sees = sees[:, None]
        cos, sin = self._cos[positions][:, :, None], self._sin[positions][:, :, None]
        x = self._embedding[tokens]
        for layer, keys, values in zip(self._layers, self._keys, self._values, strict=True):
            y = self._rms(x, layer.attention_norm)
            projected = F.linear(y, layer.qkv).view(count, width, -1, self._width)
            query, key, value = self._split(projected, layer)
            query, key = _rotated(query, cos, sin), _rotated(key, cos, sin)
            query, key, value = (part.transpose(1, 2) for part in (query, key, value))
            keys[rows, :, columns], values[rows, :, columns] = key, value
            seen = F.scaled_dot_product_attention(
                query, key, value, attn_mask=sees, is_causal=sees is None, enable_gqa=True
            )
            x = x + F.linear(seen.transpose(1, 2).reshape(count, width, -1), layer.out)
            x = x + self._mlp(x, layer)
        return x[:, -1]

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        if self._used == self._keys[0].shape[1]:
            self._grow()
        rows, at = len(tokens), self._used
        self._bias[:, :, at] = 0
        self._positions = self._positions + 1
        cos, sin = self._cos[self._positions][:, None], self._sin[self._positions][:, None]
        group = self._heads // self._kv_heads
        x = self._embedding[tokens]
        for layer, keys, values in zip(self._layers, self._keys, self._values, strict=True):
            y = self._rms(x, layer.attention_norm)
            projected = torch.mm(y, layer.qkv.t()).view(rows, -1, self._width)
            query, key, value = self._split(projected, layer)
            keys[:, at] = _rotated(key, cos, sin).reshape(-1, self._width)
            values[:, at] = value.reshape(-1, self._width)
            query = _rotated(query, cos, sin).reshape(-1, group, self._width)
            weights = torch.baddbmm(
                self._bias, query, keys.transpose(1, 2), alpha=self._width**-0.5
            )
            seen = torch.bmm(weights.softmax(dim=-1), values).view(rows, -1)
            x = torch.addmm(x, seen, layer.out.t())
            x = x + self._mlp(x, layer)
        self._used += 1
        return self._rms(x, self._norm)

    def keep(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self._grow(rows)
        self._positions = self._positions[rows]

    def _grow(self, rows: Tensor | None = None) -> None:
        """Copy the cache into one with more room, and with those rows alone where they are given."""
        used = self._used
        room = (used // _GROWTH + 1) * _GROWTH
        for cache in (self._keys, self._values):
            for number, old in enumerate(cache):
                by_row = old.reshape(-1, self._kv_heads, old.shape[-2], self._width)
                if rows is not None:
                    by_row = by_row[rows]
                # What lies beyond is masked, but 0 times NaN would be NaN.
                new = old.new_zeros(len(by_row) * self._kv_heads, room, self._width)
                new[:, :used] = by_row[:, :, :used].flatten(0, 1)
                cache[number] = new
        if rows is not None:
            self._is_real = self._is_real[rows]
        count = len(self._is_real)
        bias = torch.full((count, room), -torch.inf, dtype=self._dtype)
        width = self._is_real.shape[1]
        bias[:, :width][self._is_real] = 0
        bias[:, width:used] = 0
        self._bias = bias.repeat_interleave(self._kv_heads, dim=0)[:, None]

    def _split(self, projected: Tensor, layer: _Layer) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [..., heads, width], the first two normed where the architecture does so."""
        sizes = [self._heads, self._kv_heads, self._kv_heads]
        query, key, value = projected.split(sizes, dim=-2)
        if layer.query_norm is not None and layer.key_norm is not None:
            query, key = self._rms(query, layer.query_norm), self._rms(key, layer.key_norm)
        return query, key, value

    def _rms(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self._eps)

    def _mlp(self, x: Tensor, layer: _Layer) -> Tensor:
        gate, up = F.linear(self._rms(x, layer.mlp_norm), layer.gate_up).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, layer.down)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: pairs (i, i + half) of a head's dimensions are turned."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return torch.addcmul(x * cos, turned, sin)


def _weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
    """The trunk's weights by name, a role's adapter merged in."""
    if isinstance(model, AdaptedModel) and model.name is not None:
        prefix = f"{model.backbone.model.base_model_prefix}."
        whole = model.backbone.merged(model.name)
        return {name.removeprefix(prefix): weight.detach() for name, weight in whole.items()}
    # Not by state_dict: that has a rank's shards, also where all weights are there.
    return {
        name.replace(".base_layer.", "."): weight.detach()
        for name, weight in whole_model(model).base_model.named_parameters()
        if ".lora_" not in name
    }
