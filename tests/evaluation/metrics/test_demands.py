"""Demands on an answer, each kind with texts that meet it and texts that do not."""

from __future__ import annotations

import pytest

from alignloop.evaluation.metrics.demands import KINDS, fault, is_met

CASES = [
    ("sentences", "2", "It rained. Mr. Ray ran.", "It rained."),
    ("last_word", "home", 'He said, "Go home."', "home is far"),
    ("mentions", "apples", "Two Apples.", "An apple."),
    ("mentions", "bridge", "The bridge's arch", "bridges"),
    ("speech", "", 'She said, "Yes."', "She said yes."),
    ("no_speech", "", "She said yes.", 'She said, "Yes."'),
    ("words_at_most", "3", "one, two - three", "one two three four"),
    ("words_at_least", "3", "one two three", "one two -"),
    ("first_word", "once", '"Once more', "At once"),
    ("avoids", "book", "books and bookshops", "A Book!"),
    ("lines", "2", "one\n\n two\n", "one two"),
    ("bullets", "2", "Here:\n- one\n* two", "- one\n- two\n- three"),
    ("bullets", "1", "\u2022 one", "-one"),
    ("numbered", "2", "Steps:\n1. one\n2) two", "1. one\n3. three"),
    ("numbered", "2", "1. one\n2. two", "2. two\n1. one"),
    ("numbered", "2", "1. one\n2. two", "1. one\n2. two\n3. three"),
    ("no_letter", "z", "no such letter", "Zebra"),
    ("lacks_mark", ",", "one two", "one, two"),
    ("ends_with", "!", "Read! \n", "Read! Now."),
    ("question", "", 'He asked, "Why?"', "Why? Because."),
    ("lower_case", "", "one 2, three", "One"),
    ("upper_case", "", "WET FLOOR 2", "WET Floor"),
    ("digits", "", "12 degrees", "twelve"),
    ("no_digits", "", "twelve", "12"),
]


def test_every_kind_has_a_case() -> None:
    assert {kind for kind, *_ in CASES} == set(KINDS)


@pytest.mark.parametrize(("kind", "value", "meets", "does_not"), CASES)
def test_a_demand_is_met_or_not(kind: str, value: str, meets: str, does_not: str) -> None:
    assert fault(kind, value) is None
    assert is_met(kind, value, meets)
    assert not is_met(kind, value, does_not)


@pytest.mark.parametrize("text", ["", "  \n", "...", "- !"])
@pytest.mark.parametrize(
    "kind", ["avoids", "words_at_most", "no_speech", "lacks_mark", "no_digits"]
)
def test_who_says_nothing_meets_nothing(kind: str, text: str) -> None:
    value = {"avoids": "word", "words_at_most": "9", "lacks_mark": ","}.get(kind, "")

    assert not is_met(kind, value, text)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("rhymes", "", "no kind of demand; known: sentences"),
        ("lines", "two", "a number above 0"),
        ("lines", "0", "a number above 0"),
        ("digits", "3", "takes no value"),
        ("avoids", "", "a value in small letters"),
        ("avoids", "Book", "a value in small letters"),
    ],
)
def test_a_demand_that_cannot_be_checked_is_told(kind: str, value: str, words: str) -> None:
    assert words in str(fault(kind, value))
