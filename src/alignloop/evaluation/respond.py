"""What a model makes of given answers: their log-probabilities, as responses or as plain prose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from alignloop.data.batches import read_together
from alignloop.data.formatter import Formatter, encode_plain
from alignloop.data.records import Prompt
from alignloop.models.loading import context_length
from alignloop.models.policy import forest_log_probs


@torch.no_grad()
def sequence_log_probs(
    model: PreTrainedModel,
    formatter: Formatter,
    prompts: Sequence[Prompt],
    responses: Sequence[Sequence[int]],
    temperature: float,
) -> list[float]:
    """Summed log-probability of each response, with the logits divided by `temperature`."""
    encoded = formatter.prompts(prompts)
    return _sums(model, encoded, responses, temperature)


@torch.no_grad()
def story_likelihood(
    model: PreTrainedModel, formatter: Formatter, prompts: Sequence[Prompt], texts: Sequence[str]
) -> list[float]:
    """Mean log-probability per token of each text as a continuation of its prompt's context, as plain prose.

    This is the outside judge's eye: it sees no instruction and no end token, and an empty text gets -infinity.
    """
    room = context_length(model)
    contexts, continuations = [], []
    for prompt, text in zip(prompts, texts, strict=True):
        continuation = encode_plain(formatter.tokenizer, " " + text)[: room // 2]
        contexts.append(
            [formatter.end, *encode_plain(formatter.tokenizer, prompt.context)][-(room // 2) :]
        )
        continuations.append(continuation if text else [formatter.end])
    totals = _sums(model, contexts, continuations)
    return [
        total / len(tokens) if text else float("-inf")
        for total, tokens, text in zip(totals, continuations, texts, strict=True)
    ]


def _sums(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    temperature: float = 1.0,
) -> list[float]:
    return read_together(prompts, responses, lambda one: forest_log_probs(model, one, temperature))
