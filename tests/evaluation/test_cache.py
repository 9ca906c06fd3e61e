"""Answers come back as they were put, under all that decides them and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.errors import DataError
from alignloop.evaluation.cache import AnswerCache, AnswerKey

KEY = AnswerKey("ab" * 32, [1, 2, 3], {"temperature": 0.0, "max_new_tokens": 8}, 7)


def test_an_answer_comes_back(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "cache")
    assert cache.get(KEY) is None

    cache.put(KEY, {"text": "a fox – 狐", "tokens": [4, 5], "log_prob": -0.1 - 0.2})

    again = AnswerCache(tmp_path / "cache").get(replace(KEY, prompt=(1, 2, 3)))
    assert again == {"text": "a fox – 狐", "tokens": [4, 5], "log_prob": -0.1 - 0.2}


@pytest.mark.parametrize(
    "change",
    [
        {"policy": "cd" * 32},
        {"prompt": [1, 23]},
        {"prompt": [1, 2, 3, 3]},
        {"sampling": {"temperature": 1.0, "max_new_tokens": 8}},
        {"sampling": {"temperature": 0.0}},
        {"seed": 8},
    ],
)
def test_whatever_decides_it_is_in_the_key(tmp_path: Path, change: dict[str, Any]) -> None:
    cache = AnswerCache(tmp_path)
    cache.put(KEY, {"text": "fox"})

    assert cache.get(replace(KEY, **change)) is None


@given(
    st.permutations(["temperature", "max_new_tokens", "cut"]),
)
def test_the_order_of_settings_does_not_matter(names: list[str]) -> None:
    settings = {"temperature": 1.0, "max_new_tokens": 8, "cut": "newline"}

    key = replace(KEY, sampling={name: settings[name] for name in names})

    assert key.digest() == replace(KEY, sampling=settings).digest()


def test_a_damaged_answer_is_none_and_is_replaced(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.put(KEY, {"text": "fox"})
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.stem == KEY.digest()

    file.write_bytes(b'{"text": "fo')
    assert cache.get(KEY) is None
    cache.put(KEY, {"text": "hen"})

    assert cache.get(KEY) == {"text": "hen"}


def test_what_is_no_json_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        AnswerCache(tmp_path).put(KEY, {"log_prob": math.nan})

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")

    with pytest.raises(DataError, match="is a file"):
        AnswerCache(tmp_path / "cache")
