"""Folders: saved by `datasets`, and as they lie in a repository on the hub; and files that `datasets` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from alignloop.data.incoming import Candidate
from alignloop.data.shapes import read
from alignloop.errors import DataError
from tests.data.shapes.helpers import candidates, write_lines

CHAT = [
    {
        "messages": [
            {"role": "user", "content": f"Q{at}\nü"},
            {"role": "assistant", "content": f"A{at}"},
        ],
        "user": f"u{at}",
    }
    for at in range(1500)
]
PLAIN = [{"prompt": f'Q{at}, "x"\nü', "response": f"A{at}", "user": f"u{at}"} for at in range(1500)]


def texts(found: list[Candidate]) -> list[tuple[str, str, str]]:
    return [(c.text, c.answers[0].text, c.user) for c in found]


def expected(rows: list[Any]) -> list[tuple[str, str, str]]:
    if "prompt" in rows[0]:
        return [(row["prompt"], row["response"], row["user"]) for row in rows]
    return [
        (row["messages"][0]["content"], row["messages"][1]["content"], row["user"]) for row in rows
    ]


def test_a_saved_dataset(tmp_path: Path) -> None:
    datasets.Dataset.from_list(CHAT).save_to_disk(tmp_path / "saved", num_shards=3)

    opened = read(tmp_path / "saved")

    assert (opened.shape, opened.container, len(opened.files)) == (
        "messages",
        "saved Dataset, 3 files",
        3,
    )
    assert texts(candidates(tmp_path / "saved")) == expected(CHAT)


def test_a_saved_dict_of_splits_and_one_of_them(tmp_path: Path) -> None:
    splits = {"test": PLAIN[:100], "extra": PLAIN[100:150], "train": PLAIN[150:]}
    saved = datasets.DatasetDict(
        {name: datasets.Dataset.from_list(rows) for name, rows in splits.items()}
    )
    saved.save_to_disk(tmp_path / "saved")

    assert read(tmp_path / "saved").container == "saved DatasetDict, 3 files of train, test, extra"
    assert texts(candidates(tmp_path / "saved")) == expected(PLAIN[150:] + PLAIN[:150])
    only = [c for c in read(tmp_path / "saved", split="test") if isinstance(c, Candidate)]
    assert texts(only) == expected(PLAIN[:100])
    with pytest.raises(DataError, match="no split 'validation'; there is 'test', 'extra', 'train'"):
        read(tmp_path / "saved", split="validation")


def test_a_selection_that_was_saved_holds_its_own_rows_alone(tmp_path: Path) -> None:
    datasets.Dataset.from_list(PLAIN).select(range(5, 20, 3)).save_to_disk(tmp_path / "saved")

    assert texts(candidates(tmp_path / "saved")) == expected(PLAIN[5:20:3])


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "lines.json", "array.json"])
def test_files_that_datasets_writes(tmp_path: Path, name: str) -> None:
    rows = PLAIN if name == "a.csv" else CHAT
    data, path = datasets.Dataset.from_list(rows), tmp_path / name
    match name:
        case "a.parquet":
            data.to_parquet(path)
        case "a.csv":
            data.to_csv(path)
        case "lines.json":
            data.to_json(path)
        case _:
            data.to_json(path, lines=False, orient="records", batch_size=len(rows))

    assert texts(candidates(path)) == expected(rows)


def test_messages_as_columns_of_lists_as_older_datasets_have_them(tmp_path: Path) -> None:
    rows = [
        {"conversations": {"from": ["human", "gpt"], "value": [f"Q{at}", f"A{at}"]}}
        for at in range(5)
    ]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")

    found = candidates(tmp_path / "saved")

    assert [(c.text, c.answers[0].text) for c in found] == [(f"Q{at}", f"A{at}") for at in range(5)]


def test_a_repository_of_parquet_files_is_read_split_by_split(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, rows in [
        ("test-00000-of-00001", PLAIN[:10]),
        ("train-00000-of-00002", PLAIN[10:20]),
        ("train-00001-of-00002", PLAIN[20:30]),
    ]:
        datasets.Dataset.from_list(rows).to_parquet(tmp_path / "data" / f"{name}.parquet")
    (tmp_path / "README.md").write_text("A data set.")
    (tmp_path / "dataset_infos.json").write_text("{}")
    (tmp_path / ".cache").mkdir()
    write_lines(tmp_path / ".cache" / "x.jsonl", [{"prompt": "no"}])
    write_lines(tmp_path / "old.jsonl.gz", [{"prompt": "no"}])

    assert texts(candidates(tmp_path)) == expected(PLAIN[10:30] + PLAIN[:10])
    assert (
        read(tmp_path).container
        == "folder of Parquet; 1 of JSON Lines left alone, 3 files of train, test"
    )
    assert len(list(read(tmp_path, split="test"))) == 10


@pytest.mark.parametrize(
    ("files", "order"),
    [
        (["test.jsonl", "train.jsonl", "valid.jsonl"], ["train", "valid", "test"]),
        (["dev/a.csv", "train/b.csv"], ["train/b", "dev/a"]),
        (["my-eval.jsonl.gz", "my-training.jsonl.gz"], ["my-training", "my-eval"]),
        (["b.jsonl", "a.jsonl"], ["a", "b"]),
        (
            ["helpful/test.jsonl.gz", "harmless/train.jsonl.gz", "helpful/train.jsonl.gz"],
            ["harmless/train", "helpful/train", "helpful/test"],
        ),
    ],
)
def test_splits_are_told_by_the_names_of_files_and_folders(
    tmp_path: Path, files: list[str], order: list[str]
) -> None:
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        stem = name.partition(".")[0]
        if ".csv" in name:
            path.write_text(f"prompt\n{stem}\n")
        else:
            write_lines(path, [{"prompt": stem}])

    assert [c.text for c in candidates(tmp_path)] == order


def test_asked_for_a_split_by_another_of_its_names(tmp_path: Path) -> None:
    write_lines(tmp_path / "dev.jsonl", [{"prompt": "a"}])

    assert len(list(read(tmp_path, split="valid"))) == len(list(read(tmp_path, split="dev"))) == 1


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "no data in it"),
        ({"README.md": "x", "config.json": "{}"}, "no data in it"),
        ({"dataset_dict.json": "nonsense"}, "dataset_dict.json: cannot be read"),
        ({"dataset_dict.json": "[]"}, "a JSON object is needed"),
        ({"dataset_dict.json": '{"splits": ["../x"]}'}, "names a file outside the folder"),
        ({"dataset_dict.json": '{"splits": []}'}, "the data set has no files"),
        ({"dataset_dict.json": '{"splits": ["train"]}'}, "state.json: cannot be read"),
        (
            {"state.json": '{"_data_files": [{"filename": "/etc/passwd"}]}'},
            "names a file outside the folder",
        ),
        (
            {"state.json": '{"_data_files": [{"filename": "gone.arrow"}]}'},
            "gone.arrow: cannot be read",
        ),
        ({"state.json": '{"_data_files": 5}'}, "does not name the files"),
        ({"a.jsonl": ""}, "there is nothing in it"),
    ],
)
def test_folders_that_hold_nothing_to_read(
    tmp_path: Path, files: dict[str, str], complaint: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)

    with pytest.raises(DataError, match=complaint):
        read(tmp_path)


def test_an_arrow_file_that_is_cut_off_gives_what_can_be_read(tmp_path: Path) -> None:
    datasets.Dataset.from_list(PLAIN).save_to_disk(tmp_path / "saved")
    (path,) = (tmp_path / "saved").glob("*.arrow")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])

    *found, last = read(tmp_path / "saved", shape="plain")

    assert texts([c for c in found if isinstance(c, Candidate)]) == expected(PLAIN[: len(found)])
    assert "cannot be read" in json.dumps(getattr(last, "reason", ""))
