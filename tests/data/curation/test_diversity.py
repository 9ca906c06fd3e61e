"""Diversity, by hand: openings, words, use cases, near-duplicates."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data.curation.diversity import diversity

FOX = "Write a story about a fox who lives in the wood behind the old mill and has three sons."


def test_openings_words_and_pairs_by_hand() -> None:
    found = diversity(["Write a poem", "write a story.", "Tell me", "Why?"])

    assert found.prompts == 4
    assert found.words == 9
    assert found.distinct_openings == {1: 3 / 4, 2: 2 / 3, 3: 1.0}
    assert found.common_openings[1] == (("write", 0.5), ("tell", 0.25), ("why", 0.25))
    assert found.common_openings[2][0] == ("write a", pytest.approx(2 / 3))
    assert found.type_token == 7 / 9  # write, a, poem, story, tell, me, why
    assert found.distinct_2 == 4 / 5  # "write a" stands twice
    assert found.distinct_3 == 1.0
    assert found.near_duplicates == 0.0


def test_a_chinese_character_is_a_word() -> None:
    found = diversity(["写一个故事", "写一首诗"])

    assert found.words == 9
    assert found.distinct_openings == {1: 0.5, 2: 0.5, 3: 1.0}
    assert found.type_token == 7 / 9


def test_entropy_of_use_cases_is_in_bits() -> None:
    assert diversity(["a"], ["chat"] * 8).use_case_bits == 0.0
    assert diversity(["a"], ["chat", "rewrite", "", "chat", "rewrite"]).use_case_bits == 1.0
    assert diversity(["a"], [str(i) for i in range(10)]).use_case_bits == pytest.approx(
        math.log2(10)
    )
    assert diversity(["a"]).use_case_bits is None


@pytest.mark.parametrize(
    ("first", "second", "is_near"),
    [
        (FOX, FOX.upper(), True),
        (FOX, FOX.replace("three", "four"), True),
        (FOX, f"Please: {FOX}", True),
        (FOX, f"{FOX} {FOX[::-1]}", False),
        (FOX, "Write a story about a hen who lives on the farm below the hill.", False),
        ("Why?", "why", True),
        ("Why?", "How?", False),
        (
            "请写一个关于住在树林里的狐狸和它的三个孩子的故事。",
            "请写一个关于住在树林里的狐狸和它的四个孩子的故事",
            True,
        ),
        ("请写一个关于住在树林里的狐狸的故事。", "请把下面的句子翻译成法语，不要解释。", False),
    ],
)
def test_near_duplicates(first: str, second: str, is_near: bool) -> None:
    assert diversity([first, second]).near_duplicates == (0.5 if is_near else 0.0)
    assert diversity([second]).near_duplicates == 0.0


def test_nothing_has_no_diversity() -> None:
    found = diversity([])

    assert found.prompts == found.words == 0
    assert found.near_duplicates == found.type_token == 0.0
    assert json.loads(json.dumps(found.as_dict()))["use_case_bits"] is None


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_shares_are_shares(prompts: list[str]) -> None:
    found = diversity(prompts, prompts)
    twice = diversity([*prompts, *prompts])

    shares = [*found.distinct_openings.values(), found.type_token, found.distinct_2]
    assert all(0 <= share <= 1 for share in [*shares, found.distinct_3, found.near_duplicates])
    assert twice.near_duplicates >= 0.5
    assert json.dumps(found.as_dict())
