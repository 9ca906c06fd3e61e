"""Log-probabilities of given responses under a language model, and its KL to another one."""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

from alignloop.data.batches import Forest, Ragged
from alignloop.models.compilation import is_filled
from alignloop.models.loading import backbone_of, output_weight
from alignloop.models.packing import (
    PackedRow,
    forest_hidden_states,
    packed_hidden_states,
    ragged_hidden_states,
)
from alignloop.tensors import token_kl, token_log_probs


def response_log_probs(model: PreTrainedModel, batch: Ragged, temperature: float = 1.0) -> Tensor:
    """[B, T]: log p(token t | tokens before t) at response tokens, EOS included; zeros elsewhere.

    Logits exist at response positions alone. Right padding needs no attention mask: no real token sees it.
    """
    return log_probs_at(model, batch, batch.is_response(), temperature)


def response_kl(
    model: PreTrainedModel, reference: PreTrainedModel, batch: Ragged, temperature: float = 1.0
) -> Tensor:
    """[B, T]: exact KL(model || reference) of what response token t could have been; zeros elsewhere."""
    row, position = batch.is_response().nonzero(as_tuple=True)
    states, others = (hidden_states(m, batch)[row, position - 1] for m in (model, reference))
    kl = token_kl(states, output_weight(model), others, output_weight(reference), temperature)
    return kl.new_zeros(batch.tokens.shape).index_put((row, position), kl)


def forest_log_probs(model: PreTrainedModel, forest: Forest, temperature: float = 1.0) -> Tensor:
    """[C]: log-probability of every response of a forest, its tokens' summed; a prompt is read once for all its own."""
    hidden = forest_hidden_states(model, forest)[0]
    log_probs = token_log_probs(
        hidden[forest.before_position],
        output_weight(model),
        forest.tokens[0, forest.token_position],
        temperature,
    )
    return log_probs.new_zeros(len(forest.last_position)).index_add(
        0, forest.response_of_token, log_probs
    )


def block_log_probs(model: PreTrainedModel, blocks: Tensor) -> Tensor:
    """[N * width]: log-probabilities of every next token in packed blocks [N, width + 1], inputs and targets in one."""
    hidden = hidden_states(model, Ragged.whole(blocks[:, :-1]))
    return token_log_probs(hidden.flatten(0, 1), output_weight(model), blocks[:, 1:].flatten())


def log_probs_at(
    model: PreTrainedModel, batch: Ragged | PackedRow, is_wanted: Tensor, temperature: float = 1.0
) -> Tensor:
    """[B, T]: log-probabilities of the wanted tokens; zeros elsewhere.

    The first token of a row, or of a sequence in a packed row, cannot be wanted.
    """
    if isinstance(batch, PackedRow):
        hidden = packed_hidden_states(model, batch)
    else:
        hidden = hidden_states(model, batch)
    return log_probs_of(hidden, model, batch, is_wanted, temperature)


def log_probs_of(
    hidden: Tensor,
    model: PreTrainedModel,
    batch: Ragged | PackedRow,
    is_wanted: Tensor,
    temperature: float,
) -> Tensor:
    """`log_probs_at` from the trunk's hidden states [B, T, D]."""
    row, position = is_wanted.nonzero(as_tuple=True)
    log_probs = token_log_probs(
        hidden[row, position - 1], output_weight(model), batch.tokens[row, position], temperature
    )
    return log_probs.new_zeros(batch.tokens.shape).index_put((row, position), log_probs)


def hidden_states(model: PreTrainedModel, batch: Ragged) -> Tensor:
    """[B, T, D]: the trunk's last hidden states."""
    if is_filled(model):
        return ragged_hidden_states(model, batch)
    return backbone_of(model)(input_ids=batch.tokens, use_cache=False).last_hidden_state
