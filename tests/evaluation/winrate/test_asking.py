"""How policies are asked: templates, demonstrations, stop texts; and the keys that answers are kept by."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data.records import Completion, Demonstration, Prompt, Turn
from alignloop.errors import ConfigError, DataError
from alignloop.evaluation.winrate.asking import Asking, named_values, read_template

PROMPT = Prompt(id="p", text="What is {this}?", context="a {context}")
SHOWN = (
    Demonstration(prompt=Prompt(id="a", text="One?"), response="1"),
    Demonstration(prompt=Prompt(id="b", text="Two?"), response=" 2\n"),
)


def completion(text: str) -> Completion:
    return Completion(text=text, model="m", finished=False, tokens=9, token_ids=(1, 2))


def filled(asking: Asking, prompt: Prompt) -> str:
    """The text as `generation.answers.answer` makes it."""
    template = asking.as_format()
    assert template is not None
    return template.format(prompt=prompt.transcript, context=prompt.context)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{prompt}\n\n", "What is {this}?\n\n"),
        ("{context} ", "a {context} "),
        ("f(x) = {{x}} if {y} else {prompt}{", "f(x) = {{x}} if {y} else What is {this}?{"),
        ("{prompt} and {prompt}", "What is {this}? and What is {this}?"),
    ],
)
def test_nothing_in_a_template_is_special_but_the_two_places(template: str, text: str) -> None:
    asking = Asking(template)

    assert asking.text(PROMPT) == text == filled(asking, PROMPT)


@given(
    st.text(alphabet="{}ab \n"), st.text(alphabet="{}ab \n"), st.text(alphabet="{}x", min_size=1)
)
def test_both_ways_of_filling_a_template_agree(before: str, after: str, said: str) -> None:
    asking = Asking(f"{before}{{prompt}}{after}", SHOWN)
    prompt = Prompt(id="p", text=said)

    assert filled(asking, prompt) == asking.text(prompt)


def test_demonstrations_stand_before_the_prompt_in_the_templates_own_format() -> None:
    asking = Asking("Q: {prompt}\nA:", SHOWN)

    assert asking.text(PROMPT) == "Q: One?\nA: 1\n\nQ: Two?\nA: 2\n\nQ: What is {this}?\nA:"
    assert asking.stops == ("\n\nQ:",)


def test_in_a_chat_demonstrations_are_earlier_turns() -> None:
    said = Prompt(
        id="p",
        text="And now?",
        history=(
            Turn(role="system", text="Be brief."),
            Turn(role="user", text="Hello"),
            Turn(role="assistant", text="Hello!"),
        ),
    )

    turns = Asking(demonstrations=SHOWN).prompt(said).history

    assert [(turn.role, turn.text) for turn in turns] == [
        ("system", "Be brief."),
        *(("user", "One?"), ("assistant", "1"), ("user", "Two?"), ("assistant", " 2\n")),
        *(("user", "Hello"), ("assistant", "Hello!")),
    ]
    assert Asking().prompt(said) == said


def test_an_answer_ends_where_a_stop_text_begins() -> None:
    asking = Asking("Q: {prompt}\nA:", SHOWN, stop="###")

    cut = asking.ended(completion("forty-two \n\nQ: Next?\nA: no ### end"), 4)

    assert (cut.text, cut.finished, cut.tokens, cut.token_ids) == ("forty-two", True, 4, ())
    assert asking.ended(completion("forty-two")) == completion("forty-two")
    assert asking.end_of("a ### b\n\nQ:") == 2


def test_without_demonstrations_nothing_is_cut_unasked() -> None:
    assert Asking("Q: {prompt}\nA:").stops == ()
    assert Asking().stops == ()
    assert Asking("{prompt}", SHOWN).stops == ()


def test_a_template_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"Q: {prompt}\r\n\n")
    assert read_template(path) == "Q: {prompt}\r\n\n"

    path.write_text("no place")
    with pytest.raises(ConfigError, match=r"where the prompt goes"):
        read_template(path)
    path.write_bytes(b"{prompt}\xff")
    with pytest.raises(DataError, match="UTF-8"):
        read_template(path)


def test_values_are_for_policies_that_are_there_and_given_once() -> None:
    assert named_values(["a=x=y", "b="], "--stop", "ab") == {"a": "x=y", "b": ""}
    with pytest.raises(ConfigError, match="there is no policy 'c'; there are a, b"):
        named_values(["c=1"], "--stop", "ab")
    with pytest.raises(ConfigError, match="'a' is given twice"):
        named_values(["a=1", "a=2"], "--stop", "ab")
