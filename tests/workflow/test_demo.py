"""The demo's base model must have learned from the very split that it is judged on."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignloop.errors import ArtifactError
from alignloop.resources import asset
from alignloop.runs.artifact import open_artifact, write_artifact
from alignloop.workflow.demo import check_base

LEARNED_FROM = open_artifact(asset("base"), "policy").facts["train_text_sha256"]


def stories(folder: Path, **facts: str) -> Path:
    """A `pretraining-text` artefact that says this of itself."""
    write_artifact(folder, "pretraining-text", lambda _: None, parents=[], facts=facts)
    return folder


def test_the_split_that_the_base_learned_from(tmp_path: Path) -> None:
    check_base(asset("base"), stories(tmp_path / "text", train_text_sha256=LEARNED_FROM))


def test_another_split_or_none_is_refused(tmp_path: Path) -> None:
    for name, facts in {"other": {"train_text_sha256": "0" * 64}, "unknown": {}}.items():
        with pytest.raises(ArtifactError, match="was trained on another split of the stories"):
            check_base(asset("base"), stories(tmp_path / name, **facts))
