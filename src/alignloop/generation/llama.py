"""A quicker decoder for Llama-type models: joined matrices, a cache that products read in place, no framework between.

Its hidden states are those of transformers' own forward pass but for rounding; a test holds the two together.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from alignloop.data.batches import micro_batches
from alignloop.generation.decoder import Decoder, left_padded
from alignloop.models.backbone import AdaptedModel, whole_model
from alignloop.tensors import rounded_up

_FAMILIES = ("llama", "qwen3")
_PROMPT_TOKENS = 512
"""Tokens of prompts that are read together on a CPU: little padding, and states that stay in the cache."""
_PROMPT_TOKENS_ON_GPU = 32768
_EXAMPLE = (64, 97)
"""Rows and room from which code for any is compiled: usual sizes, of which neither is a multiple of the other."""
_MULTIPLE = 16
"""Of which the sizes of products in bfloat16 are multiples, so that there are few."""
_GROWTH = 16
"""Positions by which the cache grows: products over all of it need it whole in memory, so it is copied now and then."""
_TURNS = 256
"""Positions for which rotations are computed at a time, where more tokens come than were foreseen."""


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


class _Shape(NamedTuple):
    """What the weights' sizes do not say."""

    heads: int
    kv_heads: int
    width: int
    """Of a head."""
    eps: float


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

    can_join = True

    def __init__(
        self,
        model: PreTrainedModel,
        dtype: torch.dtype = torch.float32,
        *,
        is_compiled: bool = False,
    ) -> None:
        config: Any = model.config
        self._dtype = dtype
        heads = config.num_attention_heads
        self._shape = _Shape(
            heads,
            config.num_key_value_heads,
            getattr(config, "head_dim", None) or config.hidden_size // heads,
            config.rms_norm_eps,
        )
        self._rotary: Any = whole_model(model).base_model.rotary_emb
        weights = _weights_of(model)

        def joined(*names: str) -> Tensor:
            return torch.cat([weights[name] for name in names]).to(dtype)

        self._embedding = weights["embed_tokens.weight"].to(dtype)
        on_cpu = self._embedding.device.type == "cpu"
        self._prompt_tokens = _PROMPT_TOKENS if on_cpu else _PROMPT_TOKENS_ON_GPU
        # For every new size of a product in bfloat16 a CPU's library makes a kernel, which takes time and memory.
        self.multiple = _MULTIPLE if on_cpu and dtype == torch.bfloat16 else 1
        self._norm = weights["norm.weight"].to(dtype)
        self._layers: list[_Layer] = []
        for number in range(config.num_hidden_layers):
            at = f"layers.{number}"
            norms = [f"{at}.self_attn.{name}_norm.weight" for name in ("q", "k")]
            query_norm, key_norm = (
                weights[name].to(dtype) if name in weights else None for name in norms
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

        self._advance = _compiled_advance() if is_compiled else _advance

    def compile(self) -> None:
        """Make the code for any number of rows and any room from one example, before anything is drawn.

        So it does not depend on what is drawn first, and a resumed run, which draws something else first, has the same.
        """
        rows, room = _EXAMPLE
        groups, width = rows * self._shape.kv_heads, self._shape.width
        x = self._embedding.new_zeros(rows, self._embedding.shape[1])
        keys, values = ([x.new_zeros(groups, room, width) for _ in self._layers] for _ in range(2))
        bias = x.new_zeros(groups, 1, room)
        cos, sin = x.new_zeros(rows, 1, width), x.new_zeros(rows, 1, width)
        for tensor in (x, *keys, *values, bias, cos, sin):
            torch._dynamo.mark_dynamic(tensor, 0)
        for tensor in (*keys, *values):
            torch._dynamo.mark_dynamic(tensor, 1)
        torch._dynamo.mark_dynamic(bias, 2)
        at = torch.tensor([0])
        self._advance(x, self._layers, keys, values, at, bias, cos, sin, self._shape)

    def start(self, prompts: Sequence[Sequence[int]], rows: Tensor, room: int) -> Tensor:
        """See `Decoder`."""
        tokens, is_real = left_padded(prompts, self.multiple)
        count, width = tokens.shape
        positions = (is_real.cumsum(dim=1) - 1).clamp(min=0)
        self._reach = width
        self._turn(width + room)
        shape = (count, self._shape.kv_heads, width, self._shape.width)
        self._keys, self._values = (
            [self._embedding.new_zeros(shape) for _ in self._layers] for _ in range(2)
        )
        last = self._embedding.new_empty(count, self._embedding.shape[1])
        sizes = [rounded_up(len(prompt), self.multiple) for prompt in prompts]
        for group in micro_batches(sizes, self._prompt_tokens):
            longest = max(sizes[row] for row in group)
            at, columns = torch.tensor(group), slice(width - longest, width)
            most = max(self._prompt_tokens // longest, 1)
            beyond = most - len(group) if self.multiple > 1 else 0
            given = (
                F.pad(whole[at, columns], (0, 0, 0, beyond))
                for whole in (tokens, positions, is_real)
            )
            last[at] = self._read(*given, rows=at, columns=columns)
        self._used = width
        self._positions = positions[:, -1][rows]
        self._is_real = is_real
        self._has_guests = False
        self._grow(rows)
        return _rms(last, self._norm, self._shape)[rows]

    def _read(
        self, tokens: Tensor, positions: Tensor, is_real: Tensor, *, rows: Tensor, columns: slice
    ) -> Tensor:
        """[P, D]: states after some of the prompts, left-padded; their keys and values go to those rows and columns.

        There may be more rows of tokens than of prompts: they fill a usual size.
        """
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
            y = _rms(x, layer.attention_norm, self._shape)
            projected = F.linear(y, layer.qkv).view(count, width, -1, self._shape.width)
            query, key, value = _split(projected, layer, self._shape)
            query, key = _rotated(query, cos, sin), _rotated(key, cos, sin)
            query, key, value = (part.transpose(1, 2) for part in (query, key, value))
            keys[rows, :, columns] = key[: len(rows)]
            values[rows, :, columns] = value[: len(rows)]
            seen = F.scaled_dot_product_attention(
                query, key, value, attn_mask=sees, is_causal=sees is None, enable_gqa=True
            )
            x = x + F.linear(seen.transpose(1, 2).reshape(count, width, -1), layer.out)
            x = x + _mlp(x, layer, self._shape)
        return x[: len(rows), -1]

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        if self._used == self._keys[0].shape[1]:
            self._grow()
        if self._reach == len(self._cos):
            self._turn(self._reach + _TURNS)
        self._reach += 1
        self._bias[:, :, self._used] = 0
        self._positions = self._positions + 1
        cos, sin = self._cos[self._positions][:, None], self._sin[self._positions][:, None]
        advance = self._advance if len(tokens) > 1 else _advance  # one row would be compiled anew
        x = advance(
            self._embedding[tokens],
            self._layers,
            self._keys,
            self._values,
            torch.tensor([self._used]),
            self._bias,
            cos,
            sin,
            self._shape,
        )
        self._used += 1
        return _rms(x, self._norm, self._shape)

    def keep(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self._grow(rows)
        self._positions = self._positions[rows]

    def fresh(self) -> LlamaDecoder:
        """See `Decoder`."""
        return copy.copy(self)  # `start` makes a cache of its own

    def release(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self._is_real = self._real()
        self._is_real[rows] = False
        self._positions[rows] = -1
        self._bias_by_row()[rows, :, : self._used] = -torch.inf

    def join(self, other: Decoder, places: Tensor) -> None:
        """See `Decoder`."""
        assert isinstance(other, LlamaDecoder)
        self._has_guests = True
        is_real = other._real()
        longest = int(is_real.sum(dim=1).max())
        beyond = max(int(places.max()) + 1 - len(self._positions), 0)
        if beyond or longest > self._used:
            self._grow(beyond=beyond, width=longest)
        self._positions = F.pad(self._positions, (0, beyond))
        self._positions[places] = other._positions
        columns = slice(self._used - longest, self._used)
        self._is_real = self._real()
        self._is_real[places] = False
        self._is_real[places, columns] = is_real[:, other._used - longest :]
        bias = self._bias_by_row()
        bias[places] = -torch.inf
        seen = torch.zeros(is_real.shape[0], longest, dtype=self._dtype)
        seen[~is_real[:, other._used - longest :]] = -torch.inf
        bias[places, :, columns] = seen[:, None]
        for mine, theirs in ((self._keys, other._keys), (self._values, other._values)):
            for own, new in zip(mine, theirs, strict=True):
                by_row = own.view(-1, self._shape.kv_heads, own.shape[-2], self._shape.width)
                arriving = new.view(-1, self._shape.kv_heads, new.shape[-2], self._shape.width)
                by_row[places] = 0  # whatever stood there may be NaN
                by_row[places, :, columns] = arriving[:, :, other._used - longest : other._used]
        self._reach = max(self._reach, other._reach)
        if len(other._cos) > len(self._cos):
            self._cos, self._sin = other._cos, other._sin

    def _turn(self, count: int) -> None:
        """Compute by how much so many positions are rotated."""
        every = torch.arange(count)[None]
        self._cos, self._sin = (
            part[0].to(self._dtype) for part in self._rotary(self._embedding[:1], every)
        )

    def _real(self) -> Tensor:
        """[B, used] bool: True at the rows' own tokens, all that were stepped through among them."""
        return F.pad(self._is_real, (0, self._used - self._is_real.shape[1]), value=True)

    def _bias_by_row(self) -> Tensor:
        """[B, G, room]: the bias, to be written to."""
        return self._bias.view(len(self._positions), self._shape.kv_heads, -1)

    def _grow(self, rows: Tensor | None = None, *, beyond: int = 0, width: int = 0) -> None:
        """Copy the cache into one with more room.

        Where rows come and go, the columns that none sees any more are left out.

        Args:
            rows: those that stay; all of them without it.
            beyond: how many rows are added, which see nothing yet.
            width: how many columns are to be in use at least.
        """
        is_real = self._real() if rows is None else self._real()[rows]
        longest = self._used
        if self._has_guests:
            self._reach = longest = max(int(is_real.sum(dim=1).max()), 1)
        first, used = self._used - longest, max(longest, width)
        room = (used // _GROWTH + 1) * _GROWTH
        for states in (self._keys, self._values):
            for number, old in enumerate(states):
                by_row = old.reshape(-1, self._shape.kv_heads, old.shape[-2], self._shape.width)
                by_row = by_row[:, :, first : self._used]
                if rows is not None:
                    by_row = by_row[rows]
                shape = (len(by_row) + beyond, self._shape.kv_heads, room, self._shape.width)
                new = old.new_empty(shape)
                new[: len(by_row), :, used - longest : used] = by_row
                # What is masked is 0 all the same: 0 times NaN would be NaN.
                new[: len(by_row), :, : used - longest] = 0
                new[: len(by_row), :, used:] = 0
                new[len(by_row) :] = 0
                states[number] = new.flatten(0, 1)
        self._used = used
        self._is_real = F.pad(is_real[:, first:], (used - longest, 0, 0, beyond))
        bias = torch.full((len(self._is_real), room), -torch.inf, dtype=self._dtype)
        bias[:, :used][self._is_real] = 0
        self._bias = bias.repeat_interleave(self._shape.kv_heads, dim=0)[:, None]


def _advance(
    x: Tensor,
    layers: Sequence[_Layer],
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    at: Tensor,
    bias: Tensor,
    cos: Tensor,
    sin: Tensor,
    shape: _Shape,
) -> Tensor:
    """[B, D] after all layers from [B, D] before them: one token per row.

    Args:
        keys, values: [B * G, room, width] of each layer; the new ones are written there.
        at: [1], the place in them.
        bias: [B * G, 1, room], 0 where a row sees a place, else minus infinity.
        cos, sin: [B, 1, width] of the rows' positions.
    """
    rows, group = len(x), shape.heads // shape.kv_heads
    for layer, past_keys, past_values in zip(layers, keys, values, strict=True):
        y = _rms(x, layer.attention_norm, shape)
        projected = torch.mm(y, layer.qkv.t()).view(rows, -1, shape.width)
        query, key, value = _split(projected, layer, shape)
        past_keys.index_copy_(1, at, _rotated(key, cos, sin).reshape(-1, 1, shape.width))
        past_values.index_copy_(1, at, value.reshape(-1, 1, shape.width))
        query = _rotated(query, cos, sin).reshape(-1, group, shape.width)
        weights = torch.baddbmm(bias, query, past_keys.transpose(1, 2), alpha=shape.width**-0.5)
        seen = torch.bmm(weights.softmax(dim=-1), past_values).view(rows, -1)
        x = torch.addmm(x, seen, layer.out.t())
        x = x + _mlp(x, layer, shape)
    return x


@cache
def _compiled_advance() -> Callable[..., Tensor]:
    return torch.compile(_advance)


def _split(projected: Tensor, layer: _Layer, shape: _Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [..., heads, width], the first two normed where the architecture does so."""
    sizes = [shape.heads, shape.kv_heads, shape.kv_heads]
    query, key, value = projected.split(sizes, dim=-2)
    if layer.query_norm is not None and layer.key_norm is not None:
        query, key = _rms(query, layer.query_norm, shape), _rms(key, layer.key_norm, shape)
    return query, key, value


def _rms(x: Tensor, weight: Tensor, shape: _Shape) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, shape.eps)


def _mlp(x: Tensor, layer: _Layer, shape: _Shape) -> Tensor:
    gate, up = F.linear(_rms(x, layer.mlp_norm, shape), layer.gate_up).chunk(2, dim=-1)
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
