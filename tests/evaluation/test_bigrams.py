"""The bag of words and bigrams: what it counts, its minimum worked out by hand, and how its strength is chosen."""

from __future__ import annotations

import math

import pytest

from alignloop.data.records import Completion, Prompt, Ranking
from alignloop.errors import DataError
from alignloop.evaluation.baselines import accuracy
from alignloop.evaluation.bigrams import bag_of_bigrams, counted


def ranking(better: str, worse: str, number: int = 0) -> Ranking:
    completions = tuple(
        Completion(text=text, model="m", finished=True, tokens=1) for text in (better, worse)
    )
    prompt = Prompt(id=f"p{number}", text="Go on.")
    return Ranking(prompt=prompt, completions=completions, ranks=(1, 2), labeler="ann")


def test_words_and_neighbours_are_counted() -> None:
    assert counted("The fox, the FOX ran.") == {
        "the": 2,
        "fox": 2,
        "ran": 1,
        "the fox": 2,
        "fox the": 1,
        "fox ran": 1,
    }


def test_the_minimum_is_what_it_is_by_hand() -> None:
    """One pair, "fox" against "hen": the features differ by d = (1, -1), so w = c d, and the margin is m = 2 c.

    The slope is 0 where sigmoid(-m) = 2 * strength * c. With m = log 3: sigmoid(-m) = 1/4 and c = (log 3) / 2, so the
    strength is 1 / (4 log 3).
    """
    only = [ranking("fox", "hen")]

    model = bag_of_bigrams(only, only, [1 / (4 * math.log(3))], least_texts=1)

    assert model.weights == pytest.approx({"fox": math.log(3) / 2, "hen": -math.log(3) / 2}, 1e-4)
    prompt, (better, worse) = only[0].prompt, only[0].completions
    assert model(prompt, better) - model(prompt, worse) == pytest.approx(math.log(3), 1e-4)


def test_bigrams_tell_what_words_cannot() -> None:
    train = [
        ranking("the fox saw the hen", "the hen saw the fox", 0),
        ranking("a fox saw a hen", "a hen saw a fox", 1),
    ]

    model = bag_of_bigrams(train, train, [1e-3], least_texts=1)

    assert accuracy(model, train) == 1.0
    assert {name for name, w in model.weights.items() if abs(w) > 1e-9 and " " not in name} == set()


def test_a_word_of_few_answers_has_no_weight() -> None:
    train = [ranking("fox ran", "hen", 0), ranking("fox", "hen sat", 1)]

    model = bag_of_bigrams(train, train, [1e-2], least_texts=2)

    assert set(model.weights) == {"fox", "hen"}
    with pytest.raises(
        DataError, match="nothing to count"
    ):  # two labelers do not make one answer two
        bag_of_bigrams([train[0], train[0]], train, [1e-2], least_texts=2)


def test_validation_chooses_the_strength() -> None:
    # "moon" is right four times, "tree" once by chance against it; validation has the rare word the other way round.
    train = [ranking("moon", "hen", i) for i in range(4)] + [ranking("tree hen", "moon", 9)]
    valid = [ranking("moon", "tree hen", 10)]

    strong = bag_of_bigrams(train, valid, [1e-4, 1.0], least_texts=1)
    weak = bag_of_bigrams(train, train, [1e-4, 1.0], least_texts=1)

    assert (strong.strength, weak.strength) == (1.0, 1e-4)
    assert accuracy(strong, valid) == 1.0
