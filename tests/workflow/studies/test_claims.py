"""Verdicts: their rules by hand-computed cases, and the t interval they rest on."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.errors import NumericsError
from alignloop.judges.intervals import Estimate
from alignloop.workflow.studies.claims import (
    Claim,
    Effect,
    Expected,
    judge,
    verdict,
)
from alignloop.workflow.studies.wording import expected, line, measured, rests_on

RISES = Claim("rises", "It rises.", "C.2", "after less before", "above", unit="nats")


def effects(*values: float) -> list[Effect]:
    return [Effect(seed, value, value - 1, value + 1, 40) for seed, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("low", "high", "expected", "margin", "found"),
    [
        (0.1, 0.3, "above", 0.0, "held"),
        (-0.1, 0.3, "above", 0.0, "undecided"),
        (0.0, 0.3, "above", 0.0, "undecided"),  # 0 itself is no rise
        (-0.3, -0.1, "above", 0.0, "not held"),
        (0.0, 0.0, "above", 0.0, "not held"),  # exactly the same in every seed
        (-0.05, 0.3, "above", -0.1, "held"),  # no worse than by 0.1
        (-0.15, 0.3, "above", -0.1, "undecided"),
        (-0.4, -0.2, "above", -0.1, "not held"),
        (-0.3, -0.1, "below", 0.0, "held"),
        (0.01, 0.05, "below", 0.06, "held"),
        (0.01, 0.07, "below", 0.06, "undecided"),
        (0.06, 0.07, "below", 0.06, "not held"),
        (-0.02, 0.03, "within", 0.03, "held"),
        (-0.02, 0.04, "within", 0.03, "undecided"),
        (-0.05, 0.05, "within", 0.03, "undecided"),  # too wide to tell
        (0.04, 0.05, "within", 0.03, "not held"),
        (-0.05, -0.04, "within", 0.03, "not held"),
    ],
)
def test_the_verdict_follows_from_the_interval(
    low: float, high: float, expected: Expected, margin: float, found: str
) -> None:
    assert verdict(expected, margin, low, high) == found


@given(
    st.floats(-5, 5),
    st.floats(0, 5),
    st.floats(-2, 2),
    st.sampled_from(["above", "below", "within"]),
    st.floats(0, 1),
)
def test_a_wider_interval_never_tells_the_contrary(
    middle: float, half: float, margin: float, expected: Expected, more: float
) -> None:
    margin = abs(margin) if expected == "within" else margin

    narrow = verdict(expected, margin, middle - half, middle + half)
    wide = verdict(expected, margin, middle - half - more, middle + half + more)

    assert wide in (narrow, "undecided")


def test_seeds_give_a_t_interval_and_their_own_intervals_stay_aside() -> None:
    judged = judge(RISES, effects(1.0, 2.0, 3.0))

    assert (judged.mean, judged.basis, judged.verdict) == (2.0, "seeds", "undecided")
    assert judged.low == pytest.approx(-0.48416, abs=1e-4)
    assert judge(RISES, effects(2.0, 2.1, 1.9)).verdict == "held"
    assert judge(RISES, effects(-2.0, -2.1, -1.9)).verdict == "not held"


def test_one_seed_is_judged_by_its_prompts_and_says_so() -> None:
    judged = judge(RISES, [Effect.of(7, Estimate(0.2, 0.1, 0.3, 215))])

    assert (judged.low, judged.high, judged.basis, judged.verdict) == (0.1, 0.3, "prompts", "held")
    assert "seed to seed is not in the interval" in rests_on(judged)
    assert "215 prompts" in rests_on(judged)


def test_what_is_written_has_interval_and_n() -> None:
    judged = judge(RISES, effects(1.0, 2.0, 3.0))

    assert measured(judged) == "+2.000 (\u22120.484 to +4.484) nats"
    assert rests_on(judged) == "3 seeds, 40 prompts each"
    assert line(judged).startswith("undecided  It rises. after less before: +2.000")
    written = json.loads(json.dumps(judged.as_json()))
    assert [one["n"] for one in written["seeds"]] == [40, 40, 40]
    assert written["interval_over"] == "seeds"


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (RISES, "above 0"),
        (Claim("a", "A.", "1", "b", "above", -0.1), "above \u22120.100"),
        (Claim("a", "A.", "1", "b", "below", 0.06, "share"), "below 6.0 points"),
        (Claim("a", "A.", "1", "b", "within", 0.03, "nats"), "within 0.030 nats of 0"),
    ],
)
def test_what_is_expected_in_words(claim: Claim, words: str) -> None:
    assert expected(claim) == words


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        judge(RISES, [])
    with pytest.raises(ValueError, match="one effect per seed"):
        judge(RISES, [*effects(1.0), *effects(2.0)])
    with pytest.raises(NumericsError, match="not finite"):
        judge(RISES, effects(math.nan, 1.0))
