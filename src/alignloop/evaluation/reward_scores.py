"""Scores of answers by any reward model: ours, or one that plain transformers saved, causal or an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from alignloop.data.formatter import Formatter
from alignloop.data.records import Completion, Prompt, Ranking
from alignloop.errors import DataError
from alignloop.generation.answers import Answer
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
        responses: list[list[int]] = []
        for prompt, completion in zip(prompts, completions, strict=True):
            try:
                responses.append(self._formatter.completion(completion))
            except DataError as error:
                raise DataError(f"an answer to prompt '{prompt.id}': {error}") from None
        return reward_scores(self._causal, self._formatter, prompts, responses)

    def scores_of_drawn(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[Answer],
        tokenizer: PreTrainedTokenizerFast,
    ) -> list[float]:
        """One score per answer that a policy with this tokenizer drew: by its very tokens where it is ours as well."""
        if self._encoder is None and same_tokens(self._formatter.tokenizer, tokenizer):
            tokens = [one.tokens for one in answers]
            return reward_scores(self._causal, self._formatter, prompts, tokens)
        return self.scores(prompts, [one.completion for one in answers])


def score_rankings(folder: Path, rankings: Sequence[Ranking]) -> list[list[float]]:
    """One score per completion of each ranking.

    Raises:
        ModelError: the folder holds no reward model.
        DataError: a completion is empty or does not fit the context.
    """
    rows = [(ranking.prompt, one) for ranking in rankings for one in ranking.completions]
    flat = RewardScorer(folder).scores([p for p, _ in rows], [one for _, one in rows])
    remaining = iter(flat)
    return [[next(remaining) for _ in ranking.completions] for ranking in rankings]
