"""Every compared model answers the same prompts, with the same sampling settings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from alignloop.data.batches import Ragged, micro_batches
from alignloop.data.formatter import Formatter, encode_plain
from alignloop.data.records import Prompt
from alignloop.errors import DataError
from alignloop.evaluation.outcome import Answer
from alignloop.generation.engine import SamplingConfig, completion_of
from alignloop.generation.native import NativeEngine
from alignloop.models.loading import context_length
from alignloop.models.policy import response_log_probs
from alignloop.models.reward_model import ScalarModel
from alignloop.progress import progress
from alignloop.seeds import derive_seed
from alignloop.tensors import row_sums

_BUDGET = 8192


def answer(
    model: PreTrainedModel,
    formatter: Formatter,
    prompts: Sequence[Prompt],
    sampling: SamplingConfig,
    seed: int,
    name: str,
    *,
    copies: int = 1,
    template: str | None = None,
) -> list[list[Answer]]:
    """`copies` answers to each prompt.

    Args:
        template: how to ask a model that knows no instructions: `{prompt}` and `{context}` are filled in.
    """
    if template is None:
        encoded = formatter.prompts(prompts)
    else:
        room = context_length(model) - sampling.max_new_tokens
        encoded = [
            encode_plain(
                formatter.tokenizer, template.format(prompt=p.transcript, context=p.context)
            )[-room:]
            for p in prompts
        ]
    rows = [i for i in range(len(prompts)) for _ in range(copies)]
    seeds = [
        derive_seed(seed, "answer", name, prompts[i].id, n % copies) for n, i in enumerate(rows)
    ]
    with progress(len(rows), f"answers of {name}", "answer") as bar:
        drawn = NativeEngine(model, formatter.end).generate(
            [encoded[i] for i in rows], seeds, sampling, bar.update
        )
    answers = [
        Answer(completion_of(response, formatter, name), math.fsum(response.log_probs))
        for response in drawn
    ]
    return [answers[at : at + copies] for at in range(0, len(rows), copies)]


@torch.no_grad()
def reward_scores(
    scorer: ScalarModel,
    formatter: Formatter,
    prompts: Sequence[Prompt],
    responses: Sequence[Sequence[int]],
) -> list[float]:
    """Reward-model score of each (prompt, response tokens).

    Raises:
        DataError: one of them does not fit the reward model's context.
    """
    encoded = formatter.prompts(prompts)
    longest = max((len(p) + len(r) for p, r in zip(encoded, responses, strict=True)), default=0)
    if longest > context_length(scorer.model):
        raise DataError(
            f"a prompt and its answer have {longest} tokens; the reward model's context is "
            f"{context_length(scorer.model)}"
        )
    scores = [0.0] * len(prompts)
    for group in _groups(encoded, responses):
        batch = Ragged.of([encoded[i] for i in group], [responses[i] for i in group], formatter.pad)
        for i, score in zip(group, scorer.scores(batch).tolist(), strict=True):
            scores[i] = score
    return scores


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
    return _sums(model, encoded, responses, formatter.pad, temperature)


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
    totals = _sums(model, contexts, continuations, formatter.pad)
    return [
        total / len(tokens) if text else float("-inf")
        for total, tokens, text in zip(totals, continuations, texts, strict=True)
    ]


def _sums(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    pad: int,
    temperature: float = 1.0,
) -> list[float]:
    sums = [0.0] * len(prompts)
    for group in _groups(prompts, responses):
        batch = Ragged.of([prompts[i] for i in group], [responses[i] for i in group], pad)
        totals = row_sums(response_log_probs(model, batch, temperature), batch.is_response())
        for i, total in zip(group, totals.tolist(), strict=True):
            sums[i] = total
    return sums


def _groups(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> list[list[int]]:
    return micro_batches(
        [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)], _BUDGET
    )
