"""One run of one stage in one folder: opened or resumed, checkpointed, and finished with an artefact. Torch-free."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from alignloop import __version__
from alignloop.config import Config
from alignloop.errors import ArtifactError, Interrupted, RunError
from alignloop.files import sha256_of, sync_folder, write_bytes, write_json
from alignloop.progress import say
from alignloop.runs import checkpoints
from alignloop.runs.artifact import Artifact, Kind, open_artifact, write_artifact
from alignloop.runs.command import command_to_go_on
from alignloop.runs.metrics import MetricsLog
from alignloop.runs.signals import StopSignal

Given = int | str | list[str]
"""How many paths an input has, or what it is called where it is no path."""

_RECORDED_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "peft",
    "numpy",
    "pydantic",
)


class Run:
    """A run folder. `Run.open` makes or resumes it; the stage logs, checkpoints and finishes through it."""

    def __init__(
        self, folder: Path, stage: str, config: Config, manifest: dict[str, Any], *, resume: bool
    ) -> None:
        self.folder = folder
        self.stage = stage
        self.config = config
        self.metrics = MetricsLog(folder)
        self._manifest = manifest
        self._resume = resume
        self._signal = StopSignal()
        self._lock = FileLock(folder / ".lock", blocking=False)
        self._step_began = time.perf_counter()

    @classmethod
    def open(cls, folder: Path, stage: str, config: Config, *, resume: bool) -> Run:
        """Make the folder, or take up the run in it.

        Raises:
            RunError: the folder holds a run and `resume` is False; or the run there is of another stage, config or
                version.
        """
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder} is a file; choose another folder")
        manifest_path = folder / "manifest.json"
        if not manifest_path.exists():
            # A run killed at birth leaves its config.json behind, and may be born again.
            if folder.exists() and any(
                path.name != "config.json" and not path.name.startswith(".")
                for path in folder.iterdir()
            ):
                raise RunError(f"{folder} is not empty and holds no run; choose another folder")
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / "config.json", config.as_json().encode())
            run = cls(folder, stage, config, _new_manifest(stage, config), resume=resume)
            run._save_manifest()
            return run
        if not resume:
            raise RunError(
                f"{folder} already holds a run; go on with --resume, or choose another folder"
            )
        try:
            manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
            before = (folder / "config.json").read_text(encoding="utf-8")
            stage_before, version_before = manifest["stage"], manifest["version"]
            changed = _changed_keys(json.loads(before), config.model_dump(mode="json"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{folder}: the run there is damaged ({error}); choose another folder"
            ) from None
        if stage_before != stage:
            raise RunError(
                f"{folder} holds a '{stage_before}' run, not '{stage}'; choose another folder"
            )
        if version_before != __version__:
            raise RunError(
                f"{folder} was begun by alignloop {version_before}, this is {__version__}; "
                "install that version to go on, or start in another folder"
            )
        ranks_before, ranks = manifest.get("world_size"), world_size()
        if ranks_before != ranks and manifest.get("status") != "finished":
            raise RunError(
                f"{folder} was begun by {ranks_before} processes, this is {ranks}: go on with as many "
                "(torchrun --nproc-per-node), or start in another folder"
            )
        if before != config.as_json():
            raise RunError(
                f"{folder} was begun with another config ({changed}); "
                f"go on with its settings (--config {folder}/config.json), or start in another folder"
            )
        return cls(folder, stage, config, manifest, resume=resume)

    @property
    def is_finished(self) -> bool:
        """Whether the artefact is there and nothing is left to do."""
        return self._manifest["status"] == "finished"

    def finished_kind(self) -> Kind:
        """What kind of artefact a finished run left."""
        return self._manifest["artifact"]

    def bind(self, given: Mapping[str, Given]) -> None:
        """Hold the run to what it is given beside its config; its stage opens that later, and hashes are compared then.

        A start that was refused before anything was made does not bind the next one.

        Raises:
            RunError: it was begun with more, less, or something else.
        """
        before = self._manifest.get("given")
        if before == given:
            return
        if self.is_finished or self._has_begun():
            if before is None:
                return  # begun before this was recorded
            changed = _changed_keys(before, dict(given))
            raise RunError(
                f"{self.folder} was begun with other inputs ({changed}); go on with those, or start in another folder"
            )
        self._manifest |= {"given": dict(given), "inputs": []}
        self._save_manifest()

    def input(self, role: str, path: Path, kind: Kind) -> Artifact:
        """Open an input artefact and record it in the manifest.

        Raises:
            ArtifactError: it cannot be used, or it is not the one that this run began with.
        """
        artifact = open_artifact(path, kind)
        self._record(role, path, kind, artifact.sha256)
        return artifact

    def input_file(self, role: str, path: Path) -> Path:
        """Record a plain file as an input of this run.

        Raises:
            ArtifactError: it is missing, or not the one that this run began with.
        """
        if not path.is_file():
            raise ArtifactError(f"{path}: no such file")
        self._record(role, path, "file", sha256_of(path))
        return path

    def _record(self, role: str, path: Path, kind: str, sha256: str) -> None:
        if not self._has_begun():
            # As in `bind`: nothing was made of an earlier one.
            self._manifest["inputs"] = [i for i in self._manifest["inputs"] if i["role"] != role]
        for known in self._manifest["inputs"]:
            if known["role"] != role:
                continue
            if known["sha256"] != sha256:
                raise ArtifactError(
                    f"{path} changed since {self.folder} was begun with it as '{role}'"
                )
            return
        entry = {"role": role, "path": str(path), "kind": kind, "sha256": sha256}
        self._manifest["inputs"].append(entry)
        self._save_manifest()

    def _has_begun(self) -> bool:
        """Whether anything but the manifest and the config stands in the folder."""
        made = ("checkpoints", "metrics.jsonl", "tokenizer", "artifact")
        return any((self.folder / name).exists() for name in made)

    def check_inputs(self, given: Mapping[str, Path]) -> None:
        """Compare the inputs that a finished run is given again with those that it was made from.

        Raises:
            ArtifactError: one of them is another one.
        """
        for known in self._manifest["inputs"]:
            path = given.get(known["role"])
            if path is not None and known["kind"] == "file":
                self.input_file(known["role"], path)
            elif path is not None:
                self.input(known["role"], path, known["kind"])

    def parents(self) -> list[dict[str, str]]:
        """The inputs, as an artefact records them (paths differ between machines and are left out)."""
        return [
            {key: entry[key] for key in ("role", "kind", "sha256")}
            for entry in self._manifest["inputs"]
        ]

    # Checkpoints ------------------------------------------------------------------------------------------------

    def save_checkpoint(self, step: int, write: Callable[[Path], None], *, keep: int = 2) -> None:
        """Write a checkpoint aside, flush it, rename it, then prune all but the last `keep`.

        A full disk leaves the older checkpoints as they were.
        """
        final = checkpoints.folder_of(self._checkpoints, step)
        aside = self._aside(step)
        shutil.rmtree(aside, ignore_errors=True)
        try:
            self.metrics.sync()
            aside.mkdir(parents=True)
            write(aside)
            checkpoints.seal(aside)
            sync_folder(aside)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise RunError(
                f"{final} could not be saved ({error}); the checkpoint before it is whole: "
                "free some space and go on with --resume"
            ) from None
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        for old in checkpoints.sealed_in(self._checkpoints)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)

    def _aside(self, step: int) -> Path:
        final = checkpoints.folder_of(self._checkpoints, step)
        return final.with_name(f".{final.name}.tmp")

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """(step, folder) of the newest checkpoint that is what was written; metrics logged after it are forgotten.

        A damaged one is put aside with a warning, and the one before it is taken.

        Raises:
            RunError: there are checkpoints, and all of them are damaged.
        """
        damaged: dict[Path, str] = {}
        found: Path | None = None
        for checkpoint in reversed(checkpoints.sealed_in(self._checkpoints)):
            problem = checkpoints.damage(checkpoint)
            if problem is None:
                found = checkpoint
                break
            damaged[checkpoint] = problem
        if damaged and found is None:
            told = "; ".join(f"{path.name}: {problem}" for path, problem in damaged.items())
            raise RunError(
                f"{self._checkpoints}: no checkpoint is whole ({told}); put one back from a backup, or remove that "
                "folder to begin this run anew"
            )
        for checkpoint, problem in damaged.items():
            aside = checkpoints.put_aside(checkpoint)
            self.warn(
                f"{checkpoint} is damaged ({problem}): it is now {aside.name}, and the run goes on from {found}"
            )
        step = checkpoints.step_of(found) if found else 0
        self.metrics.rewind(step)
        return (step, found) if found else None

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    # Logging and stopping ---------------------------------------------------------------------------------------

    def log(self, step: int, values: dict[str, float], **timings: float) -> None:
        """Log one step's metrics; seconds since the last call go to timings.jsonl."""
        now = time.perf_counter()
        try:
            self.metrics.log(step, values, {"seconds": now - self._step_began, **timings})
        except OSError as error:
            raise RunError(
                f"{self.metrics.metrics_path} could not be written ({error}); "
                "free some space and go on with --resume"
            ) from None
        self._step_began = now

    def warn(self, message: str) -> None:
        """Say that something may be going wrong: on standard error, and in log.txt."""
        say(f"alignloop: warning: {message}")
        with contextlib.suppress(OSError), (self.folder / "log.txt").open("a") as file:
            file.write(f"{_now()} {message}\n")

    def wait_for_others(self) -> None:
        """Where another process works on this run, wait until it is through, and do not refuse."""
        self._lock.blocking = True

    def stop_at_once(self) -> None:
        """From here on a signal stops the run where it is: for stages without steps to end and save."""
        self._signal.at_once = True

    def stop_requested(self) -> bool:
        """Whether SIGINT or SIGTERM arrived since the run was opened."""
        return self._signal.received is not None

    def interrupt(self) -> Interrupted:
        """Mark the run interrupted, if it is not finished; the caller raises what this returns."""
        if not self.is_finished:
            self._manifest["status"] = "interrupted"
        with contextlib.suppress(RunError):
            self._save_manifest()
        number = self._signal.received or 2
        command = command_to_go_on(asks_for_resume=not self._resume)
        return Interrupted(f"{self.folder} was interrupted; go on with: {command}", number)

    def __enter__(self) -> Run:
        try:
            self._lock.acquire()  # the system lets go of it when a process dies, however it dies
        except Timeout:
            raise RunError(
                f"{self.folder} is in use by another process; wait for it, or choose another folder"
            ) from None
        self._manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        if self.is_finished:
            self._drop_checkpoints()  # a kill may have come between the last two things that `finish` does
        else:
            self._manifest["status"] = "running"
            self._save_manifest()
        self._signal.install()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._signal.restore()
        self.metrics.close()
        try:
            if kind is not None and self._manifest["status"] == "running":
                self._manifest["status"] = "interrupted" if kind is KeyboardInterrupt else "failed"
                # On a full disk the run's own error is the one to tell of.
                with contextlib.suppress(RunError):
                    self._save_manifest()
            if kind is KeyboardInterrupt or (kind is None and self.stop_requested()):
                raise self.interrupt() from None  # also where the signal came after the last step
        finally:
            self._lock.release()

    def finish(self, kind: Kind, write: Callable[[Path], None], facts: dict[str, Any]) -> Artifact:
        """Write the artefact and mark the run finished; its checkpoints are no longer needed and go."""
        artifact = write_artifact(
            self.folder / "artifact", kind, write, parents=self.parents(), facts=facts
        )
        self._manifest["status"] = "finished"
        self._manifest["artifact"] = kind
        self._manifest["ended"] = _now()
        self._save_manifest()
        self._drop_checkpoints()
        return artifact

    def _drop_checkpoints(self) -> None:
        shutil.rmtree(self._checkpoints, ignore_errors=True)

    def _save_manifest(self) -> None:
        path = self.folder / "manifest.json"
        try:
            write_json(path, self._manifest)
        except OSError as error:
            raise RunError(
                f"{path} could not be written ({error}); free some space and go on with --resume"
            ) from None


def _new_manifest(stage: str, config: Config) -> dict[str, Any]:
    return {
        "stage": stage,
        "version": __version__,
        "status": "running",
        "argv": sys.argv,
        "seed": getattr(config, "seed", None),
        "git": _git_state(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "preloaded": os.environ.get("LD_PRELOAD"),
        "world_size": world_size(),
        "packages": {name: _version_of(name) for name in _RECORDED_PACKAGES},
        "inputs": [],
        "started": _now(),
        "ended": None,
    }


def world_size() -> int:
    """How many processes torchrun says that there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _changed_keys(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> str:
    changed: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, "absent"), after.get(key, "absent")
        if isinstance(old, dict) and isinstance(new, dict):
            tables = cast(dict[str, Any], old), cast(dict[str, Any], new)
            inner = _changed_keys(*tables, f"{prefix}{key}.")
            changed += [inner] if inner else []
        elif old != new:
            changed.append(f"{prefix}{key}: {old!r} then, {new!r} now")
    return ", ".join(changed)


def _git_state() -> dict[str, Any] | None:
    """Commit of the source checkout that this package runs from, if it is one."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {
            "commit": commit,
            "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
