"""Adapters: roles on one set of weights behave as models of their own, and open in other people's tools."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from alignloop.data.batches import Ragged
from alignloop.errors import ModelError
from alignloop.generation.engine import SamplingConfig
from alignloop.generation.native import NativeEngine
from alignloop.models.adapters import AdaptersConfig
from alignloop.models.backbone import (
    AdaptedModel,
    Backbone,
    adapted,
    scorer_on,
    value_on,
    weights_sha256,
)
from alignloop.models.loading import load_causal_lm, load_scalar_model, save_model
from alignloop.models.policy import hidden_states, response_log_probs
from alignloop.models.reward_model import ScalarModel
from tests.helpers import ARCHITECTURES, tiny_tokenizer, write_model

SMALL = AdaptersConfig(rank=4, alpha=8)
BATCH = Ragged.of([[5, 6, 7], [9]], [[8, 9, 1], [12, 13]], 0)


def moved(model: torch.nn.Module, seed: int = 1) -> None:
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            noise = torch.Generator().manual_seed(seed * 1000 + number)
            parameter += 0.05 * torch.randn(parameter.shape, generator=noise)


def trained(folder: Path, base: Path, seed: int = 1) -> PreTrainedModel:
    """A policy folder whose adapter learned something."""
    model = adapted(load_causal_lm(base), base, SMALL, "policy", seed)
    moved(model, seed)
    save_model(model, tiny_tokenizer(), folder)
    return model


def trained_scorer(folder: Path, base: Path, seed: int = 3) -> ScalarModel:
    scorer = ScalarModel(adapted(load_scalar_model(base), base, SMALL, "reward", seed))
    scorer.new_head(seed)
    moved(scorer, seed)
    scorer.save_bias()
    scorer.model.config.pad_token_id = tiny_tokenizer().pad_token_id
    save_model(scorer.model, tiny_tokenizer(), folder)
    return scorer


def test_a_role_is_as_silent_as_its_trunk(tmp_path: Path) -> None:
    """GPT-2 has dropout of its own, and the sampler restores the mode that it finds."""
    base = write_model(tmp_path / "base", "gpt2")
    policy = cast(PreTrainedModel, AdaptedModel(Backbone(load_causal_lm(base), ""), None))

    NativeEngine(policy, 1).generate([[5, 6]], [1], SamplingConfig(max_new_tokens=2))

    assert not policy.training
    assert not any(module.training for module in policy.backbone.model.modules())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_adapter_changes_nothing_and_gets_all_the_gradient(
    architecture: str, tmp_path: Path
) -> None:
    base = write_model(tmp_path / "base", architecture)
    expected = response_log_probs(load_causal_lm(base), BATCH)

    model = adapted(load_causal_lm(base), base, SMALL, "policy", 1)
    found = response_log_probs(model, BATCH)

    assert torch.equal(found, expected)
    found.sum().backward()
    shared = cast(AdaptedModel, model).backbone.model
    assert all(p.grad is not None for p in model.parameters())
    learning = {id(p) for p in model.parameters()}
    assert all(p.grad is None for p in shared.parameters() if id(p) not in learning)
    assert sum(p.numel() for p in model.parameters()) < 0.25 * sum(
        p.numel() for p in shared.parameters()
    )


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers by an old name
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_saved_is_merged_and_the_adapter_opens_in_peft(
    architecture: str, tmp_path: Path
) -> None:
    base = write_model(tmp_path / "base", architecture)
    model = trained(tmp_path / "policy", base)

    merged = load_causal_lm(tmp_path / "policy")

    torch.testing.assert_close(
        response_log_probs(merged, BATCH), response_log_probs(model, BATCH), atol=1e-5, rtol=0
    )
    start = load_causal_lm(base)
    assert {n: p.shape for n, p in merged.named_parameters()} == {
        n: p.shape for n, p in start.named_parameters()
    }
    theirs = PeftModel.from_pretrained(start.base_model, tmp_path / "policy" / "adapter")
    states = theirs(input_ids=BATCH.tokens).last_hidden_state
    torch.testing.assert_close(states, hidden_states(merged, BATCH), atol=1e-5, rtol=0)


def test_roles_on_one_backbone_do_not_see_one_another(tmp_path: Path) -> None:
    """In any order, with gradients in between: each role answers as the model that it was trained as."""
    base = write_model(tmp_path / "base")
    first, second = trained(tmp_path / "a", base, 1), trained(tmp_path / "b", base, 2)
    alone = trained_scorer(tmp_path / "reward", base)
    backbone = Backbone(load_causal_lm(base), weights_sha256(base))
    backbone.add_from("a", tmp_path / "a")
    backbone.add_from("b", tmp_path / "b")
    backbone.train("b")
    reward = scorer_on(backbone, "reward", tmp_path / "reward")
    value = value_on(backbone, reward)
    a, b, bare = (cast(PreTrainedModel, AdaptedModel(backbone, name)) for name in ("a", "b", None))
    expected = {
        "a": response_log_probs(first, BATCH),
        "b": response_log_probs(second, BATCH),
        "bare": response_log_probs(load_causal_lm(base), BATCH),
        "scores": alone.scores(BATCH),
        "values": alone.values(BATCH),
    }

    for _ in range(2):
        found = {
            "b": response_log_probs(b, BATCH),
            "scores": reward.scores(BATCH),
            "bare": response_log_probs(bare, BATCH),
            "values": value.values(BATCH),
            "a": response_log_probs(a, BATCH),
        }
        for name, want in expected.items():
            torch.testing.assert_close(found[name], want, atol=1e-6, rtol=0, msg=name)
        (found["b"].sum() + found["values"].sum()).backward()

    assert all(p.grad is not None for p in b.parameters())
    assert all(p.grad is not None for p in value.parameters())
    for silent in (a, reward):
        assert all(p.grad is None for p in silent.parameters())


@torch.no_grad()
def test_a_reward_model_with_an_adapter_opens_in_plain_transformers(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    scorer = trained_scorer(tmp_path / "reward", base)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward")

    row = Ragged.of([[5, 6, 7]], [[8, 9, 1]], 0)

    expected = float(theirs(row.tokens).logits[0, 0]) + theirs.config.reward_bias
    assert float(scorer.scores(row)[0]) == pytest.approx(expected, abs=1e-5)


def test_an_adapter_of_other_weights_and_a_model_without_one_are_refused(tmp_path: Path) -> None:
    base, other = write_model(tmp_path / "base"), write_model(tmp_path / "other", seed=9)
    trained(tmp_path / "policy", base)
    backbone = Backbone(load_causal_lm(other), weights_sha256(other))

    with pytest.raises(ModelError, match="its adapter belongs on other weights"):
        backbone.add_from("policy", tmp_path / "policy")
    with pytest.raises(ModelError, match="was trained with all its weights"):
        backbone.add_from("policy", base)
