"""Verdicts gathered by prompt, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.judges.intervals import length_matched
from alignloop.judges.proportions import wilson
from alignloop.judges.verdicts import (
    OnPrompt,
    Verdict,
    gathered,
    of_like_length,
    rate,
    seen_from,
)

VERDICTS = [
    Verdict("p", "ppo", "sft", 1.0, "ann", length_a=30, length_b=10),
    Verdict("p", "sft", "ppo", 0.5, "bob", length_a=10, length_b=30),  # the other way round
    Verdict("q", "ppo", "sft", 0.0, "ann", length_a=5, length_b=6),
    Verdict("q", "base", "sft", 0.0, "ann"),
]

verdicts = st.lists(
    st.builds(
        Verdict,
        prompt=st.sampled_from("pqrs"),
        a=st.just("x"),
        b=st.just("y"),
        outcome=st.sampled_from([0.0, 0.5, 1.0]),
        by=st.sampled_from(["ann", "bob"]),
        length_a=st.integers(0, 40).map(float),
        length_b=st.integers(0, 40).map(float),
    ),
    min_size=1,
    max_size=12,
)


def test_a_pair_is_gathered_whichever_way_round_its_verdicts_stand() -> None:
    pairs = gathered(VERDICTS)

    assert list(pairs) == [("ppo", "sft"), ("base", "sft")]
    assert pairs["ppo", "sft"] == {"p": OnPrompt(0.75, 30, 10), "q": OnPrompt(0.0, 5, 6)}


def test_each_prompt_counts_once() -> None:
    found = rate(gathered(VERDICTS)["ppo", "sft"])

    assert (found.value, found.clusters) == (0.375, 2)  # p: 3/4 by two judges, q: 0 by one


def test_seen_from_the_other_side_a_win_is_a_loss() -> None:
    pairs = gathered(VERDICTS)

    assert seen_from(pairs, "sft", "ppo") == {
        "p": OnPrompt(0.25, 10, 30),
        "q": OnPrompt(1.0, 6, 5),
    }
    assert seen_from(pairs, "base", "ppo") == {}


def test_prompts_of_one_user_are_drawn_together() -> None:
    found = {f"p{n}": OnPrompt(float(n < 4), 1, 1) for n in range(8)}

    by_prompt = rate(found)
    by_user = rate(found, {prompt: "ann" if int(prompt[1]) < 4 else "bob" for prompt in found})

    assert by_user.value == by_prompt.value == 0.5
    assert (by_user.low, by_user.high, by_user.clusters) == (0.0, 1.0, 2)
    assert by_prompt.low is not None and by_prompt.low > 0.0


def test_where_all_say_the_same_the_interval_has_a_width() -> None:
    found = rate({f"p{n}": OnPrompt(1.0, 1, 1) for n in range(10)})

    assert (found.low, found.high) == wilson(10, 10)


@given(verdicts)
def test_the_two_sides_add_up_to_one(said: list[Verdict]) -> None:
    pairs = gathered(said)

    one, other = (
        rate(seen_from(pairs, *names), resamples=50) for names in (("x", "y"), ("y", "x"))
    )

    assert one.value == pytest.approx(1.0 - (other.value or 0.0))
    assert (one.low is None) == (other.low is None)
    if one.low is not None and other.high is not None:
        assert one.low == pytest.approx(1.0 - other.high)


@given(verdicts, st.integers(1, 5))
def test_like_length_is_what_intervals_call_so(said: list[Verdict], at_least: int) -> None:
    found = gathered(said)["x", "y"]
    seen = list(found.values())
    # whole lengths alone: a mean over judges of one answer is its own length in real data
    whole = {
        prompt: OnPrompt(one.outcome, round(one.length_a), round(one.length_b))
        for prompt, one in found.items()
    }

    near, band = of_like_length(whole, at_least)

    columns = [
        [one.outcome for one in seen],
        [round(one.length_a) for one in seen],
        [round(one.length_b) for one in seen],
    ]
    if near:
        known = length_matched(*columns, at_least=at_least, resamples=50)
        assert (known.band, known.estimate.n) == (band, len(near))
        assert known.estimate.mean == pytest.approx(rate(near, resamples=50).value)
    else:
        with pytest.raises(ValueError, match="nothing to average"):
            length_matched(*columns, at_least=at_least, resamples=50)
