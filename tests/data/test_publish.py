"""Fewer titles to train on: what is held out, and what the base model is compared with, stay those of the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignloop.data import publish, split
from alignloop.data.jsonl import read_records
from alignloop.data.records import Text, texts_sha256
from alignloop.data.stories import Library, Story, title_of
from alignloop.runs.artifact import open_artifact
from tests.helpers import run


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    """Twenty titles on each side, with two texts of each."""
    stories: dict[split.Side, list[Story]] = {
        side: [
            Story(
                f"{side}/{number}#{part}", f"{side} {number}", "book", (f"{side} {number} {part}",)
            )
            for number in range(20)
            for part in range(2)
        ]
        for side in split.SIDES
    }
    groups = {title_of(story): title_of(story) for side in split.SIDES for story in stories[side]}
    made = Library(stories, groups, {})
    monkeypatch.setattr(publish, "read_library", lambda *_, **__: made)
    return made


def published(folder: Path, **config: Any) -> dict[str, list[Text]]:
    run("stories", folder, config)
    return {
        side: read_records(folder / "artifact" / f"{side}.jsonl.gz", Text) for side in split.SIDES
    }


def titles(texts: list[Text]) -> set[str]:
    return {text.title for text in texts}


def test_a_limit_takes_whole_titles_of_the_training_side_alone(
    tmp_path: Path, library: Library
) -> None:
    whole, some = published(tmp_path / "whole"), published(tmp_path / "some", limit=7)

    assert len(titles(some["train"])) == 7
    assert some["train"] == [t for t in whole["train"] if t.title in titles(some["train"])]
    assert (some["valid"], some["test"]) == (library.texts("valid"), library.texts("test"))
    facts = open_artifact(tmp_path / "some", "pretraining-text").facts
    assert facts["titles"] == {"train": 7, "valid": 20, "test": 20}
    assert facts["train_text_sha256"] == texts_sha256(library.texts("train"))


def test_a_larger_limit_only_adds(tmp_path: Path, library: Library) -> None:
    few, more, all_of_them = (
        published(tmp_path / str(limit), limit=limit)["train"] for limit in (3, 12, 100)
    )

    assert titles(few) < titles(more)
    assert titles(few) != {f"train {number}" for number in range(3)}, "not the first by name"
    assert all_of_them == library.texts("train")
