"""Entropy of a choice, invented words, and words of a list, against cases worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.errors import DataError
from alignloop.evaluation.metrics.entropy import binary_entropy, preference
from alignloop.evaluation.metrics.hallucination import (
    content_words,
    invented_share,
    invented_words,
)
from alignloop.evaluation.metrics.wordlist import WordList

LOG_PROBS = st.floats(-2000, 0)


@pytest.mark.parametrize(
    ("first", "second", "bits"), [(0.5, 0.5, 1.0), (0.9, 0.1, 0.4690), (0.1, 0.9, 0.4690)]
)
def test_entropy(first: float, second: float, bits: float) -> None:
    assert binary_entropy(math.log(first), math.log(second)) == pytest.approx(bits, abs=5e-5)


def test_only_the_ratio_of_the_probabilities_counts() -> None:
    assert binary_entropy(-800.0, -800.0) == 1.0
    assert preference(-900.0 + math.log(3), -900.0) == pytest.approx(0.75)
    assert binary_entropy(-1900.0, -3.0) == 0.0


@given(LOG_PROBS, LOG_PROBS)
def test_entropy_is_symmetric_and_at_most_a_bit(first: float, second: float) -> None:
    assert 0.0 <= binary_entropy(first, second) <= 1.0
    assert binary_entropy(first, second) == pytest.approx(binary_entropy(second, first), abs=1e-9)
    assert preference(first, second) + preference(second, first) == pytest.approx(1.0)


# --- hallucination ---

SOURCE = "The old king's daughter walked to the river and carried three baskets of cherries."


def test_content_words_carry_a_claim() -> None:
    assert content_words("The king's daughter did not go.") == ["king", "daughter"]
    assert content_words("Not in background.") == []


def test_words_that_the_source_lacks() -> None:
    assert invented_words("The King walks with a cherry to the mill", SOURCE) == ["mill"]
    assert invented_words("He was carrying one basket", SOURCE) == []
    assert invented_words("silver baskets, silver spoons", SOURCE) == ["silver", "silver", "spoons"]


def test_their_share() -> None:
    # king, cherry, mill: one of three is not there
    assert invented_share("The king has a cherry mill", SOURCE) == pytest.approx(1 / 3)
    assert invented_share("It was.", SOURCE) is None
    assert invented_share("river", "") == 1.0


@given(st.text(max_size=40))
def test_a_text_invents_nothing_beside_itself(text: str) -> None:
    assert invented_words(text, text) == []


# --- a list of words ---


def test_words_and_phrases_count_as_wholes_in_any_case() -> None:
    words = WordList(["darn", "silly goose", "goose"])

    assert len(words) == 3
    assert words.matches("DARN! You silly  goose, geese and mongoose.") == ["darn", "silly goose"]
    assert words.score("darned mongoose") == 0.0
    assert words.score("a goose") == 1.0


def test_a_list_is_read_with_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# mine\n\nDarn\nsilly goose\n", encoding="utf-8")

    assert WordList.read(path).matches("silly goose, darn") == ["silly goose", "darn"]


@pytest.mark.parametrize("content", [None, b"# nothing\n", b"\xff\xfe"])
def test_a_list_without_words_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=r"words\.txt"):
        WordList.read(path)
