"""Attention as two products: what PyTorch's own computes, chosen where it is quicker, and known to no saved model."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignloop.models import attention
from alignloop.models.loading import load_causal_lm, save_model
from alignloop.tensors import generator
from tests.helpers import tiny_model, tiny_tokenizer


class Asked(nn.Module):
    """What transformers passes as the layer."""

    is_causal = True
    num_key_value_groups = 2


def states(length: int, dtype: torch.dtype, *, keys: int | None = None) -> tuple[Tensor, ...]:
    """Queries [2, 4, T, 8], keys and values [2, 2, S, 8] that take gradients."""
    draw = generator(length)
    sizes = [(4, length), (2, keys or length), (2, keys or length)]
    return tuple(
        torch.randn(2, heads, size, 8, generator=draw).to(dtype).requires_grad_()
        for heads, size in sizes
    )


def of_torch(query: Tensor, key: Tensor, value: Tensor, sees: Tensor) -> Tensor:
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=sees, enable_gqa=True)
    return found.transpose(1, 2)


@pytest.mark.parametrize("block", [3, 7, 100])
@pytest.mark.parametrize("keys", [7, 12])
def test_products_are_attention_values_and_gradients(
    keys: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where queries see keys that came before them all, as the answers of a prompt do."""
    monkeypatch.setattr(attention, "BLOCK", block)
    sees = torch.ones(7, keys, dtype=torch.bool).tril(diagonal=keys - 7)
    weights = torch.randn(2, 7, 4, 8, generator=generator(3))
    found: list[list[Tensor]] = []
    for attend in (attention.by_products, partial(of_torch, sees=sees)):
        given = states(7, torch.float32, keys=keys)
        attended = attend(*given)
        (attended * weights).sum().backward()
        found.append([attended, *(one.grad for one in given if one.grad is not None)])

    assert len(found[0]) == len(found[1]) == 4
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_another_scale_is_used() -> None:
    given = states(5, torch.float32)
    sees = torch.ones(5, 5, dtype=torch.bool).tril()

    found = attention.by_products(*given, 0.5)

    query, key, value = given
    assert torch.allclose(found, of_torch(query * 0.5 * 8**0.5, key, value, sees), atol=1e-6)


@pytest.mark.parametrize(
    ("length", "dtype", "mixed", "chosen"),
    [
        (9, torch.bfloat16, False, True),
        (9, torch.float32, True, True),
        (9, torch.float32, False, False),
        (attention.LONGEST + 1, torch.bfloat16, False, False),
    ],
)
def test_products_where_short_and_in_bfloat16(
    length: int, dtype: torch.dtype, mixed: bool, chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    by_products = attention.by_products

    def counted(*given: Tensor) -> Tensor:
        calls.append(1)
        return by_products(*given)

    monkeypatch.setattr(attention, "by_products", counted)
    query, key, value = states(length, dtype)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        found, _ = attention.attend(Asked(), query, key, value, None)

    assert bool(calls) == chosen
    sees = torch.ones(length, length, dtype=torch.bool).tril()
    exact = of_torch(query.float(), key.float(), value.float(), sees)
    rounding = 1e-5 if dtype == torch.float32 and not mixed else 0.03
    torch.testing.assert_close(found.float(), exact, rtol=rounding, atol=rounding)


@torch.no_grad()
def test_a_mask_is_obeyed() -> None:
    query, key, value = states(6, torch.bfloat16)
    sees = torch.eye(6, dtype=torch.bool)[None, None]

    found, _ = attention.attend(Asked(), query, key, value, sees)

    assert torch.allclose(found[:, :, ::2], value.transpose(1, 2)), "each sees itself alone"


@pytest.fixture
def loaded(tmp_path: Path) -> PreTrainedModel:
    """A model that was written and read."""
    save_model(tiny_model("llama"), tiny_tokenizer(), tmp_path / "model")
    return load_causal_lm(tmp_path / "model")


@torch.no_grad()
def test_a_model_that_is_read_attends_so_and_no_file_says_it(
    loaded: PreTrainedModel, tmp_path: Path
) -> None:
    save_model(loaded, tiny_tokenizer(), tmp_path / "again")

    assert loaded.config._attn_implementation == attention.NAME
    written = json.loads((tmp_path / "again" / "config.json").read_text(encoding="utf-8"))
    assert attention.NAME not in json.dumps(written)


@torch.no_grad()
def test_left_padding_stays_hidden(loaded: PreTrainedModel) -> None:
    tokens = torch.tensor([[5, 6, 7, 8], [9, 9, 7, 8]])
    mask = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
    positions = (mask.cumsum(1) - 1).clamp(min=0)

    with torch.autocast("cpu", torch.bfloat16):
        hidden = loaded.base_model(
            input_ids=tokens, attention_mask=mask, position_ids=positions
        ).last_hidden_state

    torch.testing.assert_close(hidden[0, 2:], hidden[1, 2:])
