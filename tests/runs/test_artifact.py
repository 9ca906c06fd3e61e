"""Artefacts: whole or absent, of one kind, and unchanged since they were written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignloop.errors import ArtifactError
from alignloop.files import sha256_of, sync_folder, write_bytes, write_json
from alignloop.runs.artifact import KINDS, Artifact, open_artifact, write_artifact
from tests.helpers import contents, full_disk, write_model


def write_two(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "b.txt").write_text("two")
    (folder / "a.txt").write_text("one")


def made(folder: Path, kind: str = "prompts") -> Artifact:
    parents = [{"role": "text", "kind": "pretraining-text", "sha256": "0" * 64}]
    return write_artifact(folder, kind, write_two, parents=parents, facts={"rows": 3})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_written_and_opened(tmp_path: Path, kind: str) -> None:
    written = made(tmp_path / "x", kind)

    opened = open_artifact(tmp_path / "x", kind)  # type: ignore[arg-type]

    assert opened == written
    assert opened.facts == {"rows": 3}
    assert opened.file("a.txt").read_text() == "one"
    assert opened.sha256 == sha256_of(tmp_path / "x" / "artifact.json")


def test_an_artefact_says_what_it_is_and_what_it_came_from(tmp_path: Path) -> None:
    made(tmp_path / "x")

    description = json.loads((tmp_path / "x" / "artifact.json").read_text())

    assert description["kind"] == "prompts"
    assert description["schema"] == 1
    assert list(description["files"]) == ["README.md", "a.txt", "deep/b.txt"]
    assert description["files"]["a.txt"] == sha256_of(tmp_path / "x" / "a.txt")
    assert description["parents"][0]["role"] == "text"
    assert str(tmp_path) not in (tmp_path / "x" / "artifact.json").read_text()


def test_its_hash_depends_on_content_alone(tmp_path: Path) -> None:
    first, second = made(tmp_path / "x"), made(tmp_path / "elsewhere" / "y")

    assert first.sha256 == second.sha256
    assert made(tmp_path / "z", "completions").sha256 != first.sha256


@pytest.mark.parametrize("name", ["a.txt", "deep/b.txt"])
def test_a_changed_or_missing_file_is_named(tmp_path: Path, name: str) -> None:
    made(tmp_path / "x")
    (tmp_path / "x" / name).write_text("onE")

    with pytest.raises(ArtifactError, match=f"{name} changed since it was written"):
        open_artifact(tmp_path / "x", "prompts")
    (tmp_path / "x" / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        open_artifact(tmp_path / "x", "prompts")


def test_swapped_paths_are_named_with_both_kinds(tmp_path: Path) -> None:
    made(tmp_path / "rm", "reward-model")

    message = r"rm is a 'reward-model' artefact, but a 'policy' is needed; were two paths swapped\?"
    with pytest.raises(ArtifactError, match=message):
        open_artifact(tmp_path / "rm", "policy")


def test_another_schema_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "x")
    path = tmp_path / "x" / "artifact.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))

    with pytest.raises(ArtifactError, match="schema 2, but this version reads schema 1"):
        open_artifact(tmp_path / "x", "prompts")


@pytest.mark.parametrize("content", ["", '{"kind": "prom', "{}", "[]", "7", "\xff"])
def test_a_damaged_description_is_an_error_of_ours(tmp_path: Path, content: str) -> None:
    made(tmp_path / "x")
    (tmp_path / "x" / "artifact.json").write_bytes(content.encode("latin-1"))

    with pytest.raises(ArtifactError, match=r"artifact\.json: damaged"):
        open_artifact(tmp_path / "x", "prompts")


def test_nothing_there_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()

    for name in ("none", "file"):
        with pytest.raises(ArtifactError, match=f"{name}: no such folder"):
            open_artifact(tmp_path / name, "prompts")
    with pytest.raises(ArtifactError, match="empty: no artefact here; a 'prompts' artefact"):
        open_artifact(tmp_path / "empty", "prompts")


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_run_is_refused_even_with_an_artefact_in_it(
    tmp_path: Path, status: str
) -> None:
    made(tmp_path / "artifact")
    write_json(tmp_path / "manifest.json", {"status": status})

    with pytest.raises(ArtifactError, match=rf"unfinished run \(status: {status}\).*--resume"):
        open_artifact(tmp_path, "prompts")


def test_a_finished_run_opens_as_its_artefact(tmp_path: Path) -> None:
    written = made(tmp_path / "artifact")
    write_json(tmp_path / "manifest.json", {"status": "finished"})

    assert open_artifact(tmp_path, "prompts") == written


@pytest.mark.parametrize("content", ["", '{"status": "fin', "[]"])
def test_a_damaged_manifest_is_an_error_of_ours(tmp_path: Path, content: str) -> None:
    made(tmp_path / "artifact")
    (tmp_path / "manifest.json").write_text(content)

    with pytest.raises(ArtifactError, match=r"manifest\.json: damaged"):
        open_artifact(tmp_path, "prompts")


def test_any_model_folder_is_a_policy_and_its_weights_are_hashed(tmp_path: Path) -> None:
    write_model(tmp_path / "a", "gpt2")
    write_model(tmp_path / "b", "gpt2")
    write_model(tmp_path / "c", "gpt2", seed=2)

    hashes = [open_artifact(tmp_path / name, "policy").sha256 for name in "abc"]

    assert hashes[0] == hashes[1] != hashes[2]
    with pytest.raises(
        ArtifactError, match=r"counts as a .policy., but a .reward-model. is needed"
    ):
        open_artifact(tmp_path / "a", "reward-model")


# --- whole or not at all ---


def test_a_write_that_fails_leaves_the_old_artefact_and_nothing_else(tmp_path: Path) -> None:
    made(tmp_path / "x")
    before = contents(tmp_path)

    def broken(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        write_artifact(tmp_path / "x", "prompts", broken, parents=[], facts={})

    assert contents(tmp_path) == before


def test_a_full_disk_leaves_the_old_artefact_and_nothing_else(tmp_path: Path) -> None:
    made(tmp_path / "x")
    before = contents(tmp_path)

    with full_disk(2000), pytest.raises(ArtifactError, match=r"x could not be written .*--resume"):
        write_artifact(
            tmp_path / "x",
            "prompts",
            lambda folder: write_bytes(folder / "big", b"x" * 10_000),
            parents=[],
            facts={},
        )

    assert contents(tmp_path) == before
    assert open_artifact(tmp_path / "x", "prompts")


def test_what_a_killed_process_left_behind_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".x.tmp").mkdir()
    (tmp_path / ".x.tmp" / "rest").write_text("of a killed run")

    made(tmp_path / "x")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]
    assert not (tmp_path / "x" / "rest").exists()


def test_a_new_artefact_replaces_the_old_one_whole(tmp_path: Path) -> None:
    write_artifact(
        tmp_path / "x", "prompts", lambda f: write_bytes(f / "old", b"x"), parents=[], facts={}
    )

    made(tmp_path / "x")

    assert not (tmp_path / "x" / "old").exists()


# --- single files ---


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_bytes(tmp_path / "deep" / "x", b"old")
    write_bytes(tmp_path / "deep" / "x", b"new")

    assert contents(tmp_path) == {"deep/x": b"new"}


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"old")

    with full_disk(100), pytest.raises(OSError, match="File too large"):
        write_bytes(tmp_path / "x", b"new" * 100)

    assert contents(tmp_path) == {"x": b"old"}


def test_json_with_nan_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": 1})

    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})

    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}


def test_every_file_and_folder_of_a_tree_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_two(tmp_path)
    flushed: list[str] = []
    monkeypatch.setattr(
        "alignloop.files.os.open", lambda path, _flags: flushed.append(Path(path).name) or 0
    )
    monkeypatch.setattr("alignloop.files.os.fsync", lambda _descriptor: None)
    monkeypatch.setattr("alignloop.files.os.close", lambda _descriptor: None)

    sync_folder(tmp_path)

    assert {"a.txt", "deep", "b.txt", tmp_path.name, tmp_path.parent.name} <= set(flushed)
