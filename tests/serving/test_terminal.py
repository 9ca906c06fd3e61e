"""A chat reads a prompt after what was said before, forgets the oldest turns first, and can start anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignloop.data.formatter import Formatter
from alignloop.data.records import Prompt, Turn
from alignloop.errors import DataError
from alignloop.generation.engine import SamplingConfig
from alignloop.generation.native import stream_tokens
from alignloop.models.loading import load_causal_lm, load_tokenizer
from alignloop.serving.terminal import Chat, converse
from tests.helpers import CONTEXT, write_model

SAMPLING = SamplingConfig(max_new_tokens=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("chat"))


def drawn(model: Path, prompt: Prompt, seed: int) -> str:
    formatter, policy = Formatter.of(load_tokenizer(model)), load_causal_lm(model)
    tokens = stream_tokens(policy, formatter.prompt(prompt), SAMPLING, formatter.end, seed)
    return formatter.text(list(tokens))


def test_a_prompt_is_read_after_what_was_said(model: Path) -> None:
    chat = Chat(model, SAMPLING, seed=5)
    first = "".join(chat.answer("The king"))

    second = "".join(chat.answer("The hen"))

    said = (Turn(role="user", text="The king"), Turn(role="assistant", text=first))
    whole = drawn(model, Prompt(id="p", text="The hen", history=said), seed=7)
    assert second
    assert whole.replace("\ufffd", "").strip() == second, "but for bytes that are no character"
    assert [turn.text for turn in chat.history] == ["The king", first, "The hen", second]


def test_single_turns_stand_alone(model: Path) -> None:
    chat = Chat(model, SAMPLING, seed=5, remembers=False)
    "".join(chat.answer("The king"))

    second = "".join(chat.answer("The hen"))

    assert second
    assert drawn(model, Prompt(id="p", text="The hen"), seed=7).replace("\ufffd", "") == second
    assert chat.history == ()


def test_the_oldest_turns_are_forgotten_where_the_context_is_full(model: Path) -> None:
    chat = Chat(model, SAMPLING, seed=5)
    longest = 0
    for turn in range(12):
        "".join(chat.answer(f"The old hen and the fox {turn}"))
        longest = max(longest, len(chat.history))
    formatter = Formatter.of(load_tokenizer(model))
    said = formatter.prompt(Prompt(id="p", text="x", history=chat.history))

    assert 2 <= len(chat.history) <= longest < 24
    assert chat.history[0].role == "user"
    assert chat.history[-2].text.endswith("11"), "the newest stays"
    assert len(said) <= CONTEXT + 8


def test_a_prompt_that_is_too_long_by_itself_is_refused_and_nothing_is_forgotten(
    model: Path,
) -> None:
    chat = Chat(model, SAMPLING, seed=5)
    "".join(chat.answer("The king"))
    said = chat.history

    with pytest.raises(DataError, match=f"context is {CONTEXT}; ask something shorter"):
        next(chat.answer("long " * 60))

    assert len(chat.history) == 2
    assert chat.history == said


def test_a_conversation_goes_on_after_a_refusal_and_starts_anew_when_told(model: Path) -> None:
    chat, shown = Chat(model, SAMPLING, seed=5), list[str]()
    lengths: list[int] = []
    asked = iter(["The king", "long " * 60, "The hen", "/new", ""])

    def ask() -> str:
        lengths.append(len(chat.history))
        return next(asked)

    converse(chat, ask, shown.append)

    assert lengths == [0, 2, 2, 4, 0]
    assert "(a new conversation)" in "".join(shown)
    assert "ask something shorter" in "".join(shown)
