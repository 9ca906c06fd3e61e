"""Scores of rankings: of every completion, by any reward model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignloop.data.records import Ranking
from alignloop.models.reward_scorer import RewardScorer


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
