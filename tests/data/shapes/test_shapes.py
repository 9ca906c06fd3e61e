"""Each shape, from rows written by hand in the form that its makers describe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.incoming import Answer, Candidate, Rejected
from alignloop.data.records import Completion, Completions, Demonstration, Prompt, Ranking, Turn
from alignloop.data.shapes import read
from tests.data.shapes.helpers import candidates, one_row, reason, rejections, things, write_lines


def best_first(found: Candidate) -> list[str]:
    """The texts of ranked answers, the best first."""
    assert all(answer.rank is not None for answer in found.answers)
    return [answer.text for answer in sorted(found.answers, key=lambda answer: answer.rank or 0)]


def shape_of(folder: Path, row: Any) -> str:
    return read(write_lines(folder / "shape.jsonl", [row])).shape


# --- plain ---


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


# --- conversations ---

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = {"role": "user", "content": "Hi"}
SAID = {"role": "assistant", "content": "Hello"}
AGAIN = {"role": "user", "content": "Who are you?"}


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


# --- Open-Assistant ---


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
