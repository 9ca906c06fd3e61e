"""Conversations in the forms that their makers describe, from rows written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.incoming import Answer
from tests.data.shapes.helpers import (
    AGAIN,
    ASKED,
    SAID,
    SYSTEM,
    one_row,
    reason,
    shape_of,
)


@pytest.mark.parametrize(
    "key", ["messages", "conversation", "conversations", "dialogue", "chat", "prompt"]
)
def test_messages_that_end_with_the_user_are_a_prompt_with_history(
    tmp_path: Path, key: str
) -> None:
    row = {key: [SYSTEM, ASKED, SAID, AGAIN], "user": "u1", "organization": "acme"}

    found = one_row(tmp_path, row)

    assert shape_of(tmp_path, row) == "messages"
    assert found.text == "Who are you?"
    assert found.history == (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"))
    assert (found.answers, found.user, found.organization) == ((), "u1", "acme")


def test_messages_that_end_with_the_assistant_are_a_demonstration_of_the_last_turn(
    tmp_path: Path,
) -> None:
    row = {
        "messages": [ASKED, SAID, AGAIN, {"role": "assistant", "content": "Me."}],
        "model": "m-1",
    }

    found = one_row(tmp_path, row)

    assert (found.text, found.history) == ("Who are you?", (("user", "Hi"), ("assistant", "Hello")))
    assert found.answers == (Answer("Me.", model="m-1"),)


def test_a_bare_list_of_messages_is_a_row(tmp_path: Path) -> None:
    assert one_row(tmp_path, [ASKED]).text == "Hi"
    assert shape_of(tmp_path, [ASKED]) == "messages"


def test_sharegpt_conversations(tmp_path: Path) -> None:
    row = {
        "id": "identity_0",
        "system": "Be kind.",
        "conversations": [
            {"from": "human", "value": "Hi"},
            {"from": "gpt", "value": "Hello"},
            {"from": "human", "value": "Bye"},
            {"from": "gpt", "value": "So long"},
        ],
    }

    found = one_row(tmp_path, row)

    assert shape_of(tmp_path, row) == "sharegpt"
    assert found.text == "Bye"
    assert found.history == (("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"))
    assert found.answers == (Answer("So long"),)


def test_a_text_in_parts_is_put_together(tmp_path: Path) -> None:
    content = [{"type": "text", "text": "Read this:"}, {"type": "text", "text": "a poem"}]

    assert (
        one_row(tmp_path, {"messages": [{"role": "user", "content": content}]}).text
        == "Read this:\na poem"
    )


def test_two_system_messages_at_the_start_are_one(tmp_path: Path) -> None:
    row = {"messages": [SYSTEM, {"role": "developer", "content": "In French."}, ASKED]}

    assert one_row(tmp_path, row).history == (("system", "Be brief.\n\nIn French."),)


def test_messages_in_columns_and_as_json_in_a_cell_are_read(tmp_path: Path) -> None:
    columns = {"conversations": {"from": ["human", "gpt"], "value": ["Hi", "Hello"]}}
    cell = {"messages": json.dumps([ASKED, SAID])}

    assert shape_of(tmp_path, columns) == "sharegpt"
    assert one_row(tmp_path, columns).answers == (Answer("Hello"),)
    assert one_row(tmp_path, cell).answers == (Answer("Hello"),)


def test_a_thread_of_open_assistant_is_a_conversation(tmp_path: Path) -> None:
    row = {
        "thread_id": "x",
        "thread": [{"message_id": "a", "text": "Hi", "role": "prompter", "lang": "en"}],
    }

    assert one_row(tmp_path, row).text == "Hi"


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([], "'messages' is empty"),
        ("Hi", "'messages' is text, not a list of messages"),
        ([SAID], "there is no message of a user"),
        ([SYSTEM], "there is no message of a user"),
        ([SAID, ASKED], "user and assistant do not take turns (assistant, user)"),
        ([ASKED, ASKED], "user and assistant do not take turns (user, user)"),
        (
            [ASKED, SAID, SYSTEM, AGAIN],
            "user and assistant do not take turns (user, assistant, system, user)",
        ),
        ([ASKED, {"role": "assistant", "content": " "}, AGAIN], "an earlier message is blank"),
        ([ASKED, 5], "message 2 is a number, not an object"),
        ([{"content": "Hi"}], "message 1 has no 'role'"),
        ([{"role": "narrator", "content": "Hi"}], "message 1 has the unknown role 'narrator'"),
        ([{"role": ["user"], "content": "Hi"}], "message 1 has the unknown role ['user']"),
        ([{"role": "user"}], "message 1 has no text"),
        ([{"role": "user", "content": 5}], "the text of message 1 is a number"),
        (
            [{"role": "user", "content": [{"type": "image_url"}]}],
            "message 1 has a part of type 'image_url'; only text is read",
        ),
        ([{"role": "user", "content": [{"type": "text"}]}], "message 1 has a part without text"),
        (
            [ASKED, {"role": "assistant", "tool_calls": [{}], "content": None}],
            "message 2 calls a tool",
        ),
        (
            [ASKED, {"role": "tool", "content": "5"}],
            "message 2 is a tool's; conversations with tools are not read",
        ),
    ],
)
def test_conversations_that_cannot_be_read(tmp_path: Path, messages: Any, complaint: str) -> None:
    assert reason(tmp_path, {"messages": messages}, "messages").startswith(complaint)


def test_empty_tool_calls_as_a_table_has_them_are_no_calls(tmp_path: Path) -> None:
    row = {"messages": [ASKED, {**SAID, "tool_calls": None, "function_call": None}]}

    assert one_row(tmp_path, row).answers == (Answer("Hello"),)
