"""Comparisons of summaries, logs of requests, and the project's own records, from rows written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.incoming import Answer, Rejected
from alignloop.data.records import Completion, Completions, Demonstration, Prompt, Ranking, Turn
from alignloop.data.shapes import read
from tests.data.shapes.helpers import (
    AGAIN,
    ASKED,
    SAID,
    SYSTEM,
    candidates,
    one_row,
    reason,
    rejections,
    shape_of,
    things,
    write_lines,
)

# --- comparisons of summaries ---


def comparison(**more: Any) -> dict[str, Any]:
    return {
        "info": {"id": "t3_x", "post": "My cat sat.", "title": "Cat?", "subreddit": "cats"},
        "summaries": [
            {"text": " cat sat.", "policy": "sup2", "note": "ok"},
            {"text": " a cat", "policy": "ref", "note": None},
        ],
        "choice": 1,
        "worker": "w1",
        "batch": "batch9",
        "split": "train",
        "extra": {"confidence": 8},
    } | more


def test_a_comparison_of_summaries(tmp_path: Path) -> None:
    found = one_row(tmp_path, comparison())

    assert shape_of(tmp_path, comparison()) == "summarize_feedback"
    assert found.text == "SUBREDDIT: r/cats\n\nTITLE: Cat?\n\nPOST: My cat sat.\n\nTL;DR:"
    assert found.answers == (Answer("cat sat.", 2, "sup2"), Answer("a cat", 1, "ref"))
    assert (found.labeler, found.use_case) == ("w1", "summarization")


def test_a_comparison_of_summaries_of_an_article(tmp_path: Path) -> None:
    info = {
        "id": "x",
        "post": None,
        "subreddit": None,
        "title": "News",
        "article": "It rained.",
        "site": "cnn",
    }

    assert (
        one_row(tmp_path, comparison(info=info)).text
        == "TITLE: News\n\nARTICLE: It rained.\n\nTL;DR:"
    )


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (comparison(choice=None), "'choice' is None, not 0 or 1"),
        (comparison(choice=2), "'choice' is 2, not 0 or 1"),
        (comparison(choice=True), "'choice' is True, not 0 or 1"),
        (comparison(summaries=[{"text": "a"}]), "'summaries' is not a list of two"),
        (comparison(summaries=[{"text": "a"}, {"text": None}]), "the text of summary 2 is null"),
        (comparison(info={"title": "x"}), "'info' has neither 'post' nor 'article'"),
        (comparison(info=None), "no 'info' about what is summarized"),
    ],
)
def test_comparisons_that_cannot_be_read(tmp_path: Path, row: Any, complaint: str) -> None:
    assert reason(tmp_path, row, "summarize_feedback") == complaint


def test_ratings_on_axes_are_known_and_rejected(tmp_path: Path) -> None:
    row = {
        "info": {"id": "x", "article": "It rained.", "title": "News"},
        "summary": {"text": "Rain.", "policy": "ref", "axes": {"overall": 3}},
        "worker": "w",
    }
    path = write_lines(tmp_path / "a.jsonl", [row])

    assert read(path).shape == "summarize_feedback"
    assert rejections(path) == [
        (1, "ratings of one summary on several axes: no comparison, and no summary by a labeler")
    ]


# --- logs of an API ---


def test_a_log_of_requests(tmp_path: Path) -> None:
    row = {
        "id": "req_1",
        "created": 1_700_000_000,
        "user_id": "u1",
        "org_id": "acme",
        "training_allowed": True,
        "use_case": "Closed-QA",
        "language": "en-GB",
        "request": {
            "body": {"model": "m", "messages": [SYSTEM, ASKED, SAID, AGAIN], "user": "end-user"}
        },
        "response": {"choices": [{"message": SAID}]},
    }

    found = one_row(tmp_path, row)

    assert shape_of(tmp_path, row) == "api_log"
    assert (found.text, found.user, found.organization, found.consent) == (
        "Who are you?",
        "u1",
        "acme",
        True,
    )
    assert found.history == (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"))
    assert (found.use_case, found.language, found.answers, found.kind) == (
        "closed_qa",
        "en",
        (),
        "customer",
    )


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "consent": True},
        {"prompt": "Hi", "created": 1, "model": "m", "completion": "Hello"},
        {"prompt": ["Hi"], "timestamp": "2024-01-01", "user": "u"},
        {"messages": [ASKED], "opt_in": "yes"},
        {"messages": [ASKED, SAID], "opt_in": "yes"},
        {
            "custom_id": "r-1",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "m", "messages": [ASKED]},
        },
        {"request": json.dumps({"messages": [ASKED], "model": "m"}), "created_at": 5},
        {"body": {"model": "m", "input": "Hi", "instructions": ""}},
        {
            "body": {
                "model": "m",
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
            }
        },
    ],
)
def test_requests_as_they_are_logged_here_and_there(tmp_path: Path, row: Any) -> None:
    found = one_row(tmp_path, row)

    assert shape_of(tmp_path, row) == "api_log"
    assert (found.text, found.history, found.answers) == ("Hi", (), ())


def test_a_request_with_several_prompts_gives_as_many(tmp_path: Path) -> None:
    row = {"prompt": ["a", "b"], "consent": True, "user": "u"}

    assert [(c.text, c.user) for c in candidates(write_lines(tmp_path / "a.jsonl", [row]))] == [
        ("a", "u"),
        ("b", "u"),
    ]


@pytest.mark.parametrize(
    ("row", "consent"),
    [
        ({"consent": False}, False),
        ({"consent": True, "metadata": {"opt_out": True}}, False),
        ({"opt_in": 1, "consent": None}, True),
        ({"training_opt_out": "false"}, True),
        ({"do_not_train": "yes", "consent": "yes"}, False),
        ({"consent": ""}, None),
        ({}, None),
    ],
)
def test_a_request_without_consent_is_still_handed_on(
    tmp_path: Path, row: Any, consent: bool | None
) -> None:
    assert one_row(tmp_path, {"prompt": "Hi", **row}, "api_log").consent is consent


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"request": {"model": "m"}}, "no prompt: looked for messages, prompt, input"),
        (
            {"prompt": [1, 2, 3], "consent": True},
            "'prompt' is a list, but neither of texts nor of messages",
        ),
        ({"messages": [ASKED, {"role": "tool", "content": "x"}]}, "message 2 is a tool's"),
        ({"messages": [SAID]}, "there is no message of a user"),
        ({"prompt": 5}, "'prompt' is a number, not a list of messages"),
        (
            {"prompt": "Hi", "consent": {"given": True}},
            "'consent' is an object, neither yes nor no",
        ),
    ],
)
def test_requests_that_cannot_be_read(tmp_path: Path, row: Any, complaint: str) -> None:
    assert reason(tmp_path, row, "api_log").startswith(complaint)


# --- the project's own records ---

OWN = Prompt(
    id="p1",
    text="And now?",
    history=(Turn(role="user", text="Hi"), Turn(role="assistant", text="Yes?")),
    group="u7",
    source="labeler_user_based",
    use_case="chat",
)
WRITTEN = (
    Completion(text="a", model="m1", finished=True, tokens=2),
    Completion(text="b", model="m2", finished=True, tokens=2),
)


@pytest.mark.parametrize(
    ("record", "answers", "labeler"),
    [
        (OWN, (), ""),
        (Demonstration(prompt=OWN, response="So.", labeler="ann"), (Answer("So."),), "ann"),
        (
            Ranking(prompt=OWN, completions=WRITTEN, ranks=(2, 1), labeler="ann"),
            (Answer("a", 2, "m1"), Answer("b", 1, "m2")),
            "ann",
        ),
        (
            Completions(prompt=OWN, completions=WRITTEN),
            (Answer("a", None, "m1"), Answer("b", None, "m2")),
            "",
        ),
        (Completions(prompt=OWN, completions=WRITTEN[:1]), (), ""),
    ],
)
def test_records_come_back(tmp_path: Path, record: Any, answers: Any, labeler: str) -> None:
    row = record.model_dump(mode="json", exclude_defaults=True)

    found = one_row(tmp_path, row)

    assert shape_of(tmp_path, row) == "records"
    assert (found.text, found.history) == ("And now?", (("user", "Hi"), ("assistant", "Yes?")))
    assert (found.user, found.kind, found.use_case) == ("u7", "labeler_user_based", "chat")
    assert (found.answers, found.labeler) == (answers, labeler)


def test_a_record_that_does_not_hold_is_rejected_with_the_field(tmp_path: Path) -> None:
    ranking = Ranking(prompt=OWN, completions=WRITTEN, ranks=(2, 1), labeler="ann").model_dump(
        mode="json"
    )

    assert (
        reason(tmp_path, ranking | {"ranks": [1]}, "records")
        == "not a Ranking record: 2 completions but 1 ranks"
    )
    assert reason(tmp_path, {"text": "a", "typo": 1}, "records").startswith(
        "not a Prompt record: typo: Extra inputs"
    )
    assert reason(tmp_path, 5, "records") == "a number; a record is an object"


def test_records_that_say_messages_are_read(tmp_path: Path) -> None:
    row = {"messages": [ASKED, SAID], "group": "u1", "labeler": "ann", "instructions": "v2"}

    found = one_row(tmp_path, row, "records")

    assert (found.text, found.user, found.labeler, found.answers) == (
        "Hi",
        "u1",
        "ann",
        (Answer("Hello"),),
    )


def test_every_rejected_row_says_something(tmp_path: Path) -> None:
    for shape in (
        "plain",
        "messages",
        "sharegpt",
        "hh",
        "trl_preference",
        "trl_completion",
        "ranked",
        "api_log",
        "oasst_tree",
    ):
        (found,) = things(write_lines(tmp_path / "a.jsonl", [{"other": 1}]), shape)
        assert isinstance(found, Rejected)
        assert found.raw == '{"other": 1}'
