"""Prompts as texts, with an answer, examples or a history, from rows written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignloop.data.incoming import Answer
from tests.data.shapes.helpers import (
    candidates,
    one_row,
    shape_of,
    write_lines,
)


@pytest.mark.parametrize(
    ("row", "text", "answer"),
    [
        ({"text": "Hi"}, "Hi", None),
        ({"prompt": "Hi", "response": "Hello"}, "Hi", "Hello"),
        (
            {"instruction": "Sum up.", "input": "A long text.", "output": "Short."},
            "Sum up.\n\nA long text.",
            "Short.",
        ),
        ({"instruction": "Greet.", "input": "", "output": "Hi."}, "Greet.", "Hi."),
        ({"instruction": "Greet.", "input": "<noinput>", "output": "Hi."}, "Greet.", "Hi."),
        (
            {
                "instruction": "When?",
                "context": "It began in 2000.",
                "response": "In 2000.",
                "category": "closed_qa",
            },
            "When?\n\nIt began in 2000.",
            "In 2000.",
        ),
        ({"instruction": "Greet.", "context": "", "response": "Hi."}, "Greet.", "Hi."),
        ({"question": "1 + 1?", "answer": "2"}, "1 + 1?", "2"),
        ({"question": "Who?", "context": "Ann ran."}, "Who?\n\nAnn ran.", None),
        ({"query": "Who?"}, "Who?", None),
        ({"title": "Hops?", "body": "What are hops?"}, "Hops?\n\nWhat are hops?", None),
        ({"title": "Hops?", "body_text": "What?", "body": "<p>What?</p>"}, "Hops?\n\nWhat?", None),
        ({"title": "Tell me", "selftext": "a story"}, "Tell me\n\na story", None),
        ({"title": "Only this"}, "Only this", None),
        ({"prompt": "A: x\nB: y", "input": "B: y"}, "A: x\nB: y", None),
        ({"prompt": "Hi", "response": ""}, "Hi", None),
        ({"prompt": "Hi", "response": None}, "Hi", None),
        ({"text": "Hi", "prompt": None}, "Hi", None),
    ],
)
def test_plain_prompts_and_demonstrations(
    tmp_path: Path, row: Any, text: str, answer: str | None
) -> None:
    found = one_row(tmp_path, row)

    assert shape_of(tmp_path, row) == "plain"
    assert found.text == text
    assert found.answers == (() if answer is None else (Answer(answer),))


def test_an_instruction_with_several_instances_is_several_demonstrations(tmp_path: Path) -> None:
    row = {
        "id": "seed_task_1",
        "instruction": "Translate.",
        "instances": [{"input": "Hund", "output": "dog"}, {"input": "", "output": "what?"}],
        "is_classification": False,
    }

    found = candidates(write_lines(tmp_path / "a.jsonl", [row]))

    assert [(c.text, c.answers[0].text) for c in found] == [
        ("Translate.\n\nHund", "dog"),
        ("Translate.", "what?"),
    ]


def test_few_shot_examples_stand_under_their_instruction(tmp_path: Path) -> None:
    row = {
        "instruction": "Give the sentiment.",
        "kind": "few_shot",
        "examples": [{"input": "I like it", "output": "positive"}, ["Boring", "negative"]],
    }

    found = one_row(tmp_path, row)

    assert found.examples == (("I like it", "positive"), ("Boring", "negative"))
    assert (found.text, found.kind) == ("Give the sentiment.", "labeler_fewshot")


def test_a_plain_row_may_say_what_came_before(tmp_path: Path) -> None:
    pairs = {
        "instruction": "And now?",
        "system": "Be brief.",
        "history": [["Hi", "Hello"]],
        "output": "Bye",
    }
    turns = {
        "prompt": "And now?",
        "history": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}],
    }

    assert one_row(tmp_path, pairs).history == (
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
    )
    assert one_row(tmp_path, turns, "plain").history == (("user", "Hi"), ("assistant", "Yo"))
