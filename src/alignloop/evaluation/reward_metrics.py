"""What a reward model's scores say of rankings: how often they agree, how surely, where not. Torch-free.

Scores are one number per completion, in the order of the rankings and of their completions. Ties are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from alignloop.data.pairs import pairs_of
from alignloop.data.records import Ranking

Scores = Sequence[Sequence[float]]
"""Per ranking, per completion."""

LENGTH_STEPS = (0.1, 0.25, 0.5)
"""Bounds of the buckets of length difference, as shares of the longer answer."""


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A pair that a labeler ordered, with what the scores say of it."""

    row: int
    """Number of the ranking that it belongs to."""
    ranking: Ranking
    preferred: int
    other: int
    gap: int
    """How many ranks they are apart."""
    ahead: float
    """Score of the preferred completion less that of the other: above 0, the scores agree with the labeler."""

    @property
    def right(self) -> float:
        """1 where the scores agree, 0 where not, one half for equal scores."""
        return agreement(self.ahead)

    @property
    def loss(self) -> float:
        """-log sigmoid of the difference, in nats."""
        return max(-self.ahead, 0.0) + math.log1p(math.exp(-abs(self.ahead)))

    @property
    def tokens(self) -> tuple[int, int]:
        """Lengths of the preferred and the other completion."""
        completions = self.ranking.completions
        return completions[self.preferred].tokens, completions[self.other].tokens

    @property
    def length_difference(self) -> float:
        """Share of the longer completion by which the other is shorter."""
        return abs(self.tokens[0] - self.tokens[1]) / max(*self.tokens, 1)


def agreement(ahead: float) -> float:
    """1 where a difference is above 0, one half where it is 0, else 0."""
    return 1.0 if ahead > 0 else 0.5 * (ahead == 0)


def judged_pairs(rankings: Sequence[Ranking], scores: Scores) -> list[JudgedPair]:
    """Every pair that is not a tie."""
    return [
        JudgedPair(
            row,
            ranking,
            pair.preferred,
            pair.other,
            pair.gap,
            own[pair.preferred] - own[pair.other],
        )
        for row, (ranking, own) in enumerate(zip(rankings, scores, strict=True))
        for pair in pairs_of(ranking.ranks)
        if pair.is_ordered
    ]


def reward_metrics(pairs: Sequence[JudgedPair]) -> dict[str, Any]:
    """All figures of one set of pairs, and of its parts: by K, by rank gap, by length difference, by labeler."""
    return {
        **summary(pairs),
        "standard_error": standard_error(pairs),
        "eq_1": _eq_1(pairs),
        "by_k": _by(pairs, lambda pair: len(pair.ranking.ranks)),
        "by_rank_gap": _by(pairs, lambda pair: pair.gap),
        "by_length_difference": {
            _bucket_name(int(number)): row
            for number, row in _by(pairs, lambda pair: _bucket(pair.length_difference)).items()
        },
        "by_labeler": _by(pairs, lambda pair: pair.ranking.labeler),
        "calibration": calibration(pair.ahead for pair in pairs),
    }


def summary(pairs: Sequence[JudgedPair]) -> dict[str, Any]:
    """Accuracy and log loss, beside what "the longer one is better" gets right on the same pairs."""
    longer = [agreement(pair.tokens[0] - pair.tokens[1]) for pair in pairs]
    return {
        "pairs": len(pairs),
        "accuracy": math.fsum(pair.right for pair in pairs) / len(pairs),
        "log_loss": math.fsum(pair.loss for pair in pairs) / len(pairs),
        "longer_wins": math.fsum(longer) / len(pairs),
    }


def standard_error(pairs: Sequence[JudgedPair]) -> float:
    """Of the accuracy, with whole rankings as the units: pairs of one ranking are not independent."""
    accuracy = math.fsum(pair.right for pair in pairs) / len(pairs)
    rows: dict[int, list[float]] = {}
    for pair in pairs:
        rows.setdefault(pair.row, []).append(pair.right - accuracy)
    return math.sqrt(math.fsum(math.fsum(row) ** 2 for row in rows.values())) / len(pairs)


def calibration(differences: Iterable[float]) -> list[dict[str, float]]:
    """Predicted against observed share of preferences, in ten bins of the model's own confidence (0.5 to 1)."""
    bins: list[list[tuple[float, float]]] = [[] for _ in range(10)]
    for ahead in differences:
        confidence = 1 / (1 + math.exp(-abs(ahead)))
        bins[min(int((confidence - 0.5) * 20), 9)].append((confidence, agreement(ahead)))
    return [
        {
            "predicted": math.fsum(c for c, _ in found) / len(found),
            "observed": math.fsum(o for _, o in found) / len(found),
            "pairs": len(found),
        }
        for found in bins
        if found
    ]


def violated_pairs(pairs: Sequence[JudgedPair], scores: Scores, most: int) -> list[dict[str, Any]]:
    """The pairs that the scores get most wrong, the worst first, one per ranking so that none fills the list."""
    worst: dict[int, JudgedPair] = {}
    for pair in pairs:
        if pair.ahead < worst.get(pair.row, pair).ahead or pair.row not in worst:
            worst[pair.row] = pair
    found = sorted((p for p in worst.values() if p.ahead < 0), key=lambda p: (p.ahead, p.row))
    return [
        {
            "prompt_id": pair.ranking.prompt.id,
            "prompt": pair.ranking.prompt.transcript,
            "labeler": pair.ranking.labeler,
            "rank_gap": pair.gap,
            **{
                side: {
                    "text": pair.ranking.completions[at].text,
                    "rank": pair.ranking.ranks[at],
                    "score": scores[pair.row][at],
                    "tokens": pair.ranking.completions[at].tokens,
                }
                for side, at in (("preferred", pair.preferred), ("other", pair.other))
            },
        }
        for pair in found[:most]
    ]


def mean_scores(members: Sequence[Scores]) -> list[list[float]]:
    """The ensemble's scores: the mean over its members, each on the scale that it was normalised to."""
    return [
        [math.fsum(values) / len(members) for values in zip(*rows, strict=True)]
        for rows in zip(*members, strict=True)
    ]


def disagreement(rankings: Sequence[Ranking], members: Sequence[Scores]) -> dict[str, float]:
    """How far an ensemble's members differ.

    Returns:
        `score_deviation`: the root mean square over completions of the members' standard deviation (the
        population's); `split_pairs`: the share of ordered pairs that they do not all order alike.
    """
    mean = mean_scores(members)
    squares = [
        (one - middle) ** 2
        for scores in members
        for own, means in zip(scores, mean, strict=True)
        for one, middle in zip(own, means, strict=True)
    ]
    judged = [judged_pairs(rankings, scores) for scores in members]
    split = [len({pair.right for pair in sides}) > 1 for sides in zip(*judged, strict=True)]
    return {
        "score_deviation": math.sqrt(math.fsum(squares) / len(squares)),
        "split_pairs": sum(split) / len(split),
    }


def _eq_1(pairs: Sequence[JudgedPair]) -> float:
    """The mean over rankings of their pairs' mean loss."""
    rows: dict[int, list[float]] = {}
    for pair in pairs:
        rows.setdefault(pair.row, []).append(pair.loss)
    return math.fsum(math.fsum(row) / len(row) for row in rows.values()) / len(rows)


def _by(pairs: Sequence[JudgedPair], key: Callable[[JudgedPair], Any]) -> dict[str, dict[str, Any]]:
    groups: dict[Any, list[JudgedPair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return {str(name): summary(groups[name]) for name in sorted(groups)}


def _bucket(difference: float) -> int:
    return sum(difference > bound for bound in LENGTH_STEPS)


def _bucket_name(number: int) -> str:
    bounds = [f"{100 * bound:g}" for bound in LENGTH_STEPS]
    if number == 0:
        return f"up to {bounds[0]} %"
    if number == len(bounds):
        return f"over {bounds[-1]} %"
    return f"{bounds[number - 1]} to {bounds[number]} %"
