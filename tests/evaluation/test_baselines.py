"""What a reward model has to beat: the rivals are fitted as well as they can be, or beating them would mean nothing."""

from __future__ import annotations

import numpy as np
import pytest

from alignloop.data.records import Completion, Prompt, Ranking
from alignloop.evaluation import baselines
from alignloop.evaluation.baselines import accuracy, bag_of_words, longer_wins


def ranking(texts: list[str], ranks: list[int], number: int = 0) -> Ranking:
    completions = [
        Completion(text=text, model="m", finished=True, tokens=len(text.split()) + 1)
        for text in texts
    ]
    prompt = Prompt(id=f"p{number}", text="Go on.", group=f"g{number}")
    return Ranking(prompt=prompt, completions=tuple(completions), ranks=tuple(ranks), labeler="ann")


def test_accuracy_counts_pairs_leaves_out_ties_and_halves_equal_scores() -> None:
    rankings = [
        ranking(["a b c", "a b", "a"], [1, 2, 2]),  # longer wins twice; the tie is no pair
        ranking(["a", "a b c"], [1, 2], 1),  # shorter wins
        ranking(["a b", "b a"], [1, 2], 2),  # same length
    ]

    assert accuracy(longer_wins, rankings) == pytest.approx((2 + 0 + 0.5) / 4)
    assert accuracy(longer_wins, rankings, length_matched=True) == 0.5
    assert accuracy(longer_wins, rankings[:1], length_matched=True) is None


def test_the_bag_of_words_finds_the_word_that_readers_like() -> None:
    random = np.random.default_rng(0)
    words = "fox crow moon tree bread river".split()

    def drawn(number: int) -> Ranking:
        texts = [" ".join(random.choice(words, size=5)) for _ in range(4)]
        liked = [text.split().count("moon") for text in texts]
        return ranking(texts, [1 + sum(other > own for other in liked) for own in liked], number)

    train, valid, test = ([drawn(i) for i in range(60)] for _ in range(3))

    assert accuracy(bag_of_words(train, valid), test) == 1.0


@pytest.mark.parametrize("strength", [0.001, 0.1])
def test_the_bag_of_words_is_brought_to_its_minimum(strength: float) -> None:
    """At the minimum of a smooth convex function the slope is 0 in every direction."""
    random = np.random.default_rng(1)
    rows = random.poisson(0.3, size=(60, 40)).astype(float)
    pairs = random.choice(60, size=(200, 2))

    weights = baselines._logistic(rows, pairs, strength)

    apart = rows[pairs[:, 0]] - rows[pairs[:, 1]]
    slope = -(apart / (1 + np.exp(apart @ weights))[:, None]).mean(axis=0) + 2 * strength * weights
    assert np.abs(slope).max() < 1e-5
    assert np.abs(weights).max() > 1e-3
