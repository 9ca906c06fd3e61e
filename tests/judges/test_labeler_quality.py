"""One labeler against the others, the gold, the screen and itself, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from alignloop.judges.judgment import Judgment
from alignloop.judges.labeler_quality import (
    NO_SHARED_TASK,
    Gold,
    by_session_hour,
    labeler_quality,
)


def test_agreement_with_the_rest_by_hand() -> None:
    rows = [
        Judgment("t", "ann", (1, 2, 3)),
        Judgment("t", "bob", (1, 3, 2)),
        Judgment("t", "cyd", (1, 2, 2)),
        Judgment("u", "dan", (1, 2)),
    ]

    found = labeler_quality(rows)

    # ann against bob 2 of 3, against cyd 2 of 2 and a tie against an order
    assert found["ann"].agreement.value == pytest.approx(4 / 5)
    assert found["ann"].tie_aware_agreement.value == pytest.approx(4.5 / 6)
    assert found["ann"].rankings == 1
    assert (
        found["dan"].agreement.reason == NO_SHARED_TASK == found["dan"].tie_aware_agreement.reason
    )


def test_ties_are_counted_over_pairs() -> None:
    found = labeler_quality([Judgment("t", "ann", (1, 1, 2, 2)), Judgment("u", "ann", (1, 2))])

    assert found["ann"].tie_rate.value == pytest.approx(2 / 7)
    assert found["ann"].tie_rate.cases == 7


def test_likert_scores_that_contradict_the_ranks() -> None:
    # Pairs ordered by both: 01 contradicts, 03 and 23 agree; 02 and 13 are tied by rank or by score, 12 by rank.
    rows = [Judgment("t", "ann", (1, 2, 2, 3), likert=(5, 6, 5, 1))]

    found = labeler_quality(rows)["ann"].contradictions

    assert found.cases == 4  # 01, 03, 13, 23
    assert found.value == pytest.approx(1 / 4)
    missing = labeler_quality([Judgment("t", "ann", (1, 2), likert=(5, None))])["ann"]
    assert missing.contradictions.reason == (
        "undefined: no pair is ordered both by rank and by Likert score"
    )


def test_position_bias_by_hand() -> None:
    # Shown in the order 2, 0, 1; ranked 1, 2, 3: of 01, 02, 12 the earlier wins 01 alone.
    rows = [Judgment("t", "ann", (1, 2, 3), positions=(1, 2, 0))]

    found = labeler_quality(rows)["ann"]

    assert found.earlier_wins.value == pytest.approx(1 / 3)
    # ranks 1, 2, 3 against places 2, 3, 1: 1 - 6 * 6 / 24
    assert found.position_correlation.value == pytest.approx(-0.5)


def test_who_always_prefers_what_stands_first_is_found() -> None:
    generator = np.random.default_rng(0)
    rows: list[Judgment] = []
    for task in range(60):
        places = tuple(generator.permutation(4).tolist())
        fair = tuple((generator.permutation(4) + 1).tolist())
        rows.append(Judgment(f"t{task}", "lazy", tuple(p + 1 for p in places), positions=places))
        rows.append(Judgment(f"t{task}", "fair", fair, positions=places))

    found = labeler_quality(rows)

    assert found["lazy"].earlier_wins.value == found["lazy"].position_correlation.value == 1.0
    fair_share = found["fair"].earlier_wins.value
    assert fair_share is not None and abs(fair_share - 0.5) < 0.1  # three standard errors


def test_length_bias_by_hand() -> None:
    # Pairs of unequal length and order: 01 the longer loses, 02 wins, 12 wins; 03 is of equal length.
    rows = [Judgment("t", "ann", (1, 2, 3, 4), lengths=(20, 30, 10, 20))]

    found = labeler_quality(rows)["ann"]

    # 01 no, 02 yes, 12 yes, 13 yes, 23 no
    assert (found.longer_wins.value, found.longer_wins.cases) == (pytest.approx(3 / 5), 5)
    # worth 4, 3, 2, 1 against lengths with midranks 2.5, 4, 1, 2.5
    assert found.length_correlation.value == pytest.approx(1.5 / np.sqrt(5 * 4.5))


def test_correlations_are_means_over_rankings() -> None:
    rows = [
        Judgment("t", "ann", (1, 2), lengths=(9, 3)),
        Judgment("u", "ann", (1, 2), lengths=(3, 9)),
        Judgment("v", "ann", (1, 2), lengths=(8, 4)),
        Judgment("w", "ann", (1, 1), lengths=(8, 4)),
    ]

    found = labeler_quality(rows)["ann"].length_correlation

    assert (found.value, found.cases) == (pytest.approx(1 / 3), 3)


def test_a_repeat_is_compared_with_the_first_answer() -> None:
    rows = [
        Judgment("t", "ann", (1, 2, 3)),
        Judgment("t", "ann", (1, 3, 2)),  # 2 of 3
        Judgment("t", "ann", (1, 2, 2)),  # 2 of 3, and a tie against an order
        Judgment("u", "ann", (1, 2)),
        Judgment("t", "bob", (3, 2, 1)),
    ]

    found = labeler_quality(rows)

    assert found["ann"].consistency.value == pytest.approx(4.5 / 6)
    assert found["ann"].rankings == 2
    assert found["bob"].consistency.reason == "undefined: no task was ranked twice"


def test_gold_is_known_pair_by_pair() -> None:
    gold: Gold = {"t": {(0, 1): 1, (2, 1): -1, (0, 2): 0}, "u": {(0, 1): -1}}
    rows = [
        Judgment("t", "ann", (1, 2, 1)),  # right, wrong, right
        Judgment("u", "ann", (1, 1)),  # a tie against an order
        Judgment("t", "bob", (2, 1, 3)),  # wrong, right, order against tie
        Judgment("v", "cyd", (1, 2)),
    ]

    found = labeler_quality(rows, gold=gold)

    assert found["ann"].gold_accuracy.value == pytest.approx(2.5 / 4)
    assert found["bob"].gold_accuracy.value == pytest.approx(1.5 / 3)
    assert found["cyd"].gold_accuracy.reason == "undefined: no gold pair was judged"


def test_gold_of_an_item_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gold of task 't' names the pair \(0, 2\)"):
        labeler_quality([Judgment("t", "ann", (1, 2))], gold={"t": {(0, 2): 1}})


def test_drift_by_hour_of_a_session() -> None:
    rows = [
        Judgment("t", "ann", (1, 2), session_hours=0.2, seconds=30),
        Judgment("u", "ann", (1, 2), session_hours=0.9, seconds=50),
        Judgment("v", "ann", (1, 1), session_hours=3.5),
        Judgment("w", "ann", (1, 2), session_hours=3.9, seconds=90),
        Judgment("w", "ann", (2, 1), session_hours=3.9, seconds=9),  # a repeat
        *(Judgment(task, "bob", (1, 2)) for task in "tuv"),
    ]

    found = by_session_hour(rows)

    assert list(found) == [0, 3]
    assert found[0].agreement.value == 1.0
    assert found[0].seconds.value == pytest.approx(40)
    assert found[0].tie_rate.value == 0.0
    assert found[3].agreement.value == 0.5
    assert found[3].tie_rate.value == 0.5
    assert (found[3].seconds.value, found[3].seconds.cases) == (90, 1)
    assert by_session_hour(rows, labeler="bob") == {}
    assert by_session_hour(rows, labeler="ann") == found


def test_an_hour_without_company_or_clock_says_so() -> None:
    (hour,) = by_session_hour([Judgment("t", "ann", (1, 2), session_hours=1.0)]).values()

    assert hour.agreement.reason == NO_SHARED_TASK
    assert hour.seconds.reason == "undefined: no time was recorded"


def test_no_judgments_are_no_labelers() -> None:
    assert labeler_quality([]) == {}
    assert by_session_hour([]) == {}
