"""Causal attention: PyTorch's own, and for short sequences in bfloat16 on a CPU the two products that it stands for.

There PyTorch's kernel takes up to four times the products' time, forward and backward; docs/performance.md has the
figures. The products keep every score for the backward pass, which is little where sequences are short.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "alignloop"
"""What transformers calls this attention."""
LONGEST = 512
"""Keys up to which the products are quicker, and their scores little beside all else that a layer keeps."""
BLOCK = 128
"""Queries whose scores are made together."""


def use(model: PreTrainedModel) -> None:
    """Let a model attend by `attend`, where its attention is PyTorch's own."""
    if model.config._attn_implementation == "sdpa":
        model.config._attn_implementation = NAME


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    is_causal: bool | None = None,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention of queries [B, H, T, D] to keys and values [B, G, T, D], as transformers calls it: [B, T, H, D].

    Without a mask, queries see the keys up to their own; where there is one key per query, that is.
    """
    is_whole = query.shape[2] == key.shape[2] and attention_mask is None and position_bias is None
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    if is_whole and is_causal:
        return attend_causally(module, query, key, value, scaling=scaling, **settings), None
    return sdpa_attention_forward(
        module,
        query,
        key,
        value,
        attention_mask,
        is_causal=is_causal,
        scaling=scaling,
        position_bias=position_bias,
        **settings,
    )


def attend_causally(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float | None = None,
    **settings: Any,
) -> Tensor:
    """Attention [B, T, H, D] to all keys up to a query's own; the last T of the keys are the queries' own."""
    if _is_quicker_by_products(query, key):
        return by_products(query, key, value, scaling)
    length, keys = query.shape[2], key.shape[2]
    sees = None  # PyTorch knows the plain triangle by itself
    if keys > length:
        sees = torch.ones(length, keys, dtype=torch.bool, device=query.device)
        sees = sees.tril(diagonal=keys - length)[None, None]
    return sdpa_attention_forward(
        module, query, key, value, sees, is_causal=sees is None, scaling=scaling, **settings
    )[0]


def _is_quicker_by_products(query: Tensor, key: Tensor) -> bool:
    """Whether `by_products` beats PyTorch's attention on what it would compute here."""
    return (
        query.device.type == "cpu"
        and key.shape[2] <= LONGEST
        and _precision(query) == torch.bfloat16
    )


def by_products(query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None) -> Tensor:
    """Causal attention [B, T, H, D] of queries [B, H, T, D] to keys and values [B, G, S, D], H a multiple of G.

    The last T keys are the queries' own; what is before them, each query sees.
    """
    batch, heads, length, width = query.shape
    groups, before = key.shape[1], key.shape[2] - length
    dtype = _precision(query)
    scale = 1 / math.sqrt(width) if scaling is None else scaling
    found: list[Tensor] = []
    with torch.autocast(query.device.type, enabled=False):
        queries = query.to(dtype).reshape(batch * groups, heads // groups, length, width)
        keys, values = (
            states.to(dtype).reshape(batch * groups, -1, states.shape[-1])
            for states in (key, value)
        )
        # A block of queries at a time: the keys after it need no scores.
        for start in range(0, length, BLOCK):
            end = min(start + BLOCK, length)
            seen = before + end
            hidden = torch.full((end - start, seen), -torch.inf, dtype=dtype, device=query.device)
            scores = torch.baddbmm(
                hidden.triu(before + start + 1).repeat(heads // groups, 1),
                # The queries that share keys stand below one another.
                queries[:, :, start:end].reshape(batch * groups, -1, width),
                keys[:, :seen].transpose(1, 2),
                alpha=scale,
            )
            attended = torch.bmm(scores.softmax(dim=-1), values[:, :seen])
            found.append(attended.view(batch, heads, end - start, -1))
    return torch.cat(found, dim=2).transpose(1, 2).contiguous()


def _precision(states: Tensor) -> torch.dtype:
    """What a product of these is computed in here."""
    device = states.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return states.dtype


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
