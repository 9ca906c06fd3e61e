"""A bag of words and bigrams that learned from the same rankings: what can be had without reading in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from alignloop.data import text as prose
from alignloop.data.records import Completion, Prompt, Ranking
from alignloop.errors import DataError
from alignloop.evaluation.baselines import accuracy, minimise

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""L2 strengths that validation chooses from."""
LEAST_TEXTS = 3
"""A word or bigram of fewer answers of the train side has no weight."""


@dataclass(frozen=True, slots=True)
class Bigrams:
    """A fitted model; the prompt has no part in its score."""

    weights: Mapping[str, float]
    strength: float

    def __call__(self, _prompt: Prompt, completion: Completion) -> float:
        counts = counted(completion.text)
        return float(sum(count * self.weights.get(name, 0.0) for name, count in counts.items()))


def counted(text: str) -> Counter[str]:
    """How often each lower-case word and each pair of neighbouring words stands in a text."""
    words = prose.words(text)
    return Counter([*words, *(f"{a} {b}" for a, b in pairwise(words))])


def bag_of_bigrams(
    train: Sequence[Ranking],
    valid: Sequence[Ranking],
    strengths: Sequence[float] = STRENGTHS,
    least_texts: int = LEAST_TEXTS,
) -> Bigrams:
    """Logistic regression on count differences of all train pairs; the strength that is best on `valid` (the first).

    Several rankings of the same answers, by several labelers, count as often as they come.

    Raises:
        DataError: no word or bigram is frequent enough.
    """
    bags = [[counted(c.text) for c in ranking.completions] for ranking in train]
    # A text that three people ranked is one text.
    texts = {c.text for ranking in train for c in ranking.completions}
    seen = Counter(name for text in sorted(texts) for name in counted(text))
    names = sorted(name for name, count in seen.items() if count >= least_texts)
    if not names:
        raise DataError(
            f"no word stands in {least_texts} answers of {len(train)} rankings: there is nothing to count"
        )
    index = {name: at for at, name in enumerate(names)}
    ids: list[int] = []
    counts: list[float] = []
    offsets: list[int] = []
    pairs: list[tuple[int, int]] = []
    for ranking, own in zip(train, bags, strict=True):
        start = len(offsets)
        pairs += [(start + better, start + worse) for better, worse in ranking.pairs()]
        for bag in own:
            offsets.append(len(ids))
            known = [(index[name], float(count)) for name, count in bag.items() if name in index]
            ids += [at for at, _ in known]
            counts += [count for _, count in known]
    places, starts = torch.tensor(ids, dtype=torch.long), torch.tensor(offsets, dtype=torch.long)
    times = torch.tensor(counts, dtype=torch.float64)

    def scores_of(weights: torch.Tensor) -> torch.Tensor:
        table = weights[:, None]
        bagged = F.embedding_bag(places, table, starts, mode="sum", per_sample_weights=times)
        return bagged[:, 0]

    fitted = [
        Bigrams(
            dict(
                zip(
                    names,
                    minimise(scores_of, len(names), np.array(pairs), strength).tolist(),
                    strict=True,
                )
            ),
            strength,
        )
        for strength in strengths
    ]
    return max(fitted, key=lambda one: accuracy(one, valid) or 0.0)
