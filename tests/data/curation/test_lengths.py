"""Lengths in tokens: the estimate, a tokenizer, and tokenizers that are not there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.lengths import counter, estimate
from alignloop.data.curation.outcomes import Dropped, Kept
from alignloop.errors import DataError, MissingExtraError
from alignloop.resources import asset
from tests.data.curation.test_curate import candidate, run

TOKENIZER = asset("base", "tokenizer.json")


def test_the_estimate_is_four_bytes_a_token_rounded_up() -> None:
    assert estimate(["", "a", "abcd", "abcde", "狐狸", "\ud800"]) == [0, 1, 1, 2, 2, 1]


def test_a_tokenizer_counts() -> None:
    from tokenizers import Tokenizer

    texts = ["Once upon a time there was a fox.", "", "狐狸", "a\ud800b"]
    library = Tokenizer.from_file(str(TOKENIZER))

    found = counter(str(TOKENIZER))(texts)

    assert found[:3] == [len(library.encode(t, add_special_tokens=False).ids) for t in texts[:3]]
    assert found[3] >= 2


def test_prompts_are_counted_whole() -> None:
    config = CurationConfig(tokenizer=str(TOKENIZER), max_tokens=20)
    short, turn = "Once upon a time.", "there was a fox who lived in a wood with a hen and a goose"

    one, other = run(
        [candidate(short), candidate(short, history=(("user", turn), ("assistant", turn)))], config
    )

    (tokens,) = counter(str(TOKENIZER))([short])
    assert isinstance(one, Kept) and one.tokens == tokens
    assert isinstance(other, Dropped) and other.reason == "too_long"


def test_a_tokenizer_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.json: no such tokenizer"):
        counter(str(tmp_path / "nowhere.json"))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError, match=r"bad.json: not a tokenizer.json"):
        counter(str(tmp_path / "bad.json"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)

    with pytest.raises(MissingExtraError, match=r"alignloop\[train\]"):
        counter(str(TOKENIZER))
