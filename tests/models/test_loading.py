"""Models that people bring along: what does not fit is refused when it is read, not found out later."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    GraniteConfig,
    GraniteForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from alignloop.errors import DataError, ModelError
from alignloop.models.dropout import residual_dropout
from alignloop.models.loading import (
    attention_window,
    check_same_tokens,
    check_tokenizer,
    load_causal_lm,
    load_scalar_model,
    load_tokenizer,
    save_model,
)
from tests.helpers import (
    REWARD,
    foreign_tokenizer,
    run,
    tiny_model,
    tiny_tokenizer,
    write_demonstrations,
    write_model,
    write_rankings,
)

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
}
"""What families of one layer have in common here."""


@pytest.mark.parametrize("load", [load_causal_lm, load_scalar_model])
def test_a_folder_that_lacks_weights_is_refused(load: object, tmp_path: Path) -> None:
    """transformers would draw what is missing at random, and train on."""
    weights = write_model(tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    lost = "model.layers.1.mlp.up_proj.weight"
    del tensors[lost]
    save_file(tensors, weights, {"format": "pt"})

    with pytest.raises(ModelError, match=rf"weights are missing: {lost}"):
        load(tmp_path)  # type: ignore[operator]


def test_a_classifier_is_no_language_model(tmp_path: Path) -> None:
    """Without tied embeddings nothing in the folder could stand in for the unembedding."""
    write_model(tmp_path / "lm", tie_word_embeddings=False)
    save_model(load_scalar_model(tmp_path / "lm"), tiny_tokenizer(), tmp_path / "classifier")

    with pytest.raises(ModelError, match=r"weights are missing: lm_head\.weight"):
        load_causal_lm(tmp_path / "classifier")


def test_a_language_model_becomes_a_scalar_model_with_a_new_head(tmp_path: Path) -> None:
    assert load_scalar_model(write_model(tmp_path)).config.num_labels == 1


def test_logits_that_are_not_hidden_states_times_a_matrix_are_refused(tmp_path: Path) -> None:
    """Granite divides them; log-probabilities read from its hidden states would be another model's."""
    tokenizer = tiny_tokenizer()
    config = GraniteConfig(
        **TINY,
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        logits_scaling=8.0,
        eos_token_id=1,
        pad_token_id=0,
    )
    save_model(GraniteForCausalLM(config), tokenizer, tmp_path)

    with pytest.raises(ModelError, match="scales or caps its logits"):
        load_causal_lm(tmp_path)


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_model()
    check_tokenizer(tmp_path, model, tokenizer)

    tokenizer.add_special_tokens({"additional_special_tokens": ["<|new|>"]})

    with pytest.raises(ModelError, match="resize the model"):
        check_tokenizer(tmp_path, model, tokenizer)


def test_models_that_pass_tokens_to_one_another_must_mean_the_same_by_them(tmp_path: Path) -> None:
    ours, theirs, alike = (tmp_path / name for name in ("ours", "theirs", "alike"))
    write_model(ours)
    write_model(alike, "qwen3")
    save_model(tiny_model(), foreign_tokenizer(), theirs)

    check_same_tokens(ours, alike)

    with pytest.raises(ModelError, match="has another tokenizer than"):
        check_same_tokens(ours, theirs)
    assert load_tokenizer(theirs).eos_token_id == 0


def test_dropout_that_is_a_number_on_a_module_is_silenced_too() -> None:
    """OPT keeps its dropout as a plain number and uses it in its forward pass."""
    config = OPTConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=48,
        max_position_embeddings=32,
        word_embed_proj_dim=32,
        dropout=0.5,
    )
    model = OPTForCausalLM(config).train()
    tokens = torch.arange(2, 12)[None]
    assert not torch.equal(model(tokens).logits, model(tokens).logits), "or this shows nothing"

    with residual_dropout(model, 0.0):
        first, again = model(tokens).logits, model(tokens).logits

    assert torch.equal(first, again)
    assert not torch.equal(model(tokens).logits, model(tokens).logits), "and it is given back"


def windowed(window: int | None) -> PreTrainedModel:
    """A tiny model whose tokens see so many before them."""
    tokenizer = tiny_tokenizer()
    return MistralForCausalLM(
        MistralConfig(
            **TINY,
            vocab_size=len(tokenizer),
            max_position_embeddings=96,
            sliding_window=window,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


def test_a_window_is_found_and_no_ranked_answer_may_be_longer(tmp_path: Path) -> None:
    """The reward model trains on answers side by side under a mask of its own; it scores later under the window's."""
    assert attention_window(windowed(20)) == 20
    assert attention_window(windowed(None)) == attention_window(tiny_model()) == 96

    save_model(windowed(20), tiny_tokenizer(), tmp_path / "model")
    inputs = {
        "rankings": write_rankings(tmp_path / "rankings"),
        "demonstrations": write_demonstrations(tmp_path / "demonstrations"),
    }
    with pytest.raises(DataError, match="the context is 20"):
        run("reward", tmp_path / "reward", REWARD, model=tmp_path / "model", **inputs)
