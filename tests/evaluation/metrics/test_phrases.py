"""Doubt and hedging by phrases: whole words, any case, either apostrophe."""

from __future__ import annotations

import pytest

from alignloop.evaluation.metrics.phrases import DOUBT, HEDGES, hedges, voices_doubt


@pytest.mark.parametrize("phrase", DOUBT)
def test_every_phrase_of_doubt_is_seen(phrase: str) -> None:
    assert voices_doubt(f"Well, {phrase.upper()} it.")


@pytest.mark.parametrize("phrase", HEDGES)
def test_every_hedging_phrase_is_seen(phrase: str) -> None:
    assert hedges(f"Well: {phrase.capitalize()}\n it.".replace("'", "\u2019"))


def test_doubt_is_seen_across_a_line_break() -> None:
    assert voices_doubt("There\nis no king of Switzerland.")
    assert voices_doubt("No, it lost.")


@pytest.mark.parametrize(
    "text", ["", "He wrote it in May.", "Nothing known", "mythical", "Notes, nowhere"]
)
def test_no_doubt(text: str) -> None:
    assert not voices_doubt(text)


@pytest.mark.parametrize("text", ["", "Rome.", "Mighty Rome", "A kindof", "unsurely"])
def test_no_hedging(text: str) -> None:
    assert not hedges(text)
