"""Votes of a blind evaluation, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.judges.intervals import win_rate
from alignloop.judges.measure import NOTHING, ONE_CLUSTER
from alignloop.judges.preference_votes import (
    ONE_LABELER,
    Choice,
    Vote,
    tally,
    tally_by_cohort,
)
from alignloop.judges.proportions import fair_coin_p, wilson

CHOICES: tuple[Choice, ...] = ("a", "b", "tie", "both_bad")
ballots = st.lists(
    st.builds(
        Vote,
        prompt=st.sampled_from(["p", "q", "r", "s"]),
        labeler=st.sampled_from(["ann", "bob", "cyd"]),
        choice=st.sampled_from(CHOICES),
        is_a_left=st.booleans(),
        cohort=st.sampled_from(["training", "heldout"]),
        length_a=st.integers(1, 9),
        length_b=st.integers(1, 9),
    ),
    max_size=12,
)


def vote(prompt: str, labeler: str, choice: Choice, *, left: bool = True) -> Vote:
    return Vote(prompt, labeler, choice, is_a_left=left)


def swapped(one: Vote) -> Vote:
    turned: dict[Choice, Choice] = {"a": "b", "b": "a", "tie": "tie", "both_bad": "both_bad"}
    return replace(
        one,
        choice=turned[one.choice],
        is_a_left=not one.is_a_left,
        length_a=one.length_b,
        length_b=one.length_a,
    )


def test_each_prompt_counts_once_and_a_tie_is_a_half() -> None:
    votes = [
        vote("p", "ann", "a"),
        vote("p", "bob", "a"),
        vote("p", "cyd", "tie"),  # p: 5/6
        vote("q", "ann", "b"),  # q: 0
        vote("r", "bob", "both_bad"),  # r: 1/2
    ]

    found = tally(votes)

    assert found.rate.value == pytest.approx((5 / 6 + 0 + 1 / 2) / 3)
    assert (found.rate.cases, found.rate.clusters) == (5, 3)
    assert found.counts == {"a": 2, "b": 1, "tie": 1, "both_bad": 1}
    assert (found.prompts, found.labelers) == (3, 3)
    assert (found.ties.value, found.both_bad.value) == (0.2, 0.2)
    assert found.decided.value == pytest.approx(2 / 3)
    assert (found.decided.low, found.decided.high) == pytest.approx(wilson(2, 3))


def test_both_bad_can_be_left_out() -> None:
    votes = [vote("p", "ann", "a"), vote("q", "ann", "b"), vote("r", "ann", "both_bad")]
    votes += [vote("s", "ann", "a")]

    found = tally(votes, both_bad="left out")

    assert found.rate.value == pytest.approx(2 / 3)
    assert (found.prompts, found.rate.clusters) == (3, 3)
    assert found.both_bad.value == 0.25
    assert tally(votes).rate.value == pytest.approx(2.5 / 4)


def test_the_interval_over_prompts_is_that_of_the_evaluation() -> None:
    generator = np.random.default_rng(0)
    votes = [vote(f"p{at}", "ann", "a" if generator.random() < 0.6 else "b") for at in range(100)]
    outcomes = [float(one.choice == "a") for one in votes]

    found, theirs = tally(votes, seed=7).rate, win_rate(outcomes, seed=7)

    assert (found.value, found.low, found.high) == (theirs.mean, theirs.low, theirs.high)
    assert (theirs.high - theirs.low) / 2 == pytest.approx(0.098, abs=0.01)


def test_votes_on_one_prompt_are_no_independent_cases() -> None:
    many = [vote(f"p{at // 10}", f"l{at % 10}", "a" if at < 60 else "b") for at in range(100)]

    found = tally(many).rate

    assert found.clusters == 10
    assert found.low is not None and found.high is not None
    assert (found.high - found.low) / 2 > 0.25  # 10 prompts, not 100 votes


def test_labelers_who_differ_widen_the_interval_over_both() -> None:
    # Two of four labelers always vote for a, two for b: each prompt says 1/2, and new prompts would too.
    votes = [
        vote(f"p{at}", who, "a" if who in ("ann", "bob") else "b")
        for at in range(50)
        for who in ("ann", "bob", "cyd", "dan")
    ]

    found = tally(votes)

    assert found.rate.value == found.rate_over_labelers.value == 0.5
    assert (found.rate.low, found.rate.high) == (0.5, 0.5)
    low, high = found.rate_over_labelers.low, found.rate_over_labelers.high
    # Of four draws of a labeler, none is for a in 1/16 of the resamples: more than 2.5 %.
    assert (low, high) == (0.0, 1.0)


def test_labelers_who_agree_hardly_widen_it() -> None:
    votes = [vote(f"p{at}", who, "a" if at % 2 else "b") for at in range(100) for who in "abcd"]

    found = tally(votes)

    assert found.rate.low is not None and found.rate_over_labelers.low is not None
    assert found.rate_over_labelers.low == pytest.approx(found.rate.low, abs=0.01)


def test_one_labeler_or_one_prompt_gives_no_such_interval() -> None:
    alone = tally([vote("p", "ann", "a"), vote("q", "ann", "b")])
    once = tally([vote("p", "ann", "a"), vote("p", "bob", "b")])

    assert alone.rate.low is not None
    assert alone.rate_over_labelers.reason == ONE_LABELER
    assert (once.rate.value, once.rate.reason) == (0.5, ONE_CLUSTER)
    assert once.rate_over_labelers.reason == ONE_CLUSTER


def test_where_every_prompt_is_won_the_interval_is_wilsons() -> None:
    found = tally([vote(f"p{at}", "ann", "a") for at in range(10)]).rate

    assert (found.low, found.high) == pytest.approx(wilson(10, 10))


def test_the_left_side_is_tested_exactly() -> None:
    votes = [vote(f"p{at}", "ann", "a", left=True) for at in range(8)]
    votes += [vote("q", "ann", "a", left=False), vote("r", "ann", "b", left=True)]
    votes += [vote("s", "ann", "b", left=False), vote("t", "ann", "tie")]

    found = tally(votes).side

    assert found.left.value == pytest.approx(9 / 11)  # 8, and s, whose winner b stood on the left
    assert found.p_value == pytest.approx(fair_coin_p(9, 11))
    assert tally([vote("p", "ann", "tie")]).side.p_value is None


def test_lengths_of_winner_and_loser() -> None:
    votes = [
        Vote("p", "ann", "a", True, length_a=30, length_b=10),
        Vote("q", "ann", "b", True, length_a=20, length_b=10),
        Vote("r", "ann", "b", True, length_a=5, length_b=5),
        Vote("s", "ann", "tie", True, length_a=99, length_b=1),
        Vote("t", "ann", "a", True),
    ]

    found = tally(votes).length

    assert found.winner.value == pytest.approx((30 + 10 + 5) / 3)
    assert found.loser.value == pytest.approx((10 + 20 + 5) / 3)
    assert (found.longer_wins.value, found.longer_wins.cases) == (0.5, 2)


def test_cohorts_are_counted_apart() -> None:
    votes = [
        Vote("p", "ann", "a", True, cohort="training"),
        Vote("p", "bob", "b", True, cohort="heldout"),
        Vote("q", "bob", "tie", True, cohort="heldout"),
    ]

    found = tally_by_cohort(votes)

    assert {cohort: result.rate.value for cohort, result in found.items()} == {
        "heldout": 0.25,
        "training": 1.0,
    }


def test_no_votes_give_reasons() -> None:
    found = tally([])

    assert found.rate.reason == found.rate_over_labelers.reason == NOTHING
    assert found.decided.reason == "undefined: no vote for either"
    assert found.side.p_value is None


@given(ballots)
def test_the_other_policys_view_is_the_mirror_image(votes: list[Vote]) -> None:
    ours, theirs = tally(votes, resamples=10), tally([swapped(one) for one in votes], resamples=10)

    for here, there in ((ours.rate, theirs.rate), (ours.decided, theirs.decided)):
        if here.value is None:
            assert there.value is None
        else:
            assert there.value == pytest.approx(1 - here.value)
    assert ours.side == theirs.side
    assert ours.length == theirs.length
    assert ours.rate.value == pytest.approx(ours.rate_over_labelers.value)
