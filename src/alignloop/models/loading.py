"""Reading and writing models and tokenizers in Hugging Face's layout, with the checks that training relies on."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
import transformers
from pydantic import Field, model_validator
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from alignloop.config import Config
from alignloop.data.tokenizer import END, PAD
from alignloop.distributed import World
from alignloop.errors import ConfigError, ModelError
from alignloop.models import attention

logging.getLogger("transformers").setLevel(logging.ERROR)
transformers.utils.logging.disable_progress_bar()

_SHARDED_BACKBONE = "backbone_with_all_weights"
"""Name under which the backbone of a model that is split over ranks is called."""

_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)
"""What transformers raises for a folder that it cannot read."""


class LlamaShape(Config):
    """Size of a Llama-type model."""

    hidden_size: int = Field(default=320, gt=0)
    """Width of the residual stream."""
    layers: int = Field(default=4, gt=0)
    """Number of decoder layers."""
    heads: int = Field(default=5, gt=0)
    """Attention heads per layer."""
    intermediate_size: int = Field(default=768, gt=0)
    """Width of the gated MLP."""
    context: int = Field(default=256, gt=0)
    """Longest sequence in tokens."""
    rope_theta: float = Field(default=10000.0, gt=0)
    """Base of the rotary position embedding."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of twice the {self.heads} heads: "
                "rotary positions turn pairs of a head's dimensions"
            )
        return self


def new_llama(shape: LlamaShape, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """A freshly initialised Llama-type model with tied embeddings."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=shape.context,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=token_id(tokenizer.eos_token_id),
        pad_token_id=token_id(tokenizer.pad_token_id),
    )
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # the same weights on every device
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    attention.use(model)
    return model


def wrap_tokenizer(tokenizer: Any, context: int) -> PreTrainedTokenizerFast:
    """A tokenizer of ours as transformers sees it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=context
    )


def load_tokenizer(folder: Path, *, may_pad_with_end: bool = False) -> PreTrainedTokenizerFast:
    """Read a tokenizer and check that responses can end and padding cannot be mistaken for an end.

    Args:
        may_pad_with_end: of a model that is not handed on, whose padding therefore nobody mistakes.

    Raises:
        ModelError: there is no fast tokenizer, no EOS, or the pad token is the EOS token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=folder.exists())
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: no usable tokenizer ({_first_line(error)})") from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"{folder}: a fast tokenizer (tokenizer.json) is needed")
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"{folder}: the tokenizer has no EOS token, so no response could ever end; "
            "set eos_token in tokenizer_config.json"
        )
    if tokenizer.pad_token_id == tokenizer.eos_token_id and not may_pad_with_end:
        raise ModelError(
            f"{folder}: the pad token is the EOS token; other tools would then mask the true end of responses: "
            "give tokenizer_config.json a pad_token of its own (or none)"
        )
    return tokenizer


def _read_model(
    loader: Any, folder: Path, refusal: str, new: tuple[str, ...] = (), **arguments: Any
) -> PreTrainedModel:
    """A model with all its weights, dropout off.

    Args:
        refusal: what to say of a folder that cannot be read.
        new: how the names begin of weights that may be missing, and are drawn then.
    """
    read = partial(
        loader.from_pretrained,
        str(folder),
        local_files_only=folder.exists(),
        output_loading_info=True,
        **arguments,
    )
    try:
        try:
            model, found = read(attn_implementation="sdpa")
        except ValueError as error:
            if "scaled_dot_product_attention" not in str(error):
                raise
            model, found = read(attn_implementation="eager")  # older architectures have no other
    except _UNREADABLE as error:
        raise ModelError(f"{folder}: {refusal} ({_first_line(error)})") from None
    if missing := sorted(key for key in found["missing_keys"] if not key.startswith(new)):
        raise ModelError(f"{folder}: weights are missing: {', '.join(missing[:3])}")
    attention.use(model)
    return model.eval()


def load_causal_lm(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Read a causal language model for training or sampling, dropout off.

    Raises:
        ModelError: the folder holds no causal language model.
    """
    model = _read_model(AutoModelForCausalLM, folder, "not a causal language model", dtype=dtype)
    _check_head(folder, model)
    return model


@torch.no_grad()
def _check_head(folder: Path, model: PreTrainedModel) -> None:
    """Log-probabilities are read as hidden states times the unembedding; some families scale or cap what comes out."""
    tokens = torch.arange(4)[None] % embedding_rows(model)
    hidden = backbone_of(model)(input_ids=tokens, use_cache=False).last_hidden_state
    ours = torch.nn.functional.linear(hidden, output_weight(model))
    theirs = model(input_ids=tokens, use_cache=False).logits
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max())):
        raise ModelError(
            f"{folder}: {type(model).__name__} scales or caps its logits, which is not supported"
        )


def check_tokenizer(folder: Path, model: PreTrainedModel, tokenizer: Any) -> None:
    """The model must have a row for every token of the tokenizer.

    Raises:
        ModelError: it has fewer: tokens were added to the tokenizer, and the model was not resized.
    """
    rows = embedding_rows(model)
    if len(tokenizer) > rows:
        raise ModelError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model {rows} embeddings; "
            "resize the model (resize_token_embeddings) and save it again"
        )


def embedding_rows(model: PreTrainedModel) -> int:
    """How many tokens the model can read."""
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.weight.shape[0])


def same_tokens(mine: PreTrainedTokenizerFast, theirs: PreTrainedTokenizerFast) -> bool:
    """Whether two tokenizers mean the same by their token ids."""
    return mine.eos_token_id == theirs.eos_token_id and mine.get_vocab() == theirs.get_vocab()


def check_same_tokens(folder: Path, *others: Path) -> None:
    """Models that pass token ids to one another must mean the same by them.

    Raises:
        ModelError: vocabularies or end tokens differ, or one pads with its end token.
    """
    mine = load_tokenizer(folder)
    for other in others:
        if not same_tokens(mine, load_tokenizer(other)):
            raise ModelError(
                f"{other} has another tokenizer than {folder}; token ids would mean different things: "
                "take models that were trained from one another"
            )


def load_scalar_model(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Read a model with one scalar output per sequence; the head is new where the folder holds a language model.

    Raises:
        ModelError: the architecture has no sequence-classification form, or it is one that cannot be read token by
            token: it sees what comes later, or its score is not one matrix times the last token's hidden state.
    """
    return checked_scalar_model(folder, load_classifier(folder, dtype))


def load_classifier(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Read a sequence-classification model with one label, causal or not.

    Raises:
        ModelError: the architecture has no such form, it has more labels, or the weights are not whole.
    """
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=folder.exists())
    except _UNREADABLE as error:
        raise ModelError(f"{folder}: cannot become a reward model ({_first_line(error)})") from None
    has_head = any(n.endswith("ForSequenceClassification") for n in config.architectures or [])
    if has_head and config.num_labels != 1:
        raise ModelError(
            f"{folder}: a classifier with {config.num_labels} labels; a reward model has one"
        )
    return _read_model(
        AutoModelForSequenceClassification,
        folder,
        "cannot become a reward model",
        new=() if has_head else ("score.", "classifier."),
        num_labels=1,
        dtype=dtype,
    )


@torch.no_grad()
def sees_later_tokens(model: PreTrainedModel) -> bool:
    """Whether what comes later changes a token's hidden state, as in BERT."""
    tokens = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]]) % embedding_rows(model)
    hidden = backbone_of(model)(input_ids=tokens).last_hidden_state
    return not torch.allclose(hidden[0, :3], hidden[1, :3], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def checked_scalar_model(folder: Path, model: PreTrainedModel) -> PreTrainedModel:
    """The model, if its score can be read as its head times the last token's hidden state.

    Raises:
        ModelError: as `load_scalar_model`.
    """
    if sees_later_tokens(model):
        raise ModelError(
            f"{folder}: {type(model).__name__} sees later tokens too, so it has no score of an unfinished answer; "
            "`alignloop reward report` can examine it, but it can neither be trained here nor used in RL"
        )
    tokens = torch.arange(4)[None] % embedding_rows(model)
    hidden = backbone_of(model)(input_ids=tokens, use_cache=False).last_hidden_state
    ours = scalar_head(model)(hidden[:, -1])
    # Without a pad token transformers reads the last position of a lone row; with one, the last that is not it.
    pad, model.config.pad_token_id = model.config.pad_token_id, None
    theirs = model(input_ids=tokens, use_cache=False).logits
    model.config.pad_token_id = pad
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max())):
        raise ModelError(
            f"{folder}: the score of {type(model).__name__} is not its head times the last token's hidden state, "
            "which is not supported"
        )
    return model


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    dtype: torch.dtype | None = None,
) -> None:
    """Write weights (safetensors), config and tokenizer; `dtype` converts a copy of the weights on the way.

    A model that is split over ranks has to be gathered.

    Raises:
        OSError: the disk is full, say.
    """
    try:
        model.save_pretrained(str(folder), state_dict=_weights(model, dtype))
        if dtype is not None and dtype != model.dtype:
            config = copy.deepcopy(model.config)
            config.dtype = dtype
            config.save_pretrained(str(folder))
    except SafetensorError as error:  # not an OSError, though a full disk is what it tells of
        raise OSError(str(error)) from None
    tokenizer.save_pretrained(str(folder))


@torch.no_grad()
def _weights(model: PreTrainedModel, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """Everything to save, in `dtype` if given. Of a model that is split over ranks `state_dict()` would be shards."""
    found: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                found[f"{prefix}.{name}" if prefix else name] = buffer
    # By identity, so that an embedding and a head that are one weight stay one.
    converted = {
        id(t): t.to(dtype) if dtype is not None and t.is_floating_point() else t
        for t in found.values()
    }
    return {name: converted[id(tensor)] for name, tensor in found.items()}


def context_length(model: PreTrainedModel) -> int:
    """Longest sequence that the model's positions reach."""
    return context_of(model.config)


def context_of(config: PreTrainedConfig) -> int:
    """The same by a model's config alone."""
    text = config.get_text_config()
    found = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None)
    return int(found) if found else 1 << 30


def attention_window(model: PreTrainedModel) -> int:
    """How far back a token sees: the context, or `sliding_window` of the config where that is less (Mistral, Gemma)."""
    found = getattr(model.config.get_text_config(), "sliding_window", None)
    return min(int(found or context_length(model)), context_length(model))


def backbone_of(model: PreTrainedModel) -> Callable[..., Any]:
    """The model without its head: tokens in, last hidden states out."""
    return getattr(model, _SHARDED_BACKBONE, model.base_model)


def sharded(model: PreTrainedModel, world: World) -> PreTrainedModel:
    """The model on this rank's device, its weights split over the ranks layer by layer.

    Raises:
        ConfigError: there are several ranks, and the model is an adapter on shared weights.
    """
    if world.size > 1 and not isinstance(model, PreTrainedModel):
        raise ConfigError(
            "adapters train on one rank so far: start without torchrun, or leave them out"
        )
    return world.sharded(model, decoder_layers(model), _SHARDED_BACKBONE)


def branches_of(layer: nn.Module) -> list[nn.Module]:
    """The attention and MLP modules of a decoder layer; empty where the module is none."""
    attention = getattr(layer, "self_attn", None) or getattr(layer, "attn", None)
    mlp = getattr(layer, "mlp", None)
    if isinstance(attention, nn.Module) and isinstance(mlp, nn.Module):
        return [attention, mlp]
    return []


def decoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder layers, first to last; empty where the architecture's are not known."""
    return [module for module in model.modules() if branches_of(module)]


def output_weight(model: PreTrainedModel) -> torch.Tensor:
    """The unembedding matrix [V, D].

    Raises:
        ModelError: the head is more than one matrix, so log-probabilities cannot be read from hidden states.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.bias is not None:
        raise ModelError(
            f"{type(model).__name__}: a plain linear output head without bias is needed"
        )
    return head.weight


def scalar_head(model: PreTrainedModel) -> nn.Linear:
    """The one-output head of a scalar model."""
    for name in ("score", "classifier"):
        head = getattr(model, name, None)
        if isinstance(head, nn.Linear) and head.out_features == 1:
            return head
    raise ModelError(f"{type(model).__name__}: no linear head with one output")


def token_id(value: Any) -> int:
    """A tokenizer's special token id, which transformers types as almost anything."""
    return int(value)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
