"""How likely a model finds the tokens of a text, and which it would have found likelier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from alignloop.models.loading import backbone_of, output_weight
from alignloop.tensors import CHUNK_POSITIONS


@dataclass(frozen=True, slots=True)
class TokenLikelihood:
    """One token of a text, given those before it."""

    log_prob: float
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens there with their log-probabilities, falling."""


@torch.no_grad()
def token_likelihoods(
    model: PreTrainedModel, tokens: Sequence[int], top: int
) -> list[TokenLikelihood]:
    """Of every token but the first, which has nothing before it.

    Args:
        top: how many of the likeliest tokens are told at each place.
    """
    if len(tokens) < 2:
        return []
    weight = output_weight(model)
    given = torch.tensor(tokens, device=weight.device)
    hidden = backbone_of(model)(input_ids=given[None, :-1], use_cache=False).last_hidden_state[0]
    return list(_read(hidden, weight, given[1:], min(top, len(weight))))


def _read(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, top: int
) -> Iterator[TokenLikelihood]:
    """A chunk of positions at a time, so that [T, V] is never whole."""
    for at in range(0, len(targets), CHUNK_POSITIONS):
        chunk = slice(at, at + CHUNK_POSITIONS)
        logits = torch.nn.functional.linear(hidden[chunk].float(), weight.float())
        log_probs = logits.log_softmax(dim=1)
        own = log_probs.gather(1, targets[chunk][:, None])[:, 0].tolist()
        best = log_probs.topk(top, dim=1)
        for log_prob, names, values in zip(
            own, best.indices.tolist(), best.values.tolist(), strict=True
        ):
            yield TokenLikelihood(log_prob, tuple(zip(names, values, strict=True)))
