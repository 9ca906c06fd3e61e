"""Win rates at equal length: worked by hand, and found again where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.judges.length_controlled import (
    ALL_ALIKE,
    ALWAYS_LONGER,
    EQUAL_LENGTHS,
    NO_SPREAD,
    fitted,
    length_controlled,
    length_correlation,
)
from alignloop.judges.measure import NOTHING, ONE_CLUSTER


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_where_length_alone_decides_it_is_a_half() -> None:
    """The longer answer always wins, a's is longer four times in five: 80 % of wins, all of them length.

    The lengths mirror one another about zero, so by symmetry alpha is 0.
    """
    near = np.array([-3.0, -1.0, 1.0, 3.0])
    ahead = np.concatenate([np.tile(near, 10), np.full(60, 40.0)])
    outcomes = (ahead > 0).astype(float)

    found = length_controlled(outcomes, 100 + ahead, np.full(100, 100.0))

    assert outcomes.mean() == 0.8
    assert found.rate.value == pytest.approx(0.5, abs=0.01)
    assert found.rate.low is not None and found.rate.high is not None
    assert found.rate.low < 0.5 < found.rate.high
    assert found.effect.low is not None and found.effect.low > 1.0
    assert found.longer.value == pytest.approx(0.8)


@pytest.mark.parametrize(("alpha", "phi"), [(0.0, 2.0), (0.7, 1.5), (-0.4, 0.0), (0.5, -1.0)])
def test_what_the_data_were_drawn_from_is_found_again(alpha: float, phi: float) -> None:
    generator = np.random.default_rng(11)
    ours, theirs = generator.integers(60, 220, 2000), generator.integers(40, 160, 2000)
    ahead = (ours - theirs).astype(float)
    chance = 1 / (1 + np.exp(-(alpha + phi * np.tanh(ahead / ahead.std()))))
    outcomes = (generator.random(2000) < chance).astype(float)

    found = length_controlled(outcomes, ours, theirs, resamples=300)

    assert found.rate.value == pytest.approx(sigmoid(alpha), abs=0.05)
    assert found.effect.value == pytest.approx(phi, abs=0.35)
    assert found.rate.low is not None and found.rate.high is not None
    assert found.rate.low < sigmoid(alpha) < found.rate.high


def test_without_differences_of_length_it_is_the_win_rate() -> None:
    found = length_controlled([1.0, 1.0, 0.5, 0.0], [7] * 4, [7] * 4)

    assert found.rate.value == pytest.approx(2.5 / 4)
    assert (found.effect.value, found.effect.reason) == (None, EQUAL_LENGTHS)
    assert found.longer.reason == NOTHING


def test_two_prompts_by_hand() -> None:
    """d = +2 and -2, s = 2, x = +-tanh 1; outcomes 1 and 1/2 give, with t = tanh 1, two equations for alpha and phi."""
    found = length_controlled([1.0, 0.5], [3.0, 1.0], [1.0, 3.0], resamples=100)
    t = math.tanh(1.0)
    alpha, phi = (
        math.log((found.rate.value or 0) / (1 - (found.rate.value or 0))),
        found.effect.value,
    )
    assert phi is not None

    missed = 1.0 - sigmoid(alpha + phi * t), 0.5 - sigmoid(alpha - phi * t)
    assert sum(missed) == pytest.approx(0.0, abs=1e-9)
    assert t * (missed[0] - missed[1]) + 0.5 - sigmoid(phi) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("outcomes", "ours", "theirs", "reason"),
    [
        ([], [], [], NOTHING),
        ([1.0, 1.0], [1, 5], [3, 4], ALL_ALIKE),
        ([0.0, 0.0], [1, 5], [3, 4], ALL_ALIKE),
        ([1.0, 0.0], [5, 5], [3, 4], ALWAYS_LONGER),
        ([1.0, 0.0], [1, 1], [3, 4], ALWAYS_LONGER),
    ],
)
def test_what_cannot_be_said_is_not_said(
    outcomes: list[float], ours: list[float], theirs: list[float], reason: str
) -> None:
    found = length_controlled(outcomes, ours, theirs)

    assert (found.rate.value, found.rate.reason) == (None, reason)


def test_one_prompt_gives_no_interval() -> None:
    found = length_controlled([0.5], [4], [4])

    assert (found.rate.value, found.rate.low, found.rate.reason) == (0.5, None, ONE_CLUSTER)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="two lengths per prompt"):
        length_controlled([1.0], [1], [])


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 60), st.integers(1, 60)),
        min_size=3,
        max_size=25,
    )
)
def test_the_two_sides_add_up_to_one(rows: list[tuple[float, int, int]]) -> None:
    outcomes, ours, theirs = (list(column) for column in zip(*rows, strict=True))

    one = length_controlled(outcomes, ours, theirs, resamples=20)
    other = length_controlled([1 - o for o in outcomes], theirs, ours, resamples=20)

    assert one.rate.reason == other.rate.reason
    if one.rate.value is not None:
        assert one.rate.value == pytest.approx(1 - (other.rate.value or 0), abs=1e-6)
        assert one.effect.reason == other.effect.reason
        if one.effect.value is not None:
            assert one.effect.value == pytest.approx(other.effect.value, abs=1e-4)


def test_weights_are_repeated_prompts() -> None:
    bent, outcomes = np.array([0.5, -0.3, 0.9]), np.array([1.0, 0.5, 0.0])

    [weighted] = fitted(bent, outcomes, np.array([[2.0, 1.0, 3.0]]))
    [repeated] = fitted(np.repeat(bent, [2, 1, 3]), np.repeat(outcomes, [2, 1, 3]), np.ones((1, 6)))

    assert weighted == pytest.approx(repeated, abs=1e-9)


def test_the_correlation_with_length_is_pearsons() -> None:
    scores, lengths = [1.0, 2.0, 4.0, 3.0], [10.0, 30.0, 20.0, 40.0]

    found = length_correlation(scores, lengths, ["p", "p", "q", "q"])

    assert found.value == pytest.approx(np.corrcoef(scores, lengths)[0, 1])
    assert (found.cases, found.clusters) == (4, 2)
    assert length_correlation([1.0, 1.0], [3.0, 4.0], "pq").reason == NO_SPREAD
    assert length_correlation([], [], []).reason == NOTHING


def test_the_correlations_interval_holds_the_truth() -> None:
    generator = np.random.default_rng(5)
    lengths = generator.integers(5000, 5100, 400).astype(float)
    scores = (lengths - 5050) / 30 + generator.normal(size=400)  # standard deviations 0.96 and 1

    found = length_correlation(scores.tolist(), lengths.tolist(), range(400))

    assert found.low is not None and found.high is not None
    assert found.low < 0.69 < found.high
    assert found.high - found.low < 0.15
