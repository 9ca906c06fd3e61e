"""Preferences, completions and rankings in the forms that their makers describe, from rows written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignloop.data.incoming import Answer
from tests.data.shapes.helpers import (
    AGAIN,
    ASKED,
    SAID,
    best_first,
    candidates,
    one_row,
    reason,
    shape_of,
    write_lines,
)

# --- helpful and harmless ---

START = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: How do I\n\nbake?\n\nAssistant:"


def test_hh_has_the_common_prompt_and_two_ranked_answers(tmp_path: Path) -> None:
    row = {"chosen": f"{START} With flour.\n", "rejected": f"{START} No."}

    found = one_row(tmp_path, row)

    assert shape_of(tmp_path, row) == "hh"
    assert found.text == "How do I\n\nbake?"
    assert found.history == (("user", "Hi"), ("assistant", "Hello."))
    assert best_first(found) == ["With flour.", "No."]


def test_the_preferred_answer_does_not_always_stand_first(tmp_path: Path) -> None:
    rows = [{"chosen": f"{START} yes {at}", "rejected": f"{START} no {at}"} for at in range(64)]

    found = candidates(write_lines(tmp_path / "a.jsonl", rows))

    firsts = [c.answers[0].rank for c in found]
    assert 16 < firsts.count(1) < 48
    assert all(best_first(c) == [f"yes {at}", f"no {at}"] for at, c in enumerate(found))


def test_an_empty_answer_is_not_malformed(tmp_path: Path) -> None:
    assert best_first(one_row(tmp_path, {"chosen": f"{START} Yes.", "rejected": START})) == [
        "Yes.",
        "",
    ]


@pytest.mark.parametrize(
    ("chosen", "rejected", "complaint"),
    [
        (
            f"{START} a",
            "\n\nHuman: Hi\n\nAssistant: b",
            "malformed: chosen and rejected differ before their last message",
        ),
        (
            f"{START} a\n\nHuman: Bye",
            f"{START} a\n\nHuman: Bye",
            "malformed: chosen does not end with an answer",
        ),
        (
            f"{START} a\n\nAssistant: b",
            f"{START} a\n\nAssistant: c",
            "malformed: two answers of the assistant in a row",
        ),
        ("\n\nAssistant: a", "\n\nAssistant: b", "malformed: chosen does not end with an answer"),
        (
            "\n\nHuman: a\n\nHuman: b\n\nAssistant: c",
            "\n\nHuman: a\n\nHuman: b\n\nAssistant: d",
            "user and assistant do not take turns (user, user)",
        ),
        ("Hello there", "Hello you", "the text does not begin with 'Human:'"),
        (f"{START} a", None, "'rejected' is null, not text"),
        (5, f"{START} a", "'chosen' is a number, not text"),
    ],
)
def test_malformed_transcripts_are_rejected(
    tmp_path: Path, chosen: Any, rejected: Any, complaint: str
) -> None:
    assert reason(tmp_path, {"chosen": chosen, "rejected": rejected}, "hh").startswith(complaint)


# --- preferences and completions ---

PROMPT = [{"role": "user", "content": "What colour is the sky?"}]
BLUE = [{"role": "assistant", "content": "It is blue."}]
GREEN = [{"role": "assistant", "content": "It is green."}]


@pytest.mark.parametrize(
    ("row", "text", "answers"),
    [
        (
            {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
            "The sky is",
            [" blue.", " green."],
        ),
        (
            {"chosen": "The sky is blue.", "rejected": "The sky is green."},
            "The sky is",
            [" blue.", " green."],
        ),
        (
            {"chosen": "The sky is blue.", "rejected": "The sky is black."},
            "The sky is",
            [" blue.", " black."],
        ),
        ({"chosen": "The sky is", "rejected": "The sky is blue"}, "The sky", [" is", " is blue"]),
        (
            {"prompt": PROMPT, "chosen": BLUE, "rejected": GREEN},
            "What colour is the sky?",
            ["It is blue.", "It is green."],
        ),
        (
            {
                "prompt": "What colour is the sky?",
                "chosen": PROMPT + BLUE,
                "rejected": PROMPT + GREEN,
            },
            "What colour is the sky?",
            ["It is blue.", "It is green."],
        ),
        (
            {"chosen": PROMPT + BLUE, "rejected": PROMPT + GREEN},
            "What colour is the sky?",
            ["It is blue.", "It is green."],
        ),
        (
            {
                "input": {"messages": PROMPT, "tools": []},
                "preferred_output": BLUE,
                "non_preferred_output": GREEN,
            },
            "What colour is the sky?",
            ["It is blue.", "It is green."],
        ),
        (
            {
                "prompt": "\n\nHuman: What colour is the sky?\n\nAssistant:",
                "chosen": " Blue.",
                "rejected": " Green.",
            },
            "What colour is the sky?",
            [" Blue.", " Green."],
        ),
    ],
)
def test_preferences_of_all_kinds(tmp_path: Path, row: Any, text: str, answers: list[str]) -> None:
    found = one_row(tmp_path, row)

    assert shape_of(tmp_path, row) == "trl_preference"
    assert (found.text, found.history) == (text, ())
    assert best_first(found) == answers


def test_a_preference_keeps_what_came_before_and_who_judged(tmp_path: Path) -> None:
    row = {
        "prompt": [ASKED, SAID, AGAIN],
        "chosen": BLUE,
        "rejected": GREEN,
        "annotator_id": 7,
        "score_chosen": 9,
    }

    found = one_row(tmp_path, row)

    assert found.history == (("user", "Hi"), ("assistant", "Hello"))
    assert (found.text, found.labeler) == ("Who are you?", "7")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"prompt": "a", "chosen": "b"}, "'rejected' is missing"),
        ({"prompt": "a", "chosen": None, "rejected": "b"}, "'chosen' is missing"),
        (
            {"chosen": "Blue.", "rejected": "Green."},
            "there is no 'prompt', and chosen and rejected do not begin",
        ),
        ({"chosen": "", "rejected": ""}, "there is no 'prompt', and"),
        (
            {"chosen": PROMPT + BLUE, "rejected": "Green."},
            "without 'prompt', chosen and rejected are both texts or both",
        ),
        (
            {"prompt": PROMPT + BLUE, "chosen": BLUE, "rejected": GREEN},
            "the prompt ends with the assistant",
        ),
        (
            {"prompt": PROMPT, "chosen": BLUE + PROMPT, "rejected": GREEN},
            "'chosen' is not one message of the assistant",
        ),
        (
            {"prompt": 5, "chosen": "b", "rejected": "c"},
            "'prompt' is a number, not a list of messages",
        ),
    ],
)
def test_preferences_that_cannot_be_read(tmp_path: Path, row: Any, complaint: str) -> None:
    assert reason(tmp_path, row, "trl_preference").startswith(complaint)


def test_completions_are_demonstrations(tmp_path: Path) -> None:
    for row, text, answer in [
        ({"prompt": "The sky is", "completion": " blue."}, "The sky is", " blue."),
        ({"prompt": PROMPT, "completion": BLUE}, "What colour is the sky?", "It is blue."),
        ({"prompt": "The sky is", "completion": " blue.", "label": True}, "The sky is", " blue."),
    ]:
        assert shape_of(tmp_path, row) == "trl_completion"
        found = one_row(tmp_path, row)
        assert (found.text, found.answers) == (text, (Answer(answer),))


def test_a_completion_that_was_marked_as_bad_is_no_demonstration(tmp_path: Path) -> None:
    assert (
        one_row(tmp_path, {"prompt": "The sky is", "completion": " green.", "label": False}).answers
        == ()
    )


# --- several answers with ranks or scores ---


@pytest.mark.parametrize(
    ("lists", "ranks"),
    [
        ({"candidates": ["a", "b", "c"], "rank": [2, 0, 1]}, [3, 1, 2]),
        ({"completions": ["a", "b", "c"], "ranks": [1, 3, 1]}, [1, 2, 1]),
        ({"responses": ["a", "b", "c"], "scores": [0.5, 9, -1]}, [2, 1, 3]),
        ({"answers": ["a", "b"], "votes": [4, 4]}, [1, 1]),
    ],
)
def test_answers_with_ranks_or_scores_are_a_comparison(
    tmp_path: Path, lists: Any, ranks: list[int]
) -> None:
    row = {"prompt": "Hi", "worker": "w", **lists}

    found = one_row(tmp_path, row)

    assert shape_of(tmp_path, row) == "ranked"
    assert [answer.rank for answer in found.answers] == ranks
    assert (found.text, found.labeler) == ("Hi", "w")


@pytest.mark.parametrize(
    ("lists", "complaint"),
    [
        ({"candidates": ["a", "b"], "rank": [1]}, "2 answers with 1 ranks or scores"),
        ({"candidates": ["a"], "rank": [1]}, "1 answers with 1 ranks or scores"),
        ({"candidates": ["a", 5], "rank": [1, 2]}, "'candidates' holds something else than texts"),
        ({"candidates": ["a", "b"], "rank": [1, "x"]}, "'rank' holds something else than numbers"),
        (
            {"candidates": ["a", "b"], "rank": [1, float("nan")]},
            "'rank' holds something else than numbers",
        ),
        (
            {"candidates": ["a", "b"]},
            "no list of ranks or scores: looked for ranks, rank, ranking, scores",
        ),
        ({"rank": [1]}, "no list of answers, which are texts: looked for candidates"),
    ],
)
def test_lists_that_do_not_fit_are_rejected(tmp_path: Path, lists: Any, complaint: str) -> None:
    assert reason(tmp_path, {"prompt": "Hi", **lists}, "ranked").startswith(complaint)
