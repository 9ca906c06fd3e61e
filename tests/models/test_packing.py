"""Packed rows: every sequence has the states and gradients that it has alone, in every architecture that we test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, Lfm2Config, PreTrainedModel

from alignloop.data.batches import Forest, Ragged
from alignloop.errors import ModelError
from alignloop.models import packing
from alignloop.models.layouts import similar_runs
from alignloop.models.loading import backbone_of
from alignloop.models.packing import (
    PackedRow,
    check_packing,
    packed_groups,
    packed_hidden_states,
)
from alignloop.models.policy import forest_log_probs, response_log_probs
from tests.helpers import ARCHITECTURES, tiny_model

SEQUENCES = [[5, 9, 12, 7], [8], [30, 31, 32, 33, 34, 35, 36, 37, 38], [5, 9]]
NEIGHBOURS = [[5, 9, 12, 7, 3, 4], [8, 4, 2, 6, 1], [30, 31, 32, 33, 34, 35], [5, 9], [7, 11]]
"""Three of which the middle one is padded to attend with the others, then two of one length."""
WINDOW: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}
"""One layer of a Qwen3-type model sees all that came before, the other one three tokens."""


@pytest.fixture(params=[*ARCHITECTURES, "window"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    if request.param == "window":
        return tiny_model("qwen3", **WINDOW)
    return tiny_model(request.param)


def alone(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> Tensor:
    """What each sequence gives in a row of its own, through transformers' own attention."""
    rows = [
        backbone_of(model)(input_ids=torch.tensor([list(one)]), use_cache=False).last_hidden_state
        for one in sequences
    ]
    return torch.cat(rows, dim=1)


def gradients(model: PreTrainedModel, hidden: Tensor) -> dict[str, Tensor]:
    """Of a sum that weighs every number of the states differently."""
    model.zero_grad()
    weights = torch.linspace(-1, 1, hidden.numel(), dtype=hidden.dtype).view_as(hidden)
    (hidden * weights).sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("sequences", [SEQUENCES, NEIGHBOURS])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_states_and_gradients_are_those_of_rows_of_their_own(
    model: PreTrainedModel, dtype: torch.dtype, within: float, sequences: Sequence[Sequence[int]]
) -> None:
    model = model.to(dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]
    expected = alone(model, sequences)
    expected_gradients = gradients(model, expected)

    found = packed_hidden_states(model, PackedRow.of(sequences))

    torch.testing.assert_close(
        found, expected, rtol=0, atol=within * float(expected.detach().abs().max())
    )
    found_gradients = gradients(model, found)
    assert found_gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        scale = max(float(gradient.abs().max()), 1e-3)
        torch.testing.assert_close(found_gradients[name], gradient, rtol=0, atol=within * scale)


@torch.no_grad()
@pytest.mark.parametrize("sequences", [SEQUENCES, NEIGHBOURS])
def test_what_one_sequence_says_changes_nothing_in_another(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]]
) -> None:
    """Not even by rounding, also where they attend in one call."""
    others = [[token + 35 for token in sequences[0]], *sequences[1:]]
    first = len(others[0])

    one = packed_hidden_states(model, PackedRow.of(sequences))
    other = packed_hidden_states(model, PackedRow.of(others))

    assert torch.equal(one[:, first:], other[:, first:])
    assert not torch.allclose(one[:, :first], other[:, :first])


@torch.no_grad()
def test_the_models_own_attention_is_back_afterwards(
    model: PreTrainedModel,
) -> None:
    before = alone(model, SEQUENCES)
    packed_hidden_states(model, PackedRow.of(SEQUENCES))
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(alone(model, SEQUENCES), before)

    with pytest.raises(IndexError):
        packed_hidden_states(model, PackedRow.of([[10**6]]))
    assert model.config._attn_implementation == "sdpa", "after an error too"


@torch.no_grad()
def test_another_attention_is_told_by_the_positions(model: PreTrainedModel) -> None:
    """As FlashAttention is; here the plain one, which transformers gives a mask made from the positions."""
    expected = alone(model, SEQUENCES)
    model.config._attn_implementation = "eager"

    found = packed_hidden_states(model, PackedRow.of(SEQUENCES))

    assert model.config._attn_implementation == "eager"
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


# --- architectures that cannot ---


def test_every_tested_architecture_passes_the_check(model: PreTrainedModel) -> None:
    check_packing(model)


def test_an_architecture_that_passes_on_a_state_is_refused(
    model: PreTrainedModel,
) -> None:
    """A layer that runs over the row, as recurrent and convolutional ones do, knows nothing of sequences."""

    def leak(module: nn.Module, inputs: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state.cumsum(dim=1)
        return output

    handle = backbone_of(model).register_forward_hook(leak)
    with pytest.raises(ModelError, match=r"see one another .* set packing = 'bucketed'"):
        check_packing(model)
    handle.remove()


@pytest.mark.parametrize("kind", ["refused", "eager", "convolution"])
def test_where_sequences_would_see_one_another_each_response_gets_a_row_of_its_own(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log-probabilities and gradients are those of prompts and responses read one by one."""
    model = tiny_model()
    if kind == "refused":
        monkeypatch.setattr(packing, "packs", lambda _: False)
    elif kind == "eager":
        model.config._attn_implementation = "eager"
    else:
        shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        layers = {"layer_types": ["conv", "full_attention"], "num_key_value_heads": 2}
        tokens = {"vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        torch.manual_seed(3)
        config = Lfm2Config(**shape, **layers, **tokens, intermediate_size=48, block_multiple_of=16)
        model = cast(PreTrainedModel, AutoModelForCausalLM.from_config(config)).eval()
    assert not packing.packs(model)
    prompts, responses = [[4, 5, 6], [7, 8]], [[[9, 10], [11], [12, 13, 14, 15]], [[16, 17, 18]]]

    found = forest_log_probs(model, Forest.of(prompts, responses))
    found_gradients = gradients(model, found)

    alone = [
        response_log_probs(model, Ragged.of([prompt], [response], 0)).sum()
        for prompt, group in zip(prompts, responses, strict=True)
        for response in group
    ]
    expected = torch.stack(alone)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    for name, gradient in gradients(model, expected).items():
        torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-3, atol=1e-4)


def test_the_check_is_in_float32_wherever_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []

    def look(_: PreTrainedModel) -> None:
        seen.append(torch.is_autocast_enabled("cpu"))

    monkeypatch.setattr(packing, "check_packing", look)
    with torch.autocast("cpu", torch.bfloat16):
        assert packing.packs(tiny_model())
    assert seen == [False]


def test_an_architecture_that_does_not_say_where_sequences_end_is_refused(
    model: PreTrainedModel,
) -> None:
    backbone = backbone_of(model)
    forward = backbone.forward

    def deaf(**arguments: Any) -> Any:
        arguments.pop("layout", None)
        return forward(**arguments)

    backbone.forward = deaf
    with pytest.raises(ModelError, match=r"cannot be packed .* set packing = 'bucketed'"):
        check_packing(model)


# --- which sequences share a row ---


def test_the_longest_goes_first_and_each_where_it_still_fits() -> None:
    assert packed_groups([3, 9, 4, 6, 1, 20], 10) == [[5], [1, 4], [3, 2], [0]]


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_every_sequence_is_in_one_group_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = packed_groups(lengths, budget)

    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert sum(lengths[i] for i in group) <= budget or len(group) == 1


@torch.no_grad()
def test_a_response_of_no_tokens_ends_where_its_prompt_does(model: PreTrainedModel) -> None:
    forest = Forest.of([[5, 9, 12], [8, 7]], [[[20, 21], []], [[]]])

    assert forest.last_position.tolist() == [4, 2, 6]
    log_probs = forest_log_probs(model, forest)
    assert log_probs[1:].tolist() == [0, 0]
    assert log_probs[0] < 0


def test_neighbours_of_similar_length_attend_together() -> None:
    assert similar_runs([10, 4, 9, 3, 7, 8]) == [[10, 4, 9], [3, 7], [8]]
    assert similar_runs([4, 10]) == [[4, 10]], "the longest may come last"
    assert similar_runs([4, 10, 11]) == [[4, 10], [11]]
    assert similar_runs([]) == []


def test_positions_start_again_with_every_sequence() -> None:
    row = PackedRow.of([[5, 6, 7], [8], [9, 10]])

    assert row.tokens.tolist() == [[5, 6, 7, 8, 9, 10]]
    assert row.positions.tolist() == [[0, 1, 2, 0, 0, 1]]
    assert row.lengths == [3, 1, 2]


def test_a_window_hides_what_is_further_back_and_all_that_comes() -> None:
    assert packing._window(3, None, torch.device("cpu")) is None
    assert packing._window(3, 3, torch.device("cpu")) is None, "nothing is hidden yet"
    sees = packing._window(4, 2, torch.device("cpu"))
    assert sees is not None
    assert sees[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
