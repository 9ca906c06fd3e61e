"""Reward models that read the whole text at once, BERT and its kin: they score finished answers, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedModel

from alignloop.data.batches import micro_batches
from alignloop.errors import DataError, ModelError
from alignloop.models.loading import context_length

_BUDGET = 8192


class EncoderReward:
    """A sequence-classification encoder with one label. It gets prompt and answer as its tokenizer joins two texts."""

    def __init__(self, model: PreTrainedModel, folder: Path) -> None:
        self.model = model
        self.tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        if self.tokenizer.pad_token_id is None:
            raise ModelError(f"{folder}: the tokenizer of an encoder needs a pad token")
        self.context = min(context_length(model), self.tokenizer.model_max_length)

    def size(self, text: str) -> int:
        """How many tokens a text by itself has, without the marks of its ends."""
        rows = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return len(rows["input_ids"])

    @torch.no_grad()
    def scores(self, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        """The model's own logit for each pair of texts.

        Raises:
            DataError: one of them does not fit the context; nothing is cut off.
        """
        rows = self.tokenizer(list(prompts), list(answers), split_special_tokens=True)
        lengths = [len(ids) for ids in rows["input_ids"]]
        if lengths and max(lengths) > self.context:
            raise DataError(
                f"a prompt and its answer have {max(lengths)} tokens; the encoder's context is {self.context}"
            )
        found = [0.0] * len(lengths)
        for group in micro_batches(lengths, _BUDGET):
            batch = self.tokenizer.pad(
                {key: [values[i] for i in group] for key, values in rows.items()},
                padding_side="right",
                return_tensors="pt",
            )
            for i, score in zip(group, self.model(**batch).logits[:, 0].tolist(), strict=True):
                found[i] = score
        return found
