"""The same rows from every container, a piece at a time, and what is no container at all."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from alignloop.data.incoming import Candidate, Rejected
from alignloop.data.shapes import read, values
from alignloop.data.shapes.lines import json_lines
from alignloop.errors import DataError
from tests.data.shapes.helpers import candidates, rejections, things, write_lines

ROWS = [
    {"prompt": "Name a bird.", "user_id": "u1"},
    {"prompt": 'Say "hi",\nthen go.', "user_id": "u2"},
    {"prompt": "请写一首诗。", "user_id": "u3"},
]
EXPECTED = [(row["prompt"], row["user_id"]) for row in ROWS]


def write_table(path: Path, delimiter: str = ",", encoding: str = "utf-8") -> None:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, ["prompt", "user_id"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)


def write(path: Path) -> Path:
    match path.name:
        case "a.jsonl" | "a.JSONL" | "a.ndjson" | "a.jsonl.gz" | "lines.json" | "lines.json.gz":
            write_lines(path, ROWS)
        case "array.json":
            path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8")
        case "array.json.gz":
            path.write_bytes(gzip.compress(json.dumps(ROWS).encode()))
        case "objects.json":
            path.write_text("\n".join(json.dumps(row, indent=1) for row in ROWS))
        case "a.csv":
            write_table(path)
        case "bom.csv":
            write_table(path, encoding="utf-8-sig")
        case "semicolon.csv":
            write_table(path, ";")
        case "a.tsv":
            write_table(path, "\t")
        case "a.csv.gz":
            write_table(path.with_suffix(""))
            path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
            path.with_suffix("").unlink()
        case "a.parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        case "stream.arrow":
            table = pyarrow.Table.from_pylist(ROWS)
            with pyarrow.ipc.new_stream(path, table.schema) as writer:
                writer.write_table(table)
        case "file.arrow":
            table = pyarrow.Table.from_pylist(ROWS)
            with pyarrow.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table)
        case _:
            raise AssertionError(path.name)
    return path


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("a.jsonl", "JSON Lines"),
        ("a.JSONL", "JSON Lines"),
        ("a.ndjson", "JSON Lines"),
        ("a.jsonl.gz", "JSON Lines, gzipped"),
        ("lines.json", "JSON Lines"),
        ("lines.json.gz", "JSON Lines, gzipped"),
        ("array.json", "JSON"),
        ("array.json.gz", "JSON, gzipped"),
        ("objects.json", "JSON"),
        ("a.csv", "CSV"),
        ("bom.csv", "CSV"),
        ("semicolon.csv", "CSV"),
        ("a.tsv", "TSV"),
        ("a.csv.gz", "CSV, gzipped"),
        ("a.parquet", "Parquet"),
        ("stream.arrow", "Arrow"),
        ("file.arrow", "Arrow"),
    ],
)
def test_every_container_gives_the_same_rows(tmp_path: Path, name: str, container: str) -> None:
    path = write(tmp_path / name)

    opened = read(path)
    twice = [[(c.text, c.user) for c in opened if isinstance(c, Candidate)] for _ in range(2)]

    assert (opened.shape, opened.container) == ("plain", container)
    assert opened.files == (str(path),)
    assert twice == [EXPECTED, EXPECTED]


def test_a_row_is_placed_by_its_line_in_lines_and_tables_and_by_its_number_elsewhere(
    tmp_path: Path,
) -> None:
    jsonl = tmp_path / "a.jsonl"
    jsonl.write_text('{"prompt": "a"}\n\n{"prompt": "b"}\n')

    assert [c.place.line for c in candidates(jsonl)] == [1, 3]
    assert [c.place.line for c in candidates(write(tmp_path / "a.csv"))] == [2, 3, 5]
    assert [c.place.line for c in candidates(write(tmp_path / "a.parquet"))] == [1, 2, 3]
    assert [c.place.line for c in candidates(write(tmp_path / "array.json"))] == [1, 2, 3]
    assert candidates(jsonl)[0].place.file == str(jsonl)


def test_a_byte_order_mark_is_not_part_of_the_first_row(tmp_path: Path) -> None:
    for name, content in [("a.jsonl", '{"prompt": "a"}'), ("a.txt", "a"), ("a.json", '["a"]')]:
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + content.encode())
        assert [c.text for c in candidates(path)] == ["a"], name


def test_a_text_file_has_a_prompt_per_line_and_a_blank_line_is_a_blank_prompt(
    tmp_path: Path,
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("One.\r\n\n  two, 两 \nthree".encode())

    assert [(c.place.line, c.text) for c in candidates(path)] == [
        (1, "One."),
        (2, ""),
        (3, "  two, 两 "),
        (4, "three"),
    ]


def test_lines_and_arrays_of_bare_texts_are_prompts(tmp_path: Path) -> None:
    assert [c.text for c in candidates(write_lines(tmp_path / "a.jsonl", ['"a"', '"b"']))] == [
        "a",
        "b",
    ]
    (tmp_path / "a.json").write_text('["a", "b"]')
    assert [c.text for c in candidates(tmp_path / "a.json")] == ["a", "b"]


# --- a piece at a time ---


def test_a_file_is_read_a_piece_at_a_time(tmp_path: Path) -> None:
    count, text = 8_000, "word " * 250
    rows = [{"prompt": f"{at} {text}"} for at in range(count)]
    write_lines(tmp_path / "a.jsonl", rows)
    write_lines(tmp_path / "a.jsonl.gz", rows)
    (tmp_path / "a.csv").write_text("prompt\n" + "".join(row["prompt"] + "\n" for row in rows))
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=count
    )
    size = count * len(text)
    for name in ("a.jsonl", "a.jsonl.gz", "a.csv", "a.parquet"):
        opened = read(tmp_path / name)
        tracemalloc.start()
        seen = sum(1 for _ in opened)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert seen == count
        assert peak < size / 4, name


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    class Counted:
        def __init__(self, file: Iterator[Any]) -> None:
            self.file, self.taken = file, 0

        def __iter__(self) -> Iterator[Any]:
            for one in self.file:
                self.taken += 1
                yield one

    counted = Counted(json_lines(write_lines(tmp_path / "a.jsonl", ROWS * 100), "a"))
    assert len(list(itertools.islice(counted, 3))) == 3
    assert counted.taken == 3


# --- tables ---


def test_names_of_columns_are_read_in_small_letters_with_underscores(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('Prompt,Response,"User ID",Use Case\nHi,Hello,7,Open QA\n')

    (found,) = candidates(tmp_path / "a.csv")

    assert (found.text, found.answers[0].text, found.user, found.use_case) == (
        "Hi",
        "Hello",
        "7",
        "open_qa",
    )


def test_an_empty_cell_gives_no_answer_and_no_user_but_a_blank_prompt(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,response,user,consent\n,,,\n")

    (found,) = candidates(tmp_path / "a.csv")

    assert (found.text, found.answers, found.user, found.consent) == ("", (), "", None)


def test_a_row_with_too_few_or_too_many_cells_is_rejected_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('prompt,user\na,1\nb\n\nc,2,3\n"d\ne",4\n"f\ng",5,6\nh,7\n')

    assert rejections(tmp_path / "a.csv") == [
        (3, "1 cells where the header has 2"),
        (5, "3 cells where the header has 2"),
        (8, "3 cells where the header has 2 (lines 8 to 9)"),
    ]
    assert [c.text for c in things(tmp_path / "a.csv") if isinstance(c, Candidate)] == [
        "a",
        "d\ne",
        "h",
    ]


def test_a_quotation_mark_that_is_not_closed_costs_its_own_row_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('prompt,user\na,1\n"b,2\nc,3\n"d, e",4\n')

    assert [c.text for c in things(tmp_path / "a.csv") if isinstance(c, Candidate)] == [
        "a",
        "c",
        "d, e",
    ]
    assert rejections(tmp_path / "a.csv") == [
        (3, "a quotation mark opens a cell that is not closed")
    ]


def test_the_field_limit_of_the_csv_module_is_no_limit_here(tmp_path: Path) -> None:
    long = "x" * 300_000
    (tmp_path / "a.csv").write_text(f"prompt\n{long}\n")

    assert [c.text for c in candidates(tmp_path / "a.csv")] == [long]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("prompt,prompt\na,b\n", "each differently"),
        (",\na,b\n", "each differently"),
        ('"prompt\na\nb\n', "opens a cell that is not closed, in the header"),
        ("Write a poem\nTell a joke\n", "no shape fits its rows; their keys are write_a_poem"),
    ],
)
def test_a_table_without_a_header_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "a.csv").write_text(content)

    with pytest.raises(DataError, match=complaint):
        read(tmp_path / "a.csv")


# --- arrays ---


def test_a_broken_element_of_an_array_costs_itself_alone(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '[{"prompt": "a"}, {"prompt": [1, "]"], nonsense}, 5, {"prompt": "b"},]'
    )

    found = things(tmp_path / "a.json")

    assert [getattr(one, "text", None) for one in found] == ["a", None, None, "b"]
    assert rejections(tmp_path / "a.json")[0][0] == 2
    assert isinstance(found[1], Rejected)
    assert found[1].raw == '{"prompt": [1, "]"], nonsense}'


def test_a_bracket_that_stands_alone_in_an_array_does_not_hide_what_follows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('["a", }, "b", x}], "c"]')

    found = things(tmp_path / "a.json")

    assert [getattr(one, "text", None) for one in found] == ["a", None, "b", None, None]
    assert rejections(tmp_path / "a.json")[-1] == (5, "something follows the array")


def test_an_array_that_is_cut_off_gives_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"prompt": "a"}, {"prompt": "b"}, {"pro')

    assert [c.text for c in things(tmp_path / "a.json") if isinstance(c, Candidate)] == ["a", "b"]
    assert rejections(tmp_path / "a.json") == [(3, "the file ends early: its array is not closed")]


def test_what_follows_an_array_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"prompt": "a"}]\n{"prompt": "b"}\n')

    assert rejections(tmp_path / "a.json") == [(2, "something follows the array")]


def test_an_array_that_is_too_large_to_hold_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "MAX_FILE", 2**20)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(["a" * 1000] * 2000).encode()))

    with pytest.raises(DataError, match=r"more than 1 MB; save it as JSON Lines or Parquet"):
        read(tmp_path / "a.json.gz")


# --- Parquet and Arrow ---


def test_text_in_parquet_that_is_not_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    texts = pyarrow.array([b"a", b"\xff\xfe", b"c"], pyarrow.binary())
    strings = pyarrow.StringArray.from_buffers(3, *texts.buffers()[1:])
    pyarrow.parquet.write_table(pyarrow.table({"prompt": strings}), tmp_path / "a.parquet")

    assert [c.text for c in things(tmp_path / "a.parquet") if isinstance(c, Candidate)] == [
        "a",
        "c",
    ]
    ((line, said),) = rejections(tmp_path / "a.parquet")
    assert line == 2
    assert "utf-8" in said


def test_a_damaged_row_group_is_rejected_and_the_next_one_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [{"prompt": f"{at:04d} " + "x" * 50} for at in range(300)]
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(rows),
        path,
        row_group_size=100,
        compression="zstd",
        use_dictionary=False,
    )
    column = pyarrow.parquet.read_metadata(path).row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)

    found = things(path, "plain")

    assert [one.place.line for one in found if isinstance(one, Candidate)] == [
        *range(1, 101),
        *range(201, 301),
    ]
    ((line, said),) = rejections(path, "plain")
    assert line == 101
    assert said.startswith("100 rows from here on cannot be read")


def test_without_pyarrow_the_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.parquet")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)

    class Absent:
        def find_spec(self, name: str, *_: Any) -> None:
            if name.partition(".")[0] == "pyarrow":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    for shape in (None, "plain"):
        with pytest.raises(ModuleNotFoundError) as caught:
            read(path, shape=shape)
        assert caught.value.name == "pyarrow"


# --- files that cannot be read at all ---


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.docx", b"PK", "cannot be told from the end of its name"),
        ("a", b"x", "cannot be told"),
        ("a.parquet.gz", b"x", "cannot be told"),
        ("a.parquet", b"nonsense", "not a Parquet file"),
        ("a.arrow", b"nonsense", "not Arrow data"),
        ("a.jsonl.gz", b"not gzip at all", "cannot be read"),
        ("a.jsonl", b"", "there is nothing in it"),
        ("a.csv", b"", "there is nothing in it"),
        ("a.json", b"[]", "there is nothing in it"),
        ("a.jsonl", b"{\n", "none of the first 1 rows can be read .number 1: not JSON"),
        ("a.jsonl", b"5\n", "neither objects nor texts"),
        ("a.jsonl", b'{"one": 1, "two": 2}\n', "no shape fits its rows; their keys are one, two"),
        ("a.jsonl", "{}".encode("utf-16"), "UTF-16"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.jsonl.gz", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_what_is_wrong_with_a_whole_file_is_said(
    tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(DataError, match=complaint) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_a_split_of_a_file_and_unknown_names_are_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", ROWS)

    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match="only a folder has splits"):
        read(path, split="train")
    with pytest.raises(
        DataError,
        match=r"no shape 'mesages'; did you mean 'messages'\? There are summarize_feedback",
    ):
        read(path, shape="mesages")
    with pytest.raises(DataError, match="no kind 'user'"):
        read(path, kind="user")  # type: ignore[arg-type]


def test_a_named_shape_is_taken_without_a_look_at_the_rows(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"one": 1}])

    opened = read(path, shape="plain")

    assert (opened.shape, opened.why) == ("plain", "named")
    assert [type(one) for one in opened] == [Rejected]
    path.write_bytes(b"")
    assert list(read(path, shape="plain")) == []


def test_reading_needs_no_torch_and_no_pyarrow(tmp_path: Path) -> None:
    import subprocess

    path = write_lines(tmp_path / "a.jsonl", ROWS)
    code = (
        "import sys; from pathlib import Path; from alignloop.data.shapes import read; "
        f"list(read(Path({str(path)!r}))); "
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
