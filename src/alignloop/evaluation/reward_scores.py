"""Scores of rankings by any reward model: ours, or one that plain transformers saved, causal or an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignloop.data.formatter import Formatter
from alignloop.data.records import Ranking
from alignloop.errors import DataError
from alignloop.models.encoder import EncoderReward
from alignloop.models.loading import (
    check_tokenizer,
    checked_scalar_model,
    load_classifier,
    load_tokenizer,
    sees_later_tokens,
)
from alignloop.models.reward_model import ScalarModel, reward_scores


def score_rankings(folder: Path, rankings: Sequence[Ranking]) -> list[list[float]]:
    """One score per completion. A causal model reads what was drawn, at the last token; an encoder reads texts.

    Raises:
        ModelError: the folder holds no reward model.
        DataError: a completion is empty or does not fit the context.
    """
    rows = [(ranking, completion) for ranking in rankings for completion in ranking.completions]
    classifier = load_classifier(folder)
    if sees_later_tokens(classifier):
        encoder = EncoderReward(classifier, folder)
        flat = encoder.scores([r.prompt.text for r, _ in rows], [c.text for _, c in rows])
    else:
        scorer = ScalarModel(checked_scalar_model(folder, classifier)).eval()
        tokenizer = load_tokenizer(folder)
        check_tokenizer(folder, scorer.model, tokenizer)
        formatter = Formatter.of(tokenizer)
        responses: list[list[int]] = []
        for ranking, completion in rows:
            try:
                responses.append(formatter.completion(completion))
            except DataError as error:
                raise DataError(f"ranking of prompt '{ranking.prompt.id}': {error}") from None
        flat = reward_scores(scorer, formatter, [r.prompt for r, _ in rows], responses)
    remaining = iter(flat)
    return [[next(remaining) for _ in ranking.completions] for ranking in rankings]
