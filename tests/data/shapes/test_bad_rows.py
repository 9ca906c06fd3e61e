"""A bad row stops nothing and does not disappear: its place, one line on what is wrong, and what it said."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.incoming import Candidate, Rejected
from alignloop.data.shapes.rows import MAX_ROW
from tests.data.shapes.helpers import candidates, things, write_lines

GOOD = {"prompt": "good"}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (b"{not json}", "not JSON (Expecting property name enclosed in double quotes, column 2)"),
        (b"[1, 2]", "a list; a text or an object is needed"),
        (b"null", "null; a text or an object is needed"),
        (b"12", "a number; a text or an object is needed"),
        (b'{"id": 5}', "no text: looked for instruction, prompt, question, query"),
        (b'{"prompt": null}', "no text"),
        (b'{"prompt": 5}', "'prompt' is a number, not text"),
        (b'{"prompt": ["a"]}', "'prompt' is a list, not text"),
        (b'{"prompt": "a", "response": {}}', "'response' is an object, not text"),
        (b'{"prompt": "a\\ud83d"}', "not valid Unicode"),
        (b'{"prompt": "a", "response": "\\udc00"}', "not valid Unicode"),
        (b'{"prompt": "a\\u0000b"}', "holds a NUL character"),
        (b'{"prompt": "a", "user": "x\\u0000"}', "holds a NUL character"),
        (b'{"prompt": "a\x00b"}', "not JSON (Invalid control character"),
        (b'{"prompt": "caf\xe9"}', "not UTF-8 (byte 0xe9 at position 16)"),
        (b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"prompt": "a", "n": ' + b"9" * 5_000 + b"}", "not JSON (Exceeds the limit"),
        (b'{"prompt": "' + b"x" * MAX_ROW + b'"}', "longer than 1,048,576 bytes"),
        (b'{"prompt": "a", "user": ["a", "b"]}', "'user' is a list, not a name"),
        (b'{"prompt": "a", "consent": "perhaps"}', "'consent' is 'perhaps', neither yes nor no"),
        (
            b'{"prompt": "a", "examples": ["x"]}',
            "example 1 of 'examples' needs 'input' and 'output'",
        ),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_bad_row_is_rejected_where_it_stands(
    tmp_path: Path, row: bytes, complaint: str, name: str
) -> None:
    found = things(write_lines(tmp_path / name, [GOOD, row, GOOD]))

    assert [type(one) for one in found] == [Candidate, Rejected, Candidate]
    bad = found[1]
    assert isinstance(bad, Rejected)
    assert bad.place.line == 2
    assert bad.reason.startswith(complaint)
    assert "\n" not in bad.reason
    assert len(bad.reason) < 200
    start = row[:20].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    assert bad.raw.startswith(start)
    assert len(bad.raw) <= 500
    assert "\0" not in bad.raw
    bad.raw.encode()


def test_a_line_of_the_greatest_length_is_read(tmp_path: Path) -> None:
    frame = len(b'{"prompt": ""}')
    row = b'{"prompt": "' + b"x" * (MAX_ROW - frame) + b'"}'
    assert len(row) == MAX_ROW

    (found,) = candidates(write_lines(tmp_path / "a.jsonl", [row]))

    assert len(found.text) == MAX_ROW - frame


def test_a_huge_line_does_not_fill_the_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * (30 * MAX_ROW) + b"\ngood\n")
    tracemalloc.start()
    found = things(path, "plain")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert [type(one) for one in found] == [Rejected, Candidate]
    assert found[1].place.line == 2
    assert peak < 8 * MAX_ROW


def test_a_text_that_only_a_table_can_hold_is_rejected_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"prompt,user\na,1\ncaf\xe9,2\nb\x00,3\nc,4\n")

    found = things(tmp_path / "a.csv")

    assert [type(one) for one in found] == [Candidate, Rejected, Rejected, Candidate]
    assert [one.reason[:17] for one in found if isinstance(one, Rejected)] == [
        "not valid Unicode",
        "holds a NUL chara",
    ]


def test_a_long_row_of_a_table_is_rejected_and_the_next_one_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b'prompt,user\n"'
        + (b"x" * 2000 + b"\n") * 600
        + b'",1\nb,2\n'
        + b"y" * (MAX_ROW + 9)
        + b",3\nc,4\n"
    )

    found = things(tmp_path / "a.csv", "plain")

    assert [one.text for one in found if isinstance(one, Candidate)] == ["b", "c"]
    reasons = [one.reason for one in found if isinstance(one, Rejected)]
    assert "field larger than field limit" in reasons[0]
    assert reasons[-1] == "longer than 1,048,576 bytes"


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_a_blank_prompt_is_not_rejected_here(tmp_path: Path, blank: str) -> None:
    rows: list[Any] = [{"prompt": blank}, {"messages": [{"role": "user", "content": blank}]}]

    assert candidates(write_lines(tmp_path / "a.jsonl", rows[:1]))[0].text == blank
    assert candidates(write_lines(tmp_path / "b.jsonl", rows[1:]))[0].text == blank


def test_a_gzip_file_that_is_cut_off_gives_what_can_be_read_and_says_so(tmp_path: Path) -> None:
    rows = [{"prompt": f"prompt {at} " + "xyz"[at % 3] * (at % 50)} for at in range(3000)]
    whole = write_lines(tmp_path / "whole.jsonl.gz", rows).read_bytes()
    path = tmp_path / "cut.jsonl.gz"
    for size in (len(whole) - 1, len(whole) - 9, len(whole) // 2, 2000):
        path.write_bytes(whole[:size])
        *read_rows, last = things(path, "plain")
        assert all(isinstance(one, Candidate) for one in read_rows)
        assert [one.text for one in read_rows if isinstance(one, Candidate)] == [
            r["prompt"] for r in rows[: len(read_rows)]
        ]
        assert isinstance(last, Rejected)
        assert last.reason == f"the file ends early: it is cut off after line {len(read_rows)}"
        assert last.place.line == len(read_rows) + 1
        # Nearly as much as the bytes hold: no whole buffer is lost at the end.
        assert len(read_rows) >= (size / len(whole)) * len(rows) * 0.5
    assert len(rows) == len(things(tmp_path / "whole.jsonl.gz"))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.json.gz", "a.txt.gz"])
def test_any_container_that_is_cut_off_says_so(tmp_path: Path, name: str) -> None:
    texts = [f"{at * 7919 % 3001} words" for at in range(3000)]
    content = {
        "a.csv.gz": "prompt\n" + "\n".join(texts),
        "a.json.gz": "[" + ",\n".join(f'"{text}"' for text in texts) + "]",
        "a.txt.gz": "\n".join(texts),
    }[name]
    packed = gzip.compress(content.encode())
    (tmp_path / name).write_bytes(packed[: len(packed) // 2])

    *read_rows, last = things(tmp_path / name)

    assert [one.text for one in read_rows if isinstance(one, Candidate)] == texts[: len(read_rows)]
    assert len(read_rows) > 500
    assert isinstance(last, Rejected)
    assert last.reason.startswith("the file ends early")


def test_a_gzip_file_with_a_wrong_checksum_is_read_and_said_to_be_damaged(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl.gz", [GOOD] * 5)
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF
    path.write_bytes(content)

    found = things(path)

    assert [type(one) for one in found] == [Candidate] * 5 + [Rejected]
    assert isinstance(found[-1], Rejected)
    assert "CRC check failed" in found[-1].reason
