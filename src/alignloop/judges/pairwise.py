"""Blind pairwise comparison: judges who see two texts in a hidden order, and their verdicts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from alignloop.data.records import Prompt
from alignloop.errors import DataError
from alignloop.judges.criteria import CRITERIA, Criterion
from alignloop.judges.intervals import RESAMPLES, Estimate, Floats, win_rate
from alignloop.judges.lexicon import Lexicon


class Judge(Protocol):
    """Whoever says which of two texts is better: gold, a simulated labeler, scores of a model, a person."""

    @property
    def name(self) -> str:
        """How the judge is called in reports."""
        ...

    def prefer(self, prompt: Prompt, a: str, b: str) -> float:
        """1 where `a` is better, 0 where `b` is, 1/2 where neither is."""
        ...


@dataclass(frozen=True, slots=True)
class ScoreJudge:
    """A judge made of scores computed beforehand (by a language model, say): the higher wins."""

    name: str
    scores: Mapping[tuple[str, str], float]
    """(prompt id, text) -> score."""

    def prefer(self, prompt: Prompt, a: str, b: str) -> float:
        """1, 1/2 or 0 by the scores.

        Raises:
            DataError: a text has no score.
        """
        ours, theirs = self._score(prompt, a), self._score(prompt, b)
        return 0.5 if ours == theirs else float(ours > theirs)  # compared, as both may be -infinity

    def _score(self, prompt: Prompt, text: str) -> float:
        try:
            return self.scores[prompt.id, text]
        except KeyError:
            raise DataError(
                f"judge '{self.name}' has no score for {text[:40]!r} under prompt {prompt.id}"
            ) from None


def compare(
    judge: Judge, prompts: Sequence[Prompt], a: Sequence[str], b: Sequence[str], *, seed: int
) -> Floats:
    """One verdict per prompt, from the view of `a`: 1 won, 1/2 tie, 0 lost.

    Which text is shown first is drawn by a hash of the seed and the prompt id, so a judge who
    favours a place favours neither side.

    Raises:
        ValueError: not one text of each side per prompt.
    """
    if not len(prompts) == len(a) == len(b):
        raise ValueError(f"{len(prompts)} prompts, but {len(a)} and {len(b)} texts")
    verdicts = [
        judge.prefer(prompt, own, other)
        if shows_a_first(prompt.id, seed)
        else 1.0 - judge.prefer(prompt, other, own)
        for prompt, own, other in zip(prompts, a, b, strict=True)
    ]
    return np.array(verdicts, dtype=np.float64)


def shows_a_first(prompt_id: str, seed: int) -> bool:
    """Whether the judge sees the text of side `a` first."""
    return hashlib.sha256(f"order/{seed}/{prompt_id}".encode()).digest()[0] % 2 == 0


def compare_by_criterion(
    lexicon: Lexicon,
    prompts: Sequence[Prompt],
    a: Sequence[str],
    b: Sequence[str],
    *,
    criteria: Mapping[str, Criterion] = CRITERIA,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Win rate of `a` by each criterion alone (ties, which are many, count one half).

    Raises:
        ValueError: there are no prompts, or not one text of each side per prompt.
    """
    rates: dict[str, Estimate] = {}
    for name, criterion in criteria.items():
        margins = [
            criterion(prompt, own, lexicon) - criterion(prompt, other, lexicon)
            for prompt, own, other in zip(prompts, a, b, strict=True)
        ]
        outcomes = 0.5 + 0.5 * np.sign(np.array(margins))
        rates[name] = win_rate(outcomes, seed=seed, resamples=resamples)
    return rates
