"""The figures of a reward model, on pairs that can be counted by hand."""

from __future__ import annotations

import math

import pytest

from alignloop.data.pairs import Pair, pairs_of
from alignloop.data.records import Completion, Prompt, Ranking
from alignloop.evaluation.reward_metrics import (
    calibration,
    disagreement,
    judged_pairs,
    mean_scores,
    reward_metrics,
    violated_pairs,
)


def ranked(number: int, ranks: tuple[int, ...], tokens: tuple[int, ...], labeler: str) -> Ranking:
    return Ranking(
        prompt=Prompt(id=f"p{number}", text=f"Prompt {number}"),
        completions=tuple(
            Completion(text=f"answer {n}", model="m", finished=True, tokens=count)
            for n, count in enumerate(tokens)
        ),
        ranks=ranks,
        labeler=labeler,
    )


# Lengths 10, 9, 20 and 10, 30; the lecture's order D > C > B = A as a third ranking.
RANKINGS = [
    ranked(0, (1, 2, 4), (10, 9, 20), "ann"),
    ranked(1, (2, 1), (10, 30), "bob"),
    ranked(2, (1, 2, 3, 3), (5, 5, 5, 5), "bob"),
]
SCORES = [[1.0, 2.0, 0.0], [0.5, 0.5], [9.4, 8.2, 5.4, 5.4]]


def logistic(ahead: float) -> float:
    return math.log1p(math.exp(-ahead))


def test_pairs_know_their_gap_and_empty_ranks_are_not_counted() -> None:
    assert pairs_of((1, 2, 2, 4)) == pairs_of((1, 2, 2, 3)) == pairs_of((3, 7, 7, 9))
    assert pairs_of((2, 1, 4)) == [Pair(1, 0, 1), Pair(0, 2, 1), Pair(1, 2, 2)]
    assert [pair.is_ordered for pair in pairs_of((1, 1, 2))] == [False, True, True]


def test_every_figure_by_hand() -> None:
    """Ranking 0: wrong by 1, right by 1, right by 2. Ranking 1: equal. Ranking 2: all five right."""
    found = reward_metrics(judged_pairs(RANKINGS, SCORES))

    losses = [logistic(x) for x in (-1, 1, 2, 0, 1.2, 4, 4, 2.8, 2.8)]
    assert found["pairs"] == 9
    assert found["accuracy"] == pytest.approx((2 + 0.5 + 5) / 9)
    assert found["log_loss"] == pytest.approx(sum(losses) / 9)
    assert found["eq_1"] == pytest.approx(
        (sum(losses[:3]) / 3 + losses[3] + 0.0835296) / 3, abs=1e-7
    )
    # Longer: right of (10, 9), wrong of (10, 20) and (9, 20), right of (30, 10), five equal.
    assert found["longer_wins"] == pytest.approx((1 + 1 + 2.5) / 9)
    assert {k: (v["pairs"], v["accuracy"]) for k, v in found["by_k"].items()} == {
        "2": (1, 0.5),
        "3": (3, pytest.approx(2 / 3)),
        "4": (5, 1.0),
    }
    assert {k: v["pairs"] for k, v in found["by_rank_gap"].items()} == {"1": 6, "2": 3}
    assert {k: v["pairs"] for k, v in found["by_length_difference"].items()} == {
        "up to 10 %": 6,
        "25 to 50 %": 1,
        "over 50 %": 2,
    }
    assert {k: v["accuracy"] for k, v in found["by_labeler"].items()} == {
        "ann": pytest.approx(2 / 3),
        "bob": pytest.approx(5.5 / 6),
    }


def test_the_standard_error_takes_rankings_as_units() -> None:
    """Per ranking: right pairs less as many as the accuracy would give; the root of their squares over all pairs."""
    accuracy = 7.5 / 9
    sums = (2 - 3 * accuracy, 0.5 - accuracy, 5 - 5 * accuracy)

    found = reward_metrics(judged_pairs(RANKINGS, SCORES))

    assert found["standard_error"] == pytest.approx(math.sqrt(sum(s * s for s in sums)) / 9)


def test_surely_wrong_costs_its_margin_and_does_not_overflow() -> None:
    (pair,) = judged_pairs([ranked(0, (1, 2), (1, 1), "ann")], [[-4000.0, 4000.0]])

    assert pair.loss == 8000.0
    assert reward_metrics([pair])["accuracy"] == 0.0


def test_calibration_compares_confidence_with_what_happened() -> None:
    """sigmoid(log 3) is 0.75: of four such pairs three should be right."""
    found = calibration([math.log(3)] * 3 + [-math.log(3)])

    assert found == [{"predicted": pytest.approx(0.75), "observed": 0.75, "pairs": 4}]


def test_violated_pairs_are_the_worst_first_one_per_ranking() -> None:
    scores = [[0.0, 1.0, 3.0], [4.0, 0.0], [1.0, 2.0, 3.0, 3.5]]

    found = violated_pairs(judged_pairs(RANKINGS, scores), scores, 2)

    assert [row["prompt_id"] for row in found] == ["p1", "p0"]
    assert (found[0]["preferred"]["score"], found[0]["other"]["score"]) == (0.0, 4.0)
    assert (found[1]["preferred"]["text"], found[1]["other"]["text"]) == ("answer 0", "answer 2")
    assert (found[1]["rank_gap"], found[1]["other"]["rank"]) == (2, 4)
    assert violated_pairs(judged_pairs(RANKINGS[2:], SCORES[2:]), SCORES[2:], 5) == []


def test_an_ensemble_has_the_mean_score_and_says_where_its_members_differ() -> None:
    other = [[3.0, 2.0, 0.0], [0.5, 0.5], [9.4, 8.2, 5.4, 5.4]]

    assert mean_scores([SCORES, other])[0] == [2.0, 2.0, 0.0]
    found = disagreement(RANKINGS, [SCORES, other])

    # One of nine scores has members 1 and 3: deviation 1; one of nine pairs is ordered differently.
    assert found["score_deviation"] == pytest.approx(math.sqrt(1 / 9))
    assert found["split_pairs"] == pytest.approx(1 / 9)
