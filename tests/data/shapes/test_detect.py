"""How a shape is told from the first rows, and the page that says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alignloop.data.incoming import Candidate
from alignloop.data.shapes import SHAPES, detect, read
from alignloop.data.shapes.containers import KINDS
from alignloop.data.shapes.fields import FIELDS
from alignloop.errors import DataError
from tests.data.shapes.helpers import candidates, write_lines
from tests.docs.tables import DOCS

PAGE = DOCS / "prompt-shapes.md"
HH = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}


def test_most_rows_decide_and_the_reason_counts_them() -> None:
    rows = (
        [{"prompt": "a", "response": "b"}] * 3
        + [{"prompt": "a"}]
        + [{"messages": [{"role": "user", "content": "x"}]}] * 2
    )

    assert detect(rows) == ("plain", "4 of the first 6 rows have 'prompt' and 'response'")
    assert detect([*rows, 5, None]) == (
        "plain",
        "4 of the first 8 rows have 'prompt' and 'response'",
    )
    assert detect([]) == detect([5, None, [], {}]) == ("", "")


def test_the_shape_that_asks_for_more_comes_first() -> None:
    assert detect([{**HH, "prompt": "a"}])[0] == "trl_preference"
    assert detect([HH])[0] == "hh"
    assert detect([{"chosen": "a b", "rejected": "a c"}])[0] == "trl_preference"
    messages = [{"role": "user", "content": "x"}]
    assert (
        detect([{"messages": messages, "chosen": messages, "rejected": messages}])[0]
        == "trl_preference"
    )
    assert detect([{"messages": messages, "user": "u"}])[0] == "messages"
    assert detect([{"text": "a", "metadata": {"prompt": "b"}}])[0] == "plain"
    assert detect([{"messages": messages, "user": "u", "created": 5}])[0] == "api_log"


def test_only_the_first_rows_are_looked_at_and_the_others_are_read_all_the_same(
    tmp_path: Path,
) -> None:
    rows = [{"prompt": "a"}] * 60 + [HH] * 100
    path = write_lines(tmp_path / "a.jsonl", rows)

    assert (read(path).shape, read(path).why) == ("plain", "50 of the first 50 rows have 'prompt'")
    assert len(list(read(path))) == 160


def test_rows_that_cannot_be_read_do_not_hide_the_shape(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", ["nonsense"] * 40 + [HH])

    assert read(path).shape == "hh"


def test_a_shape_that_is_named_is_not_looked_for(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b"}])

    assert read(path).shape == "trl_completion"
    assert (read(path, shape="plain").shape, read(path, shape="plain").why) == ("plain", "named")


def test_files_of_two_shapes_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    write_lines(tmp_path / "one" / "a.jsonl", [HH])
    write_lines(tmp_path / "two" / "b.jsonl", [{"prompt": "a"}])

    with pytest.raises(
        DataError, match=r"files of more than one shape: .*a\.jsonl is hh; .*b\.jsonl is plain"
    ):
        read(tmp_path)
    assert len(list(read(tmp_path, shape="plain"))) == 2


# --- the page ---


def sections() -> dict[str, str]:
    """Heading -> text of the page below it."""
    parts = re.split(r"^### `([a-z_]+)`$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(
        zip(
            parts[1::2],
            (re.split(r"^## ", text, flags=re.MULTILINE)[0] for text in parts[2::2]),
            strict=True,
        )
    )


def examples(text: str) -> list[str]:
    return [
        line
        for block in re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


def test_the_page_has_every_shape_in_the_order_of_trying() -> None:
    assert list(sections()) == list(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_every_example_on_the_page_is_read_as_the_shape_it_stands_under(
    tmp_path: Path, name: str
) -> None:
    lines = examples(sections()[name])
    assert lines
    for line in lines:
        path = write_lines(tmp_path / "a.jsonl", [line])
        assert read(path).shape == name, line
        assert all(isinstance(one, Candidate) for one in candidates(path))


@pytest.mark.parametrize("name", SHAPES)
def test_the_page_names_every_key_that_a_shape_reads(name: str) -> None:
    assert {key for key in SHAPES[name].keys if f"`{key}`" not in sections()[name]} == set()


def test_the_page_names_every_key_of_the_common_fields_and_every_container() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert {key for keys in FIELDS.values() for key in keys if f"`{key}`" not in text} == set()
    assert {end for end in KINDS if f"`{end}`" not in text} == set()
