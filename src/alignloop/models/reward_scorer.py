"""Scores of answers by any reward model: ours, or one that plain transformers saved, causal or an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from alignloop.data.formatter import Formatter
from alignloop.data.records import Completion, Prompt
from alignloop.errors import DataError
from alignloop.models.encoder import EncoderReward
from alignloop.models.loading import (
    check_tokenizer,
    checked_scalar_model,
    load_classifier,
    load_tokenizer,
    same_tokens,
    sees_later_tokens,
)
from alignloop.models.reward_model import ScalarModel, reward_scores


class RewardScorer:
    """A reward model that scores finished answers: a causal one at the last token, an encoder from prompt and text."""

    def __init__(self, folder: Path) -> None:
        """Read the model in a folder.

        Raises:
            ModelError: the folder holds no reward model.
        """
        classifier = load_classifier(folder)
        self._encoder = EncoderReward(classifier, folder) if sees_later_tokens(classifier) else None
        if self._encoder is None:
            self._causal = ScalarModel(checked_scalar_model(folder, classifier)).eval()
            # Lengths say where a row ends, so here padding may be anything.
            tokenizer = load_tokenizer(folder, may_pad_with_end=True)
            check_tokenizer(folder, self._causal.model, tokenizer)
            self._formatter = Formatter.of(tokenizer)

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        """One score per prompt and completion, which is read as it was drawn where its tokens mean the same here.

        Raises:
            DataError: a completion is empty or does not fit the context.
        """
        if self._encoder is not None:
            said = [prompt.transcript for prompt in prompts]
            return self._encoder.scores(said, [one.text for one in completions])
        responses = [
            self._response(prompt, one) for prompt, one in zip(prompts, completions, strict=True)
        ]
        return reward_scores(self._causal, self._formatter, prompts, responses)

    def scores_of_drawn(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        tokenizer: PreTrainedTokenizerFast,
    ) -> list[float]:
        """One score per completion of a policy with this tokenizer: by its very tokens where it is ours as well."""
        if self._encoder is None and same_tokens(self._formatter.tokenizer, tokenizer):
            tokens = [list(one.token_ids) for one in completions]
            return reward_scores(self._causal, self._formatter, prompts, tokens)
        return self.scores(prompts, completions)

    def sizes(self, prompt: Prompt, completions: Sequence[Completion]) -> tuple[int, int]:
        """How many tokens the prompt has, and all completions together, as this model reads them.

        Raises:
            DataError: a completion is empty.
        """
        if self._encoder is not None:
            return (
                self._encoder.size(prompt.transcript),
                sum(self._encoder.size(one.text) for one in completions),
            )
        said = len(self._formatter.prompt(prompt))
        return said, sum(len(self._response(prompt, one)) for one in completions)

    def _response(self, prompt: Prompt, completion: Completion) -> list[int]:
        try:
            return self._formatter.completion(completion)
        except DataError as error:
            raise DataError(f"an answer to prompt '{prompt.id}': {error}") from None
