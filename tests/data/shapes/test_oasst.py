"""Open-Assistant's trees, nested and flat, from rows written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignloop.data.incoming import Answer, Candidate
from alignloop.data.shapes import read
from tests.data.shapes.helpers import (
    candidates,
    reason,
    rejections,
    things,
    write_lines,
)


def message(name: str, role: str, replies: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "message_id": name,
        "text": f"text of {name}",
        "role": role,
        "lang": "en",
        "replies": replies or [],
        **more,
    }


def tree() -> dict[str, Any]:
    """Two ranked answers; below the better one a question with one human answer; below that a question."""
    third = message("p3", "prompter", lang="pt-BR")
    second = message("p2", "prompter", [message("a3", "assistant", [third], user_id="writer")])
    better = message("a2", "assistant", [second], rank=0)
    worse = message("a1", "assistant", rank=1, synthetic=True, model_name="m-7")
    root = message("p1", "prompter", [worse, better], user_id="asker")
    return {"message_tree_id": "p1", "tree_state": "ready_for_export", "prompt": root}


def flat(
    node: dict[str, Any], parent: str | None = None, tree_id: str | None = None
) -> list[dict[str, Any]]:
    """The messages of a tree, depth first, as the flat form has them."""
    own = {key: value for key, value in node.items() if key != "replies"} | {"parent_id": parent}
    if tree_id is not None:
        own["message_tree_id"] = tree_id
    return [
        own,
        *(row for reply in node["replies"] for row in flat(reply, node["message_id"], tree_id)),
    ]


def check_tree(found: list[Candidate]) -> None:
    first, second, third = found
    assert (first.text, first.user, first.language, first.history) == (
        "text of p1",
        "asker",
        "en",
        (),
    )
    assert first.answers == (Answer("text of a1", 2, "m-7"), Answer("text of a2", 1))
    assert second.history == (("user", "text of p1"), ("assistant", "text of a2"))
    assert (second.answers, second.labeler) == ((Answer("text of a3"),), "writer")
    assert len(third.history) == 4
    assert (third.text, third.language, third.answers) == ("text of p3", "pt", ())


def test_each_prompter_node_of_a_tree_is_a_prompt_and_ranked_replies_are_a_comparison(
    tmp_path: Path,
) -> None:
    path = write_lines(tmp_path / "a.trees.jsonl.gz", [tree()])

    assert read(path).shape == "oasst_tree"
    check_tree(candidates(path))


@pytest.mark.parametrize("says_its_tree", [True, False])
def test_the_flat_form_gives_the_same(tmp_path: Path, says_its_tree: bool) -> None:
    rows = flat(tree()["prompt"], tree_id="p1" if says_its_tree else None)
    path = write_lines(tmp_path / "a.messages.jsonl", rows)

    assert read(path).shape == "oasst_tree"
    check_tree(candidates(path))
    assert [c.place.line for c in candidates(path)] == [1, 4, 6]


def test_messages_of_the_flat_form_may_stand_in_any_order_where_they_name_their_tree(
    tmp_path: Path,
) -> None:
    rows = flat(tree()["prompt"], tree_id="p1")
    other = flat(message("q1", "prompter"), tree_id="q1")
    mixed = [rows[5], rows[1], other[0], rows[0], rows[3], rows[2], rows[4]]

    found = candidates(write_lines(tmp_path / "a.jsonl", mixed))

    check_tree([c for c in found if c.text != "text of q1"])
    assert len(found) == 4


def test_a_tree_may_go_over_two_files(tmp_path: Path) -> None:
    rows = flat(tree()["prompt"], tree_id="p1")
    write_lines(tmp_path / "train-00000-of-00002.jsonl", rows[:3])
    write_lines(tmp_path / "train-00001-of-00002.jsonl", rows[3:])

    check_tree(candidates(tmp_path))


def test_deleted_and_spam_messages_are_rejected_with_what_is_below_them(tmp_path: Path) -> None:
    row = tree()
    row["prompt"]["replies"][1]["deleted"] = True
    spam = {
        "message_tree_id": "s",
        "prompt": message("s", "prompter", [message("r", "assistant")], review_result=False),
    }
    path = write_lines(tmp_path / "a.jsonl", [row, spam])

    found = things(path)

    assert [c.text for c in found if isinstance(c, Candidate)] == ["text of p1"]
    assert [c.answers for c in found if isinstance(c, Candidate)] == [
        ()
    ]  # one model's reply is left: no demonstration
    assert rejections(path) == [
        (1, "deleted; 3 messages below it are left out too"),
        (2, "turned down in review (spam); 1 messages below it are left out too"),
    ]


def test_messages_without_a_way_to_the_root_are_rejected(tmp_path: Path) -> None:
    lost = message("x", "assistant", parent_id="nowhere", message_tree_id="t")
    loop = [
        message("y", "prompter", parent_id="z", message_tree_id="u"),
        message("z", "assistant", parent_id="y", message_tree_id="u"),
    ]
    twice = [message("w", "prompter", message_tree_id="w")] * 2
    unplaced = message("v", "assistant", parent_id="nowhere")
    path = write_lines(tmp_path / "a.jsonl", [lost, *loop, *twice, unplaced])

    assert sorted(rejections(path)) == [
        (1, "the messages before it are not in the file"),
        (2, "the messages before it are not in the file"),
        (3, "the messages before it are not in the file"),
        (5, "a second message with this 'message_id'"),
        (6, "no 'message_tree_id', and its parent 'nowhere' does not stand before it"),
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"role": "assistant"}, "the role is 'assistant' where it is the prompter's turn"),
        ({"text": None}, "'text' is null, not text"),
        (
            {"replies": [message("a", "assistant", rank="x"), message("b", "assistant", rank=1)]},
            "the rank of a reply is 'x'",
        ),
        (
            {"replies": [message("a", "assistant", rank=-1), message("b", "assistant", rank=1)]},
            "the rank of a reply is -1",
        ),
        ({"user_id": [1]}, "'user_id' is a list, not a name"),
    ],
)
def test_nodes_that_cannot_be_read(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    row = {"message_tree_id": "p", "prompt": message("p", "prompter") | change}

    assert reason(tmp_path, row, "oasst_tree").startswith(complaint)


def test_a_very_deep_tree_is_read(tmp_path: Path) -> None:
    rows = [
        message(
            str(at),
            ("prompter", "assistant")[at % 2],
            parent_id=str(at - 1) if at else None,
            message_tree_id="0",
        )
        for at in range(3000)
    ]

    found = candidates(write_lines(tmp_path / "a.jsonl", rows))

    assert [len(c.history) for c in found] == list(range(0, 3000, 2))
