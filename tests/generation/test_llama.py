"""The quick decoder computes what transformers computes, for every model that it takes, and takes no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from transformers import PreTrainedModel

from alignloop.config import Precision
from alignloop.data.batches import Ragged
from alignloop.generation.decoder import Decoder, TransformersDecoder
from alignloop.generation.engine import SamplingConfig
from alignloop.generation.llama import LlamaDecoder, supports
from alignloop.generation.native import NativeEngine
from alignloop.models.adapters import AdaptersConfig
from alignloop.models.backbone import adapted
from alignloop.models.loading import load_causal_lm
from alignloop.models.policy import response_log_probs
from tests.helpers import needs_compiler, tiny_model, write_model

PROMPTS = [[5, 6, 7, 8, 9], [5, 10], [11, 12, 13]]
EQUAL = [[5, 6, 7], [8, 9, 10], [11, 12, 13]]
ROPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "all heads": {"num_key_value_heads": 2},
    "linear": {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 100.0}},
    "llama3": {
        "rope_parameters": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
            "rope_theta": 10000.0,
        }
    },
}


@torch.no_grad()
def states(decoder: Decoder, prompts: list[list[int]]) -> list[Tensor]:
    """Hidden states over forty steps, in which the cache grows, rows are copied, and rows go."""
    rows = torch.tensor([0, 0, 1, 2, 2, 1])
    found = [decoder.start(prompts, rows, 40)]
    for number in range(40):
        if number == 9:
            kept = torch.tensor([0, 2, 3, 5])
            decoder.keep(kept)
            rows = rows[kept]
        found.append(decoder.step((torch.arange(len(rows)) * 7 + 3 * number) % 60 + 5))
    return found


@pytest.mark.parametrize("prompts", [PROMPTS, EQUAL], ids=["ragged", "equal"])
@pytest.mark.parametrize(
    "model",
    [
        *(
            pytest.param(tiny_model("llama", **settings), id=f"llama {name}")
            for name, settings in ROPES.items()
        ),
        pytest.param(tiny_model("qwen3"), id="qwen3"),
    ],
)
def test_hidden_states_are_those_of_transformers(
    model: PreTrainedModel, prompts: list[list[int]]
) -> None:
    assert supports(model)

    for found, expected in zip(
        states(LlamaDecoder(model), prompts),
        states(TransformersDecoder(model), prompts),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


def test_bfloat16_is_near(tmp_path: Path) -> None:
    model = tiny_model("llama")

    for found, expected in zip(
        states(LlamaDecoder(model, torch.bfloat16), PROMPTS),
        states(LlamaDecoder(model), PROMPTS),
        strict=True,
    ):
        assert found.dtype == torch.bfloat16
        error = float((found.float() - expected).norm() / expected.norm())
        assert 1e-4 < error < 0.05


@torch.no_grad()
def test_a_role_with_an_adapter_draws_as_its_merged_weights(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    role = adapted(load_causal_lm(base), base, AdaptersConfig(rank=4), "policy", 1)
    for parameter in role.parameters():
        parameter += 0.05
    sampling = SamplingConfig(max_new_tokens=12)

    drawn = NativeEngine(role, 1).generate(PROMPTS, [1, 2, 3], sampling)

    batch = Ragged.of(PROMPTS, [response.tokens for response in drawn], 0)
    expected = response_log_probs(role, batch)[batch.is_response()]
    found = torch.tensor([p for response in drawn for p in response.log_probs])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    plain = response_log_probs(load_causal_lm(base), batch)[batch.is_response()]
    assert float((plain - expected).abs().max()) > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_engine_draws_with_the_weights_of_now(architecture: str) -> None:
    """An update between two calls: the quick decoder copies weights, and the copy must not outlive them."""
    model = tiny_model(architecture)
    engine, sampling = NativeEngine(model, 1), SamplingConfig(max_new_tokens=12)
    before = engine.generate(PROMPTS, [1, 2, 3], sampling)
    for parameter in model.parameters():
        parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))

    drawn = engine.generate(PROMPTS, [1, 2, 3], sampling)

    batch = Ragged.of(PROMPTS, [response.tokens for response in drawn], 0)
    expected = response_log_probs(model, batch)[batch.is_response()]
    found = torch.tensor([p for response in drawn for p in response.log_probs])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert [r.log_probs for r in before] != [r.log_probs for r in drawn]


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # of torch, while it compiles
@torch.no_grad()
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_the_compiled_step_is_the_same_but_for_rounding_for_any_rows_and_room(
    architecture: str, precision: Precision
) -> None:
    """One code for all: what is drawn first, or after resuming, does not decide how it rounds."""
    torch.compiler.reset()
    model = tiny_model(architecture)
    engine = NativeEngine(model, 1, precision, is_compiled=True)
    limit = {"float32": 1e-6, "bfloat16": 0.02}[precision]

    def agrees(count: int, length: int) -> None:
        asked, sampling = (PROMPTS * count)[:count], SamplingConfig(max_new_tokens=length)
        drawn = engine.generate(asked, list(range(count)), sampling)
        batch = Ragged.of(asked, [response.tokens for response in drawn], 0)
        expected = response_log_probs(model, batch)[batch.is_response()]
        found = torch.tensor([p for response in drawn for p in response.log_probs])
        assert float((found - expected).norm() / expected.norm()) < limit

    agrees(8, 40)  # the room grows, and finished rows leave
    made = counters["stats"]["unique_graphs"]
    assert made > 0
    for count, length in ((1, 20), (2, 4), (33, 50)):
        agrees(count, length)
    assert counters["stats"]["unique_graphs"] == made


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("gpt2", {}),
        ("llama", {"attention_bias": True}),
        ("llama", {"mlp_bias": True}),
        ("llama", {"hidden_act": "gelu"}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 8}),
    ],
)
def test_others_go_through_transformers(architecture: str, settings: dict[str, Any]) -> None:
    assert not supports(tiny_model(architecture, **settings))
