"""The demo's base model must have learned from the very split that it is judged on."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignloop.data.jsonl import write_records
from alignloop.data.records import Text, texts_sha256
from alignloop.errors import ArtifactError
from alignloop.resources import asset
from alignloop.runs.artifact import open_artifact, write_artifact
from alignloop.workflow.demo import check_base

ONE = Text(id="fox:0", text="A fox sat on a hill.", group="fox", source="ours")
LEARNED_FROM = open_artifact(asset("base"), "policy").facts["train_text_sha256"]


def stories(folder: Path, **facts: str) -> Path:
    """A `pretraining-text` artefact of one text that says this of itself."""

    def write(inside: Path) -> None:
        write_records(inside / "train.jsonl.gz", [ONE])

    write_artifact(folder, "pretraining-text", write, parents=[], facts=facts)
    return folder


def base(folder: Path, learned_from: str) -> Path:
    """A base model that says that it learned from this."""
    facts = {"train_text_sha256": learned_from}
    write_artifact(folder, "policy", lambda _: None, parents=[], facts=facts)
    return folder


def test_the_split_that_the_base_learned_from(tmp_path: Path) -> None:
    check_base(asset("base"), stories(tmp_path / "text", train_text_sha256=LEARNED_FROM))


def test_text_that_says_nothing_of_its_split_is_read(tmp_path: Path) -> None:
    check_base(base(tmp_path / "base", texts_sha256([ONE])), stories(tmp_path / "text"))


def test_another_split_or_none_is_refused(tmp_path: Path) -> None:
    for name, facts in {"other": {"train_text_sha256": "0" * 64}, "unknown": {}}.items():
        with pytest.raises(ArtifactError, match="was trained on another split of the stories"):
            check_base(asset("base"), stories(tmp_path / name, **facts))
