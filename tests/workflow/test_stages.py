"""What every stage has in common."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers import run, write_text

NAMES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def test_few_kernels_are_kept_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NAMES[0], raising=False)
    monkeypatch.setenv(NAMES[1], "500")

    run("lexicon", tmp_path / "run", {}, text=write_text(tmp_path / "text"))

    assert [os.environ[name] for name in NAMES] == ["64", "500"]
