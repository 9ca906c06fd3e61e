"""What makes two prompts the same, or begin alike."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data.curation.keys import digests, group, normalize
from alignloop.data.records import Prompt


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Two\n\tWords ", "two words"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("e\u0301TE\u0301", "\u00e9t\u00e9"),
        ("\u3000狐狸\u00a0x", "狐狸 x"),
        ("a\x1eb\x1fc", "a b c"),
        ("", ""),
    ],
)
def test_normal_forms(text: str, normal: str) -> None:
    assert normalize(text) == normal


@given(st.text())
def test_spelling_case_and_space_do_not_count(text: str) -> None:
    same = [
        unicodedata.normalize("NFD", text),
        unicodedata.normalize("NFC", text),
        f"  {text}\n",
        text.replace(" ", " \n"),
    ]

    assert {normalize(other) for other in same} == {normalize(text)}
    assert "\x1e" not in normalize(text)


def test_the_digest_is_that_of_the_normal_form() -> None:
    text, prefix = digests(" The Fox ", (), (), 3)

    assert text == hashlib.sha256(b"the fox").digest()[:16]
    assert prefix == hashlib.sha256(b"the").digest()[:16]


def whole(
    text: str, *history: tuple[str, str], examples: tuple[tuple[str, str], ...] = ()
) -> bytes:
    return digests(text, history, examples, None)[0]


def test_every_turn_and_its_speaker_and_every_example_count() -> None:
    different = [
        whole("c"),
        whole("c", ("user", "a"), ("assistant", "b")),
        whole("c", ("user", "a"), ("assistant", "x")),
        whole("c", ("user", "b"), ("assistant", "a")),
        whole("c", ("system", "a"), ("user", "a"), ("assistant", "b")),
        whole("user: a assistant: b user: c"),
        whole("c", examples=(("a", "b"),)),
        whole("c", examples=(("a b", ""),)),
        whole("c", examples=(("a", "b"), ("", ""))),
    ]

    assert len(set(different)) == len(different)
    assert whole("C ", ("user", "A"), ("assistant", "\nB")) == different[1]


def prefix(text: str, *history: tuple[str, str], characters: int = 12) -> bytes | None:
    return digests(text, history, (), characters)[1]


def test_a_prefix_is_what_many_characters_share() -> None:
    assert prefix("Tell me of the fox") == prefix("tell  me of THE hen") != prefix("Tell me about")
    assert prefix("Tell me of") is None, "ten characters"
    assert prefix("Tell me of t") is not None
    assert digests("Tell me of the fox", (), (), None)[1] is None


def test_a_system_turn_and_the_assistants_are_not_what_the_user_wrote() -> None:
    """One product gives all its users one system turn, and one model greets them all alike."""
    system, greeting = (
        ("system", "You are the shop's assistant."),
        ("assistant", "Hello! How can I?"),
    )

    one = prefix("Where is my order, please?", system, ("user", "Hi"), greeting)
    other = prefix("Write a poem of three lines", system, ("user", "Hi"), greeting)

    assert one is not None and other is not None and one != other
    assert prefix("Write a poem of a fox", system) == prefix("Write a poem of three lines")


def test_turns_of_one_conversation_share_its_opening() -> None:
    opening = ("user", "Write a poem of a fox, please.")
    answers = ("assistant", "Once there was a fox."), ("assistant", "Red was her tail.")

    turns = [
        prefix(opening[1]),
        prefix("Longer", opening, answers[0]),
        prefix("No", opening, answers[1]),
    ]

    assert len(set(turns)) == 1 and turns[0] is not None
    short = ("user", "Hi")
    assert prefix("Why is the sky blue?", short, answers[0]) != prefix(
        "Why is grass so green?", short, answers[0]
    )


def test_few_shot_prompts_are_compared_over_their_examples() -> None:
    one = digests("Label it.", (), (("good", "yes"), ("bad", "no")), 14)[1]

    assert one == digests("Label it.", (), (("good", "maybe"),), 14)[1]
    assert one != digests("Label it.", (), (("poor", "yes"), ("bad", "no")), 14)[1]


turns = st.text(min_size=1, max_size=5)


@given(st.text(max_size=5), st.lists(st.tuples(turns, turns), max_size=3), st.booleans())
def test_without_an_author_the_opening_keeps_a_conversation_together(
    text: str, said: list[tuple[str, str]], has_system: bool
) -> None:
    history = [("system", "Be kind.")] if has_system else []
    for asked, answered in said:
        history += [("user", asked), ("assistant", answered)]
    record = Prompt.model_validate(
        {"text": text, "history": [{"role": role, "text": words} for role, words in history]}
    )

    assert group("", "", "user", text, history) == record.opening_id


@pytest.mark.parametrize(
    ("user", "organization", "by_user", "by_organization"),
    [("ann", "acme", "ann", "acme"), ("ann", "", "ann", "ann"), ("", "acme", "acme", "acme")],
)
def test_the_group_is_who_is_asked_for_or_the_other(
    user: str, organization: str, by_user: str, by_organization: str
) -> None:
    assert group(user, organization, "user", "x", ()) == by_user
    assert group(user, organization, "organization", "x", ()) == by_organization
