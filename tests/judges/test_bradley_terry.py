"""Strengths of policies: the closed form for two, known strengths found again, and what has no answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.errors import DataError
from alignloop.judges.bradley_terry import ONE_WAY, OPEN_END, bradley_terry, strengths
from alignloop.judges.measure import ONE_CLUSTER
from alignloop.judges.verdicts import OnPrompt, Pair


def said(**outcomes: list[float]) -> dict[Pair, dict[str, OnPrompt]]:
    """`a_b=[1, 0.5]`: what was said of a and b on prompts 0, 1 and so on."""
    return {
        (name[0], name[2]): {f"p{n}": OnPrompt(one, 1, 1) for n, one in enumerate(found)}
        for name, found in outcomes.items()
    }


@pytest.mark.parametrize(
    ("outcomes", "odds"),
    [
        ([1.0, 1.0, 1.0, 0.0], 3.0),
        ([1.0, 0.5, 0.0, 0.0], 1.5 / 2.5),  # a tie is half a win for each
        ([0.5, 0.5], 1.0),
    ],
)
def test_of_two_it_is_the_logarithm_of_wins_over_losses(outcomes: list[float], odds: float) -> None:
    found = bradley_terry(said(a_b=outcomes), "b")

    assert found["b"].value == 0.0
    assert found["a"].value == pytest.approx(math.log(odds), abs=1e-9)


def test_three_by_hand() -> None:
    """a beats b 2:1 and b beats c 2:1; nothing between a and c: the log-odds add up."""
    found = bradley_terry(said(a_b=[1.0, 1.0, 0.0], b_c=[1.0, 1.0, 0.0]), "c")

    assert found["b"].value == pytest.approx(math.log(2))
    assert found["a"].value == pytest.approx(math.log(4))


def test_at_the_maximum_expected_wins_are_the_wins() -> None:
    """The defining equation of the maximum of the likelihood, on a table without a closed form."""
    wins = np.array([[0.0, 3.0, 5.5], [7.0, 0.0, 2.0], [2.5, 6.0, 0.0]])

    [found] = strengths(wins[None])

    chance = 1 / (1 + np.exp(found[None, :] - found[:, None]))
    assert ((wins + wins.T) * chance).sum(axis=1) == pytest.approx(wins.sum(axis=1), abs=1e-7)


def test_known_strengths_are_found_again() -> None:
    true = {"base": -1.0, "sft": 0.0, "ppo": 0.6, "ptx": 1.1}
    generator = np.random.default_rng(3)
    names = list(true)
    pairs = {
        (a, b): {
            f"p{n}": OnPrompt(
                float(generator.random() < 1 / (1 + math.exp(true[b] - true[a]))), 1, 1
            )
            for n in range(600)
        }
        for at, a in enumerate(names)
        for b in names[at + 1 :]
    }

    found = bradley_terry(pairs, "sft", resamples=400)

    for name, strength in true.items():
        one = found[name]
        assert one.value == pytest.approx(strength, abs=0.2)
        if name != "sft":
            assert one.low is not None and one.high is not None
            assert one.low < strength < one.high
            assert one.high - one.low < 0.6
        assert one.clusters == 600


def test_the_interval_is_over_prompts_and_not_over_comparisons() -> None:
    """Three identical comparisons on a prompt are one prompt's worth of evidence."""
    outcomes = [1.0] * 12 + [0.0] * 8
    once = bradley_terry(said(a_b=outcomes), "b", seed=4)["a"]
    thrice = bradley_terry(said(a_b=outcomes, c_b=outcomes, d_b=outcomes), "b", seed=4)["a"]

    assert thrice.value == pytest.approx(once.value or 0.0)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_parts_that_were_never_compared_are_an_error_that_names_them() -> None:
    with pytest.raises(DataError, match=r"\{b, a\} and \{c, d\} were never compared"):
        bradley_terry(said(a_b=[1.0, 0.0], c_d=[1.0, 0.0]), "b")


def test_who_always_wins_has_no_finite_strength_and_does_not_spoil_the_others() -> None:
    found = bradley_terry(said(a_b=[1.0] * 4, c_b=[1.0, 0.0, 0.0, 0.0], a_c=[1.0] * 4), "b")

    assert (found["a"].value, found["a"].reason) == (None, ONE_WAY)
    assert found["c"].value == pytest.approx(math.log(1 / 3), abs=1e-4)


def test_where_resamples_go_one_way_there_is_no_interval() -> None:
    found = bradley_terry(said(a_b=[1.0, 1.0, 1.0, 0.0]), "b")["a"]

    assert found.value == pytest.approx(math.log(3))
    assert (found.low, found.reason) == (None, OPEN_END)


def test_one_prompt_gives_no_interval() -> None:
    found = bradley_terry(said(a_b=[0.5]), "b")["a"]

    assert (found.value, found.low, found.reason) == (0.0, None, ONE_CLUSTER)


@given(st.lists(st.integers(1, 30), min_size=6, max_size=6))
def test_names_and_order_do_not_matter(counts: list[int]) -> None:
    wins = np.zeros((3, 3))
    wins[np.triu_indices(3, 1)], wins[np.tril_indices(3, -1)] = counts[:3], counts[3:]
    turn = [0, 2, 1]

    [one], [other] = strengths(wins[None]), strengths(wins[turn][:, turn][None])

    assert one[turn] == pytest.approx(other, abs=1e-6)
