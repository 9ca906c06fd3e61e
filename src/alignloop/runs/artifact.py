"""What one stage hands to the next: a folder with `artifact.json` (kind, parents, a hash per file). Torch-free."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from alignloop.errors import ArtifactError
from alignloop.files import sha256_of, sync_folder, write_json
from alignloop.runs.card import model_card

Kind = Literal[
    "pretraining-text",
    "prompts",
    "demonstrations",
    "completions",
    "rankings",
    "ratings",
    "policy",
    "reward-model",
    "lexicon",
    "evaluation-report",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artefact that was opened and checked."""

    path: Path
    kind: Kind
    sha256: str
    """Hash of artifact.json, and so of every file and parent."""
    facts: dict[str, Any]
    """What the stage that made it wants the next one to know."""

    def file(self, name: str) -> Path:
        """A file of this artefact."""
        return self.path / name


def write_artifact(
    folder: Path,
    kind: Kind,
    write: Callable[[Path], None],
    *,
    parents: list[dict[str, str]],
    facts: dict[str, Any],
) -> Artifact:
    """Write an artefact aside, then rename it into place: it is there whole or not at all.

    Args:
        folder: where it goes; replaced if it stands.
        write: called with an empty folder to put the files into.
        parents: [{role, kind, sha256}] of what it was made from.
        facts: JSON values for the next stage.

    Raises:
        ArtifactError: the disk is full, say; what stood there is untouched.
    """
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        write(aside)
        card = model_card(kind, parents, facts)
        (aside / "README.md").write_text(card, encoding="utf-8")
        for path in aside.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)  # some writers leave files private
        files = {
            str(path.relative_to(aside)): sha256_of(path)
            for path in sorted(aside.rglob("*"))
            if path.is_file()
        }
        write_json(
            aside / "artifact.json",
            {"kind": kind, "schema": SCHEMA, "files": files, "parents": parents, "facts": facts},
        )
        sync_folder(aside)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise ArtifactError(
            f"{folder} could not be written ({error}); free some space and go on with --resume"
        ) from None
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    return Artifact(folder, kind, sha256_of(folder / "artifact.json"), facts)


def open_artifact(path: Path, kind: Kind) -> Artifact:
    """Open an artefact folder, or the run folder that holds one, and check kind, schema and every hash.

    A plain Hugging Face model folder opens as a `policy`, so that any causal language model can start the loop, or as
    a `reward-model` where its config names a sequence-classification architecture.

    Raises:
        ArtifactError: it is missing, unfinished, of another kind, or its files changed.
    """
    folder = _artifact_folder(path, kind)
    if not (folder / "artifact.json").is_file():
        if plain := _plain_model_kind(folder):
            if kind == plain:
                return Artifact(folder, kind, _hash_plain_model(folder), {})
            if kind in ("policy", "reward-model"):
                raise ArtifactError(
                    f"{path} is a model folder that counts as a '{plain}', but a '{kind}' is needed"
                )
        raise ArtifactError(
            f"{path}: no artefact here; a '{kind}' artefact or its run folder is needed"
        )
    try:
        description = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))
        found, schema, files = description["kind"], description["schema"], description["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{folder}/artifact.json: damaged ({error}); make the artefact again"
        ) from None
    if found != kind:
        raise ArtifactError(
            f"{path} is a '{found}' artefact, but a '{kind}' is needed; were two paths swapped?"
        )
    if schema != SCHEMA:
        raise ArtifactError(
            f"{path}: artefact schema {schema}, but this version reads schema {SCHEMA}"
        )
    for name, expected in files.items():
        if not (folder / name).is_file():
            raise ArtifactError(f"{path}: {name} is missing; make the artefact again")
        if sha256_of(folder / name) != expected:
            raise ArtifactError(
                f"{path}: {name} changed since it was written; make the artefact again"
            )
    return Artifact(folder, kind, sha256_of(folder / "artifact.json"), description.get("facts", {}))


def kind_of(path: Path) -> Kind:
    """The kind of the artefact at `path`, or in its finished run folder.

    Raises:
        ArtifactError: there is none.
    """
    folder = _artifact_folder(path, "any")
    try:
        found = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ArtifactError(f"{path}: no artefact here") from None
    return found


def model_kind(path: Path) -> Kind:
    """Whether a reward model is here; anything else, a mistake included, is for `open_artifact` to take as a policy."""
    folder = _artifact_folder(path, "policy")
    description = folder / "artifact.json"
    if not description.is_file():
        return _plain_model_kind(folder) or "policy"
    try:
        found = json.loads(description.read_text(encoding="utf-8"))
    except ValueError:
        return "policy"
    fields = cast(dict[str, Any], found) if isinstance(found, dict) else {}
    return "reward-model" if fields.get("kind") == "reward-model" else "policy"


def _plain_model_kind(folder: Path) -> Kind | None:
    """What a Hugging Face model folder without artifact.json counts as, by the architecture that its config names."""
    config = folder / "config.json"
    if not config.is_file():
        return None
    try:
        names: list[Any] = json.loads(config.read_text(encoding="utf-8"))["architectures"] or []
    except (ValueError, KeyError, TypeError):
        return "policy"  # it names none: the model's reader says what is wrong with it
    is_classifier = any(str(name).endswith("ForSequenceClassification") for name in names)
    return "reward-model" if is_classifier else "policy"


def _artifact_folder(path: Path, kind: str) -> Path:
    """The artefact inside a finished run folder, or `path` itself."""
    manifest = path / "manifest.json"
    if not manifest.is_file():
        if not path.is_dir():
            raise ArtifactError(
                f"{path}: no such folder; a '{kind}' artefact or its run folder is needed"
            )
        return path
    try:
        status = json.loads(manifest.read_text(encoding="utf-8"))["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{manifest}: damaged ({error})") from None
    if status != "finished":
        raise ArtifactError(
            f"{path} is an unfinished run (status: {status}); finish it with --resume first"
        )
    return path / "artifact"


def _hash_plain_model(folder: Path) -> str:
    """One hash for a model folder that carries no artifact.json."""
    import hashlib

    lines = [
        f"{path.name} {sha256_of(path)}" for path in sorted(folder.iterdir()) if path.is_file()
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
