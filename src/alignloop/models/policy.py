"""Log-probabilities of given responses under a language model."""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

from alignloop.data.batches import Ragged
from alignloop.models.loading import backbone_of, output_weight
from alignloop.models.packing import PackedRow, packed_hidden_states
from alignloop.tensors import token_log_probs


def response_log_probs(model: PreTrainedModel, batch: Ragged, temperature: float = 1.0) -> Tensor:
    """[B, T]: log p(token t | tokens before t) at response tokens, EOS included; zeros elsewhere.

    Logits exist at response positions alone. Right padding needs no attention mask: no real token sees it.
    """
    return log_probs_at(model, batch, batch.is_response(), temperature)


def block_log_probs(model: PreTrainedModel, blocks: Tensor) -> Tensor:
    """[N * width]: log-probabilities of every next token in packed blocks [N, width + 1], inputs and targets in one."""
    hidden = backbone_of(model)(input_ids=blocks[:, :-1], use_cache=False).last_hidden_state
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
        hidden = backbone_of(model)(input_ids=batch.tokens, use_cache=False).last_hidden_state
    row, position = is_wanted.nonzero(as_tuple=True)
    log_probs = token_log_probs(
        hidden[row, position - 1], output_weight(model), batch.tokens[row, position], temperature
    )
    return log_probs.new_zeros(batch.tokens.shape).index_put((row, position), log_probs)
