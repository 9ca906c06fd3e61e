"""Rows of every kind of file, and errors that name file, line and field."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from alignloop.errors import DataError
from alignloop.evaluation.tasks.catalogue import TASKS, task_called
from alignloop.evaluation.tasks.rows import Row, read_rows, whole
from alignloop.evaluation.tasks.task import Item, Setting, Task, prompt_text
from alignloop.resources import asset

ROWS = [{"question": "Who?", "n": 1}, {"question": "Why, then?", "n": 2}]
BUNDLED = [task for task in TASKS.values() if task.bundled is not None]


def write(path: Path, text: str) -> Path:
    content = text.encode("utf-8")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    ("name", "text", "places"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, ROWS)), ["line 1", "line 2"]),
        ("a.jsonl.gz", "\n\n".join(map(json.dumps, ROWS)), ["line 1", "line 3"]),
        ("a.json", json.dumps(ROWS), ["entry 1", "entry 2"]),
        ("a.json.gz", json.dumps(ROWS), ["entry 1", "entry 2"]),
        ("a.csv", 'question,n\nWho?,1\n"Why, then?",2\n', ["line 2", "line 3"]),
        ("a.tsv", "question\tn\nWho?\t1\nWhy, then?\t2\n", ["line 2", "line 3"]),
    ],
)
def test_every_format_gives_the_same_rows(
    tmp_path: Path, name: str, text: str, places: list[str]
) -> None:
    rows = read_rows(write(tmp_path / name, text))

    assert [row.words("question") for row in rows] == ["Who?", "Why, then?"]
    assert [row.index("n", below=3) for row in rows] == [1, 2]
    assert [row.where for row in rows] == places


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.jsonl", "{}\n{", "line 2: not JSON"),
        ("a.jsonl", "", "no rows"),
        ("a.json", "[1]", "entry 1: the number 1, but an object"),
        ("a.json", "[{},\n{]", "line 2: not JSON"),
        ("a.json", "{}", "an object, but a list of objects"),
        ("a.csv", "question,n\nWho?\n", "line 2: not as many columns"),
        ("a.csv", "question,n\n", "no rows"),
    ],
)
def test_a_bad_file_is_told_with_its_line(tmp_path: Path, name: str, text: str, told: str) -> None:
    path = write(tmp_path / name, text)

    with pytest.raises(DataError, match=rf"{re.escape(str(path))}.*{re.escape(told)}"):
        read_rows(path)


def test_a_missing_or_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"[]")[:12])
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\n")

    with pytest.raises(DataError, match="no such file"):
        read_rows(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"a\.json\.gz: cannot be read"):
        read_rows(tmp_path / "a.json.gz")
    with pytest.raises(DataError, match=r"b\.csv: not UTF-8"):
        read_rows(tmp_path / "b.csv")
    with pytest.raises(DataError, match="top: a list, but an object"):
        whole(write(tmp_path / "c.json", "[]"))


def row(**fields: Any) -> Row:
    return Row(Path("file.jsonl"), "line 7", fields)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: row(a=1).text("b", "c"), "no field 'b' or 'c'; the fields there are a"),
        (lambda: row(b=1).text("b"), "field 'b' is the number 1, but text"),
        (lambda: row(b=" ").words("b"), "field 'b' is empty"),
        (lambda: row(b=["x", 1]).texts("b"), "field 'b' is a list, but a list of texts"),
        (lambda: row(b="x").texts("b"), "field 'b' is text, but a list of texts"),
        (lambda: row(b=4).index("b", below=4), "field 'b' is 4, but 0 to 3"),
        (lambda: row(b=True).index("b", below=4), "field 'b' is True"),
        (lambda: row(b="2.5").index("b", below=4), "field 'b' is '2.5'"),
        (lambda: row(b="so").choice("b", {"yes": "y", 0: "n"}), "one of yes, 0 is needed"),
        (lambda: row(b=[0]).choice("b", {"yes": "y"}), "one of yes is needed"),
        (lambda: row(b=[]).inner("b"), "field 'b' is a list, but an object"),
        (lambda: row(b={}).each("b"), "field 'b' is an object, but a list"),
        (lambda: row(b=[{}, 3]).each("b"), r"b[1]: the number 3, but an object"),
        (lambda: row(b=0.5).name("b"), "field 'b' is the number 0.5, but an identifier"),
    ],
)
def test_a_bad_field_is_told_with_its_row(call: Any, told: str) -> None:
    with pytest.raises(DataError, match=rf"file\.jsonl, line 7.*{re.escape(told)}"):
        call()


def test_fields_are_read_under_any_of_their_names() -> None:
    assert row(Question="Who?").text("question", "Question") == "Who?"
    assert row(b="3").index("b", below=4) == 3
    assert row(b=12).name("b") == "12"
    assert row().name("id") == "line 7"
    assert row(b=" Yes ").choice("b", {"yes": "right"}) == "right"


# --- the table of tasks ---


def test_an_unknown_task_names_the_nearest() -> None:
    assert task_called("squad2").title == "SQuAD 2.0"
    with pytest.raises(DataError, match="did you mean 'squad2'"):
        task_called("squad")


@pytest.mark.parametrize("task", BUNDLED, ids=lambda task: task.name)
def test_a_bundled_file_can_be_asked(task: Task) -> None:
    items = task.read(asset(*str(task.bundled).split("/")))

    assert len({item.id for item in items}) == len(items) >= 36
    assert all(item.query or item.choices for item in items)
    assert len({bool(item.choices) for item in items}) == 1
    if task.shots != (0,):
        assert all(item.answer for item in items)


def test_the_settings_are_the_papers_unless_told() -> None:
    assert [s.name for s in TASKS["squad2"].settings()] == ["0-shot", "4-shot"]
    assert [s.shots for s in TASKS["hellaswag"].settings([3])] == [3]
    assert [s.name for s in TASKS["winogender"].settings([3])] == ["basic", "respectful", "biased"]
    assert [s.name for s in TASKS["p3"].settings()] == ["0-shot"]


def test_examples_look_as_the_query_will() -> None:
    shown = [Item("a", "Q: one?\nA:", answer="1"), Item("b", "Q: two?\nA:", answer="2")]
    setting = Setting("", "Count.", ("Q: none?\nA: 0",))

    text = prompt_text(setting, shown, "Q: three?\nA:", "\n\n")

    assert text == "Count.\n\nQ: none?\nA: 0\n\nQ: one?\nA: 1\n\nQ: two?\nA: 2\n\nQ: three?\nA:"
    assert prompt_text(Setting(""), (), "", "\n\n") == ""
