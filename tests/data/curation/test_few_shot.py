"""K pairs make K demonstrations; sampled sets are sets, none twice, the same for the same seed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data.curation.few_shot import FewShot, expand, sample_sets
from alignloop.errors import ConfigError

PAIRS = (("good", "yes"), ("bad", "no"), ("fine", "yes"))


def test_each_pair_is_asked_once_with_the_others_before_it() -> None:
    assert expand("Is it praise?", PAIRS) == [
        FewShot("Is it praise?", (PAIRS[1], PAIRS[2]), "good", "yes"),
        FewShot("Is it praise?", (PAIRS[0], PAIRS[2]), "bad", "no"),
        FewShot("Is it praise?", (PAIRS[0], PAIRS[1]), "fine", "yes"),
    ]
    assert expand("Is it praise?", []) == []


def test_a_prompt_ends_where_the_response_begins() -> None:
    first = expand("Is it praise?", PAIRS[:2])[0]

    assert first.prompt("Text", "Praise") == (
        "Is it praise?\n\nText: bad\nPraise: no\n\nText: good\nPraise:"
    )
    assert first.prompt().endswith("Input: good\nOutput:")


@given(st.integers(1, 6), st.data(), st.integers(0, 60), st.integers(0, 5))
def test_sampled_sets(k: int, data: st.DataObject, count: int, seed: int) -> None:
    pairs = [(f"q{i}", f"r{i}") for i in range(k)]
    size = data.draw(st.integers(0, k - 1))

    found = sample_sets("Do it.", pairs, size=size, count=count, seed=seed)

    assert len(found) == min(count, k * math.comb(k - 1, size))
    assert len({(one.query, frozenset(one.context)) for one in found}) == len(found)
    for one in found:
        assert (one.query, one.response) in pairs
        assert len(set(one.context)) == size
        assert set(one.context) <= set(pairs) - {(one.query, one.response)}
    assert found == sample_sets("Do it.", pairs, size=size, count=count, seed=seed)


def test_another_seed_or_instruction_draws_others() -> None:
    pairs = [(f"q{i}", f"r{i}") for i in range(9)]

    drawn = [
        sample_sets(text, pairs, size=3, count=5, seed=seed)
        for text, seed in (("a", 1), ("a", 2), ("b", 1))
    ]

    assert len({tuple(one.query + str(one.context) for one in found) for found in drawn}) == 3


@pytest.mark.parametrize("size", [-1, 3])
def test_more_context_than_there_is_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="3 examples leave 2 as context"):
        sample_sets("Do it.", PAIRS, size=size, count=1, seed=0)
