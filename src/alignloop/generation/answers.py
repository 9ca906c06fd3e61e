"""One model answers many prompts, several times each if asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from alignloop.data.formatter import Formatter, encode_plain
from alignloop.data.records import Completion, Prompt
from alignloop.generation.engine import SamplingConfig, completion_of
from alignloop.generation.native import NativeEngine
from alignloop.models.loading import context_length
from alignloop.progress import progress
from alignloop.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer and its log-probability."""

    completion: Completion
    log_prob: float
    """Of all tokens together under the model that drew them, at the temperature of the draw."""

    @property
    def tokens(self) -> list[int]:
        """The tokens as they were drawn."""
        return list(self.completion.token_ids)


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
