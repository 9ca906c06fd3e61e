"""Prompts of one turn and of many: what is refused, what chat-style messages become, what stands on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Demonstration, Prompt, Ranking, Turn
from alignloop.errors import DataError

SYSTEM = {"role": "system", "text": "Be brief."}
ASKS, ANSWERS = {"role": "user", "text": "Who?"}, {"role": "assistant", "text": "A fox."}
SAID = [SYSTEM, ASKS, ANSWERS]


def as_messages(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"role": turn["role"], "content": turn["text"]} for turn in turns]


MESSAGES = as_messages([*SAID, {"role": "user", "text": "Where?"}])


@pytest.mark.parametrize(
    "history",
    [[], [SYSTEM], [ASKS, ANSWERS], SAID, [*SAID, ASKS, ANSWERS]],
    ids=lambda history: "-".join(turn["role"][0] for turn in history),
)
def test_a_history_goes_from_the_user_to_the_assistant_after_a_system_turn(
    history: list[dict[str, str]], tmp_path: Path
) -> None:
    prompt = Prompt.model_validate({"text": "Where?", "history": history})

    write_records(tmp_path / "p.jsonl", [prompt])

    assert [turn.model_dump() for turn in prompt.history] == history
    assert read_records(tmp_path / "p.jsonl", Prompt) == [prompt]


@pytest.mark.parametrize(
    "history",
    [
        [ASKS],
        [ANSWERS],
        [ASKS, ASKS],
        [ANSWERS, ASKS],
        [ASKS, ANSWERS, SYSTEM],
        [SYSTEM, SYSTEM],
        [SYSTEM, ANSWERS],
        [ASKS, ANSWERS, ASKS],
        [ASKS, SYSTEM, ANSWERS],
    ],
    ids=lambda history: "-".join(turn["role"][0] for turn in history),
)
def test_any_other_order_is_refused(history: list[dict[str, str]]) -> None:
    with pytest.raises(ValidationError, match="user and assistant in turn, up to the assistant"):
        Prompt.model_validate({"text": "Where?", "history": history})


def test_a_turn_without_text_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 character"):
        Turn(role="user", text="")


def test_a_prompt_without_history_is_written_as_ever(tmp_path: Path) -> None:
    """Byte for byte, and under the id that its text has always given it."""
    write_records(tmp_path / "p.jsonl", [Prompt.model_validate("Who?")])

    assert (tmp_path / "p.jsonl").read_text() == (
        '{"id": "prompt-d991a24e8e04231c", "text": "Who?"}\n'
    )


def test_the_id_tells_conversations_apart_that_end_alike() -> None:
    prompts = [Prompt.model_validate({"text": "Why?", "history": h}) for h in ([], SAID, SAID[1:])]
    again = Prompt(id="x", text="Why?", history=prompts[1].history).model_dump(exclude={"id"})

    assert len({prompt.id for prompt in prompts}) == 3
    assert Prompt.model_validate(again).id == prompts[1].id, "from records as from JSON"
    in_python = Prompt.model_validate({"text": "Why?", "history": prompts[1].history})
    assert in_python.id == prompts[1].id


def test_turns_of_one_conversation_share_their_opening() -> None:
    first = Prompt.model_validate({"messages": MESSAGES[:2]})
    second = Prompt.model_validate({"messages": MESSAGES})
    third = Prompt.model_validate({"text": "Why?", "history": [*SAID, ASKS, ANSWERS]})

    assert first.opening_id == second.opening_id == third.opening_id == first.id
    assert Prompt.model_validate({"messages": MESSAGES[1:]}).opening_id != first.id


def test_a_transcript_is_what_a_person_reads() -> None:
    prompt = Prompt.model_validate({"messages": MESSAGES})

    assert (
        prompt.transcript == "System: Be brief.\n\nUser: Who?\n\nAssistant: A fox.\n\nUser: Where?"
    )
    assert Prompt.model_validate("Who?").transcript == "Who?"


# --- chat-style messages ---


def test_messages_stand_for_history_and_text() -> None:
    plain = Prompt.model_validate({"text": "Where?", "history": SAID, "group": "ann"})

    assert Prompt.model_validate({"messages": MESSAGES, "group": "ann"}) == plain
    assert Prompt.model_validate(MESSAGES) == plain.model_copy(update={"group": ""})


def test_messages_stand_for_a_whole_demonstration() -> None:
    line = {
        "messages": [*MESSAGES, {"role": "assistant", "content": "By the river."}],
        "group": "ann",
        "labeler": "bob",
    }

    assert Demonstration.model_validate(line) == Demonstration(
        prompt=Prompt.model_validate({"messages": MESSAGES, "group": "ann"}),
        response="By the river.",
        labeler="bob",
    )


def test_a_ranking_takes_them_as_its_prompt() -> None:
    completion = {"text": "Here.", "model": "m", "finished": True, "tokens": 2}
    line = {"completions": [completion] * 2, "ranks": [1, 2], "labeler": "ann"}

    found = [
        Ranking.model_validate({**line, "prompt": p}) for p in (MESSAGES, {"messages": MESSAGES})
    ]

    assert found[0] == found[1]
    assert [turn.role for turn in found[0].prompt.history] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": []}, "'messages' is a list"),
        ({"messages": "Who?"}, "'messages' is a list"),
        ({"messages": ["Who?"]}, "message 1 needs 'role' and 'content'"),
        ({"messages": [*MESSAGES, {"role": "user"}]}, "message 5 needs 'role' and 'content'"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "message 1 needs"),
        ({"messages": [{**MESSAGES[1], "tool_calls": []}]}, "and no more"),
        ({"messages": [{"role": "tool", "content": "x"}, MESSAGES[1]]}, "'system', 'user' or"),
        ({"messages": MESSAGES[:3]}, "end with the user's, not 'assistant'"),
        ({"messages": MESSAGES, "text": "Who?"}, "leave 'text' out"),
        ({"messages": MESSAGES, "history": []}, "leave 'history' out"),
        ({"text": "Who?", "history": 3}, "history: Input should be a valid tuple"),
        ({"text": "Who?", "history": ["x"]}, "history.0: Input should be a valid dictionary"),
    ],
)
def test_messages_that_are_none_are_refused_with_file_line_and_reason(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"text": "Fine."}) + "\n" + json.dumps(fields) + "\n")

    with pytest.raises(DataError, match=message) as refused:
        read_records(path, Prompt)

    assert f"{path}, line 2: not a Prompt record: " in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": MESSAGES}, "end with the user's and the assistant's answer"),
        ({"messages": as_messages([ANSWERS])}, "end with the user's and the assistant's answer"),
        ({"messages": as_messages([SYSTEM, ANSWERS])}, "end with the user's, not 'system'"),
        ({"messages": as_messages([ASKS, ANSWERS]), "response": "A fox."}, "leave 'response' out"),
        ({"messages": as_messages([ASKS, ANSWERS]), "mood": "good"}, "mood"),
    ],
)
def test_messages_that_are_no_demonstration_are_refused(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Demonstration.model_validate(fields)
