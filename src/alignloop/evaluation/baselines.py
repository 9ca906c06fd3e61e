"""What a reward model has to beat: "the longer one is better", and a bag of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from alignloop.data import text as prose
from alignloop.data.records import Completion, Prompt, Ranking

Scorer = Callable[[Prompt, Completion], float]
"""(prompt, completion) -> score; higher is better."""


def longer_wins(_prompt: Prompt, completion: Completion) -> float:
    """Length in tokens."""
    return float(completion.tokens)


def bag_of_words(train: Sequence[Ranking], valid: Sequence[Ranking]) -> Scorer:
    """Logistic regression on word-count differences of all train pairs; its L2 strength is chosen on `valid`."""
    counts = Counter(
        word
        for r in train
        for completion in r.completions
        for word in set(prose.words(completion.text))
    )
    index = {word: i for i, (word, count) in enumerate(sorted(counts.items())) if count >= 3}
    index = {word: i for i, word in enumerate(index)}

    def features(rankings: Sequence[Ranking]) -> tuple[np.ndarray, np.ndarray]:
        rows = np.zeros(
            (sum(len(r.completions) for r in rankings), len(index) + 1), dtype=np.float64
        )
        pairs: list[tuple[int, int]] = []
        offset = 0
        for ranking in rankings:
            for i, completion in enumerate(ranking.completions):
                rows[offset + i] = vector(completion)
            pairs += [(offset + better, offset + worse) for better, worse in ranking.pairs()]
            offset += len(ranking.completions)
        return rows, np.array(pairs)

    def vector(completion: Completion) -> np.ndarray:
        row = np.zeros(len(index) + 1)
        for word in prose.words(completion.text):
            if word in index:
                row[index[word]] += 1
        row[-1] = float(completion.finished)
        return row

    rows, pairs = features(train)
    valid_rows, valid_pairs = features(valid)
    best, best_accuracy = np.zeros(rows.shape[1]), -1.0
    for strength in (0.001, 0.01, 0.1):
        weights = _logistic(rows, pairs, strength)
        accuracy = float(np.mean((valid_rows @ weights)[valid_pairs] @ np.array([1, -1]) > 0))
        if accuracy > best_accuracy:
            best, best_accuracy = weights, accuracy
    return lambda _prompt, completion: float(vector(completion) @ best)


def _logistic(rows: np.ndarray, pairs: np.ndarray, strength: float) -> np.ndarray:
    """`minimise` for scores that are one dense row of features each, times the weights."""
    matrix = torch.from_numpy(rows)
    return minimise(lambda weights: matrix @ weights, rows.shape[1], pairs, strength)


def minimise(
    scores_of: Callable[[torch.Tensor], torch.Tensor], size: int, pairs: np.ndarray, strength: float
) -> np.ndarray:
    """Minimise mean -log sigmoid(margin) + strength * |w|^2: convex, and brought to its minimum by L-BFGS.

    Args:
        scores_of: the scores of all texts, linear in the weights.
        size: number of weights.
        pairs: indices (preferred, other) into the scores.
    """
    preferred, other = torch.from_numpy(pairs).T
    weights = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=200, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        scores = scores_of(weights)
        loss = (
            F.softplus(scores[other] - scores[preferred]).mean() + strength * weights.square().sum()
        )
        loss.backward()
        return loss

    optimizer.step(objective)
    return weights.detach().numpy()


def accuracy(
    score: Scorer, rankings: Sequence[Ranking], *, length_matched: bool = False
) -> float | None:
    """Share of pairs whose preferred completion scores higher, equal scores one half; None where there are no pairs.

    Args:
        length_matched: keep pairs whose lengths in tokens differ by at most a tenth of the longer one.
    """
    right, total = 0.0, 0
    for ranking in rankings:
        scores = [score(ranking.prompt, completion) for completion in ranking.completions]
        for better, worse in ranking.pairs():
            sizes = ranking.completions[better].tokens, ranking.completions[worse].tokens
            if length_matched and abs(sizes[0] - sizes[1]) > 0.1 * max(sizes):
                continue
            right += (
                1.0 if scores[better] > scores[worse] else 0.5 * (scores[better] == scores[worse])
            )
            total += 1
    return right / total if total else None
