"""Whatever stands in a file: nothing but DataError is raised, every row gives something, and that can be used."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alignloop.data.incoming import KINDS, USE_CASES, Candidate, Rejected
from alignloop.data.records import Prompt, Turn
from alignloop.data.shapes import SHAPES, read
from alignloop.data.shapes.fields import FIELDS
from alignloop.errors import DataError

ONE_EACH = sorted(set(SHAPES) - {"oasst_tree", "plain", "api_log"})
"""Shapes in which a row gives exactly one thing."""

KEYS = sorted(
    {key for shape in SHAPES.values() for key in shape.keys}
    | {keys[0] for keys in FIELDS.values()}
    | {
        "tool_calls",
        "preferred_output",
        "axes",
        "summary",
        "user_id",
        "id",
        "candidates",
        "metadata",
    }
)
WORDS = st.sampled_from(
    [
        "",
        "a",
        "user",
        "assistant",
        "human",
        "gpt",
        "system",
        "tool",
        "prompter",
        "text",
        "p1",
        "p2",
        "yes",
        "no",
        "en-US",
        "\n\nHuman: a\n\nAssistant: b",
        "\n\nHuman: a\n\nAssistant:",
        "The sky is blue",
        "[1]",
        '[{"role": "user"}]',
        "{}",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers()
    | st.floats()
    | WORDS
    | st.text(st.characters(), max_size=8)  # half surrogate pairs and NUL too
)


def objects(of: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(KEYS), of, max_size=6)


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"]) | LEAVES, "content": LEAVES}
    )
    | st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt"]), "value": WORDS}),
    max_size=4,
)
VALUES = st.recursive(
    LEAVES | MESSAGES, lambda inner: st.lists(inner, max_size=4) | objects(inner), max_leaves=25
)
ROWS = objects(VALUES) | VALUES


def check(found: list[Candidate | Rejected]) -> None:
    """Every thing can be stored, printed, and made a record."""
    for one in found:
        assert one.place.line >= 1
        if isinstance(one, Rejected):
            assert one.reason
            assert "\n" not in one.reason
            assert len(one.reason) < 400
            assert len(one.raw) <= 500
            (one.reason + one.raw).encode()
            assert "\0" not in one.raw
            continue
        Prompt(
            id="x",
            text=one.text,
            history=tuple(Turn.model_validate({"role": r, "text": t}) for r, t in one.history),
        )
        assert one.kind in KINDS
        assert one.use_case in ("", *USE_CASES)
        assert one.consent in (None, True, False)
        texts = [one.text, one.user, one.organization, one.labeler, one.language]
        texts += [text for answer in one.answers for text in (answer.text, answer.model)]
        texts += [text for pair in (*one.examples, *one.history) for text in pair]
        for text in texts:
            assert isinstance(text, str)
            text.encode()
            assert "\0" not in text
        ranks = [answer.rank for answer in one.answers]
        assert all(rank is None for rank in ranks) or (
            len(ranks) > 1 and all(rank and rank > 0 for rank in ranks)
        )


def read_bytes(name: str, content: bytes, shape: str | None) -> list[Candidate | Rejected] | None:
    """What a file of this content gives; None where it is refused as a whole."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            found = list(read(path, shape=shape))
        except DataError as error:
            assert "\n" not in str(error)
            return None
    check(found)
    return found


@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from([None, *SHAPES]))
def test_lines_of_any_bytes(lines: list[bytes], shape: str | None) -> None:
    content = b"\n".join(lines)
    count = sum(1 for line in content.split(b"\n") if line.decode("utf-8", "replace").strip())

    found = read_bytes("a.jsonl", content, shape)

    if content.startswith((b"\xff\xfe", b"\xfe\xff", b"version https://git-lfs")):
        assert found is None
    elif shape in ONE_EACH:
        assert found is not None
        assert len(found) == count - (
            content.removeprefix(b"\xef\xbb\xbf").split(b"\n")[0].strip() == b""
            and content.startswith(b"\xef\xbb\xbf")
        )
    elif shape is not None:
        assert found is not None
        assert (len(found) > 0) == (count > 0) or content.startswith(b"\xef\xbb\xbf")


@given(st.lists(ROWS, min_size=1, max_size=5), st.sampled_from([None, *SHAPES]))
@example([{"prompt": "a", "instances": [{"input": "b", "output": "c"}] * 3}], "plain")
@example(
    [
        {
            "message_id": "a",
            "parent_id": "a",
            "text": "b",
            "role": "prompter",
            "message_tree_id": "t",
        }
    ],
    "oasst_tree",
)
@example([{"request": {"request": {"request": {"request": {"prompt": "a"}}}}}], "api_log")
@example(
    [{"chosen": "\n\nHuman: a\n\nAssistant: \ud800", "rejected": "\n\nHuman: a\n\nAssistant: b"}],
    None,
)
def test_rows_of_any_json(rows: list[Any], shape: str | None) -> None:
    as_lines = read_bytes("a.jsonl", "\n".join(json.dumps(row) for row in rows).encode(), shape)
    as_array = read_bytes("a.json", json.dumps(rows).encode(), shape)

    if shape is not None:
        assert as_lines is not None
        assert (
            len(as_lines) == len(rows)
            if shape in ONE_EACH
            else len(as_lines) >= (shape != "oasst_tree") * len(rows)
        )
        assert len(as_lines) > 0
    if as_lines is not None:
        assert as_array is not None
        assert [type(one) for one in as_lines] == [type(one) for one in as_array]
        texts = [
            [one.text for one in found if isinstance(one, Candidate)]
            for found in (as_lines, as_array)
        ]
        assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.txt", "a.json", "a.jsonl.gz", "a.parquet", "a.arrow", "a.docx"]
)
@given(content=st.binary(max_size=200), shape=st.sampled_from([None, "plain", "oasst_tree"]))
def test_files_of_any_bytes(name: str, content: bytes, shape: str | None) -> None:
    read_bytes(name, content, shape)


CELLS = st.text(st.sampled_from('ab",;\n\r \t{[é'), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=6))
def test_tables_of_any_text(rows: list[list[str]]) -> None:
    content = "prompt,user\n" + "".join(",".join(row) + "\n" for row in rows)

    found = read_bytes("a.csv", content.encode(), "plain")

    assert found is not None
    lines = [one.place.line for one in found]
    assert lines == sorted(set(lines))


@given(st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_a_table_that_was_written_properly_is_read_whole(rows: list[tuple[str, str]]) -> None:
    import csv
    import io

    file = io.StringIO(newline="")
    csv.writer(file).writerows([("prompt", "user"), *rows])

    found = read_bytes("a.csv", file.getvalue().encode(), "plain")

    assert found is not None
    assert [one.text for one in found if isinstance(one, Candidate)] == [text for text, _ in rows]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=30), st.data())
def test_a_gzip_file_cut_anywhere_gives_a_beginning_and_says_so(
    texts: list[str], data: st.DataObject
) -> None:
    texts = [text.replace("\0", "") for text in texts if text.isprintable()] or ["a"]
    whole = gzip.compress("".join(json.dumps({"prompt": text}) + "\n" for text in texts).encode())
    size = data.draw(st.integers(2, len(whole) - 1))  # one byte does not even say that it is gzip

    found = read_bytes("a.jsonl.gz", whole[:size], "plain")

    assert found is not None
    *before, last = found
    assert [one.text for one in before if isinstance(one, Candidate)] == texts[: len(before)]
    assert isinstance(last, Rejected)
    assert last.reason.startswith("the file ends early")


TREE_IDS = st.sampled_from(["a", "b", "c", "d", None])


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "message_id": TREE_IDS,
                "parent_id": TREE_IDS,
                "text": WORDS,
                "role": st.sampled_from(["prompter", "assistant"]),
            },
            optional={
                "message_tree_id": st.sampled_from(["a", "b", None, 5, []]),
                "rank": LEAVES,
                "deleted": st.booleans(),
            },
        ),
        min_size=1,
        max_size=8,
    )
)
def test_messages_linked_anyhow(rows: list[Any]) -> None:
    found = read_bytes("a.jsonl", "\n".join(json.dumps(row) for row in rows).encode(), "oasst_tree")

    assert found
    lines = {one.place.line for one in found}
    assert lines <= set(range(1, len(rows) + 1))
    for at, row in enumerate(rows, start=1):
        if row["role"] == "prompter" and at not in lines:
            # What is not heard of itself is below a message that was turned away for all of its branch.
            assert any(
                isinstance(one, Rejected) and "below it are left out" in one.reason for one in found
            )


SPOKEN = st.text(st.sampled_from("ab: \nHumanAssist"), max_size=12).map(str.strip).filter(bool)


@given(st.lists(st.tuples(SPOKEN, SPOKEN), max_size=3), SPOKEN, SPOKEN, SPOKEN)
def test_a_dialogue_written_as_text_comes_back(
    before: list[tuple[str, str]], asked: str, better: str, worse: str
) -> None:
    spoken = [
        turn for question, answer in before for turn in (("Human", question), ("Assistant", answer))
    ]
    start = "".join(f"\n\n{name}: {text}" for name, text in [*spoken, ("Human", asked)])
    row = {
        "chosen": f"{start}\n\nAssistant: {better}",
        "rejected": f"{start}\n\nAssistant: {worse}",
    }
    if any(
        f"\n\n{name}:" in text
        for text in (asked, better, worse, *sum(before, ()))
        for name in ("Human", "Assistant")
    ):
        return

    found = read_bytes("a.jsonl", json.dumps(row).encode(), "hh")

    assert found is not None
    (one,) = found
    assert isinstance(one, Candidate)
    assert one.text == asked
    assert [text for _, text in one.history] == [text for _, text in spoken]
    assert {answer.rank: answer.text for answer in one.answers} == {1: better, 2: worse}
