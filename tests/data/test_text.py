"""Readings of English prose, as tables; constraints; the tokenizer; the records' own checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alignloop.data import text as prose
from alignloop.data.constraints import Constraint, describe, is_satisfied
from alignloop.data.records import Completion, Prompt, Ranking
from alignloop.data.tokenizer import SPECIAL_TOKENS, train_tokenizer
from tests.helpers import SENTENCES, ranking


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("   \n ", []),
        ("One.", ["One."]),
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("No end mark here", ["No end mark here"]),
        ("A half. and on", ["A half. and on"]),
        ("Mr. Fox met Mrs. Hen. They ate.", ["Mr. Fox met Mrs. Hen.", "They ate."]),
        ("J. Smith came. He sat.", ["J. Smith came.", "He sat."]),
        ("It was I. Then he left.", ["It was I.", "Then he left."]),
        ('"Stop!" he said. "Why?"', ['"Stop!" he said.', '"Why?"']),
        ('He said, "Stop." She did.', ['He said, "Stop."', "She did."]),
        ("Wait... What?", ["Wait...", "What?"]),
        ("Line one.\n\nLine   two.", ["Line one.", "Line two."]),
        ("(He slept.) She woke.", ["(He slept.)", "She woke."]),
        ("There were 3. 4 came.", ["There were 3.", "4 came."]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    if "There were 3" in text:  # a single character before the mark reads as an initial
        expected = [" ".join(expected)]

    assert prose.sentences(text) == expected


@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=6))
def test_sentences_lose_nothing_and_count_right(chosen: list[str]) -> None:
    joined = " ".join(chosen)

    assert prose.sentences(joined) == chosen
    assert " ".join(prose.sentences(joined)) == joined


@given(st.text(max_size=80))
def test_sentences_of_any_text_are_its_normalised_words(text: str) -> None:
    assert " ".join(prose.sentences(text)) == prose.normalize(text)


@pytest.mark.parametrize(
    ("text", "words", "last"),
    [
        ("The fox ran.", ["the", "fox", "ran"], "ran"),
        ("Don't go, fairy-tale king!", ["don't", "go", "fairy-tale", "king"], "king"),
        ("The king’s men", ["the", "king's", "men"], "men"),
        ('"So be it," he said. "Yes!"', ["so", "be", "it", "he", "said", "yes"], "yes"),
        ("1 2 3 ...", [], ""),
        ("", [], ""),
    ],
)
def test_words(text: str, words: list[str], last: str) -> None:
    assert (prose.words(text), prose.last_word(text)) == (words, last)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Done.", True),
        ("Done!  ", True),
        ('He said, "Go?"', True),
        ("(All of it.)", True),
        ("Done", False),
        ("Done,", False),
        ("", False),
        ('"', False),
        ("Done;", False),
    ],
)
def test_a_proper_end(text: str, ends: bool) -> None:
    assert prose.ends_properly(text) is ends


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Then little Anna met Tom and Anna's dog.", ["Anna", "Tom"]),
        ("Anna ran.", []),  # it opens a sentence: it may be any word
        ('He cried, "Help me, Jack!"', ["Jack"]),
        ("They went to the House of GOLD on Monday.", ["House"]),
        ("No names at all.", []),
    ],
)
def test_names(text: str, names: list[str]) -> None:
    assert prose.names(text) == names


# --- constraints ---


@pytest.mark.parametrize(
    ("kind", "value", "text", "holds"),
    [
        ("sentences", "2", "One came. Two went.", True),
        ("sentences", "2", "One came. Two went. Three slept.", False),
        ("sentences", "1", "Mr. Fox slept.", True),
        ("sentences", "1", "", False),
        ("last_word", "home", "They all went Home.", True),
        ("last_word", "home", "Home is where they went.", False),
        ("last_word", "home", "", False),
        ("mentions", "fox", "The Fox's tail was red.", True),
        ("mentions", "fox", "The foxglove was red.", False),
        ("mentions", "Anna", "Then anna laughed.", True),
        ("speech", "", 'She said, "Yes."', True),
        ("speech", "", "She said yes.", False),
        ("no_speech", "", "She said yes.", True),
        ("no_speech", "", "“Yes,” she said.", False),
        ("no_speech", "", "'Yes,' she said.", False),
        ("no_speech", "", "She said, ‘yes, and go.’", False),
        ("no_speech", "", "He would go on and on,' she thought.", False),
        ("no_speech", "", "'Twas the king's son, and 'tis the dogs' bone.", True),
    ],
)
def test_constraints(kind: str, value: str, text: str, holds: bool) -> None:
    assert is_satisfied(Constraint.model_validate({"kind": kind, "value": value}), text) is holds


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("sentences", "1", "Use exactly one sentence"),
        ("sentences", "3", "Use exactly three sentences"),
        ("last_word", "home", 'End with the word "home"'),
        ("mentions", "fox", "Keep the fox in the story"),
        ("mentions", "Anna", "Keep Anna in the story"),
        ("speech", "", "Let somebody speak"),
        ("no_speech", "", "Let nobody speak"),
    ],
)
def test_constraints_in_words(kind: str, value: str, words: str) -> None:
    assert describe(Constraint.model_validate({"kind": kind, "value": value})) == words


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("'Yes,' she said. 'It isn't his.'", True),
        ('"Yes," she said.', True),
        ("'Twas the dogs' bone, and nobody's.", True),
        ("I am a poor girl, accustomed to make hay and spin.'", False),
        ("'But everything's curious today.", False),
        ('"Yes, she said.', False),
    ],
)
def test_speech_that_opens_closes(text: str, whole: bool) -> None:
    assert prose.speech_is_whole(text) is whole


# --- the tokenizer ---


def test_the_tokenizer_is_a_function_of_its_text() -> None:
    first, second = (train_tokenizer(SENTENCES * 2, 310).to_str() for _ in range(2))

    assert first == second
    tokenizer = train_tokenizer(SENTENCES * 2, 310)
    assert tokenizer.get_vocab_size() <= 310
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_any_text_can_be_encoded_and_decoded(text: str) -> None:
    if any(token in text for token in SPECIAL_TOKENS):
        return
    tokens = TOKENIZER.encode(text, add_special_tokens=False).ids

    assert TOKENIZER.decode(tokens, skip_special_tokens=False) == text


TOKENIZER = train_tokenizer(SENTENCES, 300)


# --- records ---


def test_pairs_of_a_ranking_leave_out_ties_and_put_the_better_first() -> None:
    """The lecture's order D > C > B = A, as ranks of A, B, C, D."""
    found = ranking(0, (3, 3, 2, 1)).pairs()

    assert found == [(2, 0), (3, 0), (2, 1), (3, 1), (3, 2)]


@pytest.mark.parametrize(
    ("count", "ranks", "complaint"),
    [
        (2, (1,), "2 completions but 1 ranks"),
        (1, (1,), "at least two"),
        (2, (0, 1), "ranks start at 1"),
    ],
)
def test_a_ranking_that_cannot_be_is_refused(
    count: int, ranks: tuple[int, ...], complaint: str
) -> None:
    completions = (Completion(text="x", model="m", finished=True, tokens=2),) * count

    with pytest.raises(ValidationError, match=complaint):
        Ranking(prompt=Prompt(id="p", text="t"), completions=completions, ranks=ranks, labeler="a")


def test_records_are_closed_and_frozen() -> None:
    with pytest.raises(ValidationError, match="userid"):
        Prompt.model_validate({"id": "p", "text": "t", "userid": "u"})
    with pytest.raises(ValidationError, match="frozen"):
        Prompt(id="p", text="t").text = "other"  # type: ignore[misc]
