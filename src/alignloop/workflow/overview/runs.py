"""The runs below a folder as they are on disk, finished or not. Nothing is checked, opened or changed. Torch-free."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

State = Literal["finished", "running", "killed", "interrupted", "failed", "damaged"]
"""`killed`: the manifest says that it runs, and no process holds it."""

_DEPTH = 3
_NOT_RUNS = frozenset(
    ("artifact", "checkpoints", "epochs", "samples", "tensorboard", "studies", "node_modules")
)
_GO_ON_ALONE = (("demo",), ("study",), ("loop",), ("sample", "expert-iteration"))
"""Commands that take up their runs without --resume."""


@dataclass(frozen=True, slots=True)
class Input:
    """What a run was begun with."""

    role: str
    path: str
    kind: str
    sha256: str


@dataclass(frozen=True, slots=True)
class SeenRun:
    """One run folder."""

    name: str
    """Path below the folder that was looked through."""
    folder: Path
    stage: str
    state: State
    kind: str = ""
    """Of its artefact; empty where there is none yet."""
    sha256: str = ""
    """Of its artefact's artifact.json."""
    inputs: tuple[Input, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    argv: tuple[str, ...] = ()
    started: str = ""
    ended: str = ""
    seed: int | None = None
    also: Mapping[str, str] = field(default_factory=dict[str, str])
    """Hash -> name of artefacts beside its own: the epochs of SFT."""

    @property
    def is_model(self) -> bool:
        """Whether it leaves a policy or a reward model."""
        return self.kind in ("policy", "reward-model")


def runs_below(folder: Path) -> list[SeenRun]:
    """Every run at most three folders down, by path; what lies inside a run is not looked at."""
    return [_seen(folder, place) for place in sorted(_run_folders(folder, _DEPTH))]


def run_at(folder: Path) -> SeenRun:
    """The run in a folder; `damaged` where there is none that can be read."""
    return _seen(folder.parent, folder)


def resume_command(run: SeenRun) -> str:
    """What goes on with an unfinished run, as one would type it."""
    words = list(run.argv[1:])
    if not run.argv or not words or not _is_ours(run.argv[0]):
        return "the same command with --resume"
    goes_alone = any(tuple(words[: len(verb)]) == verb for verb in _GO_ON_ALONE)
    if not goes_alone and "--resume" not in words:
        words.append("--resume")
    return shlex.join(["alignloop", *words])


def seconds_of(run: SeenRun) -> float | None:
    """Seconds of all logged steps, all sittings together; where none were logged, from start to end."""
    logged = 0.0
    for row in rows_of(run.folder / "timings.jsonl"):
        value = row.get("seconds")
        logged += value if isinstance(value, int | float) else 0.0
    if logged:
        return logged
    began, ended = _moment(run.started), _moment(run.ended)
    return None if began is None or ended is None else ended - began


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file that can be read; a line that a crash cut short is left out."""
    found: list[dict[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def json_at(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# --- inside -----------------------------------------------------------------------------------------------------


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    try:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return
    for path in inside:
        if path.name in _NOT_RUNS or not path.is_dir():
            continue
        if (path / "manifest.json").is_file():
            yield path
        elif depth > 1:
            yield from _run_folders(path, depth - 1)


def _seen(root: Path, folder: Path) -> SeenRun:
    name = folder.relative_to(root).as_posix()
    manifest = json_at(folder / "manifest.json")
    stage, status = manifest.get("stage"), manifest.get("status")
    if not isinstance(stage, str) or status not in _STATES:
        return SeenRun(name, folder, str(stage or ""), "damaged")
    kind, sha256, facts = "", "", {}
    state: State = status
    if state == "finished":
        found = _artifact(folder / "artifact")
        if found is None:
            state = "damaged"
        else:
            kind, sha256, facts = found
    elif state == "running" and not _is_held(folder):
        state = "killed"
    return SeenRun(
        name,
        folder,
        stage,
        state,
        kind,
        sha256,
        _inputs(manifest.get("inputs")),
        facts,
        tuple(map(str, manifest.get("argv") or ())),
        str(manifest.get("started") or ""),
        str(manifest.get("ended") or ""),
        manifest.get("seed") if isinstance(manifest.get("seed"), int) else None,
        _epochs(folder, name),
    )


_STATES = frozenset(("finished", "running", "interrupted", "failed"))


def _artifact(folder: Path) -> tuple[str, str, dict[str, Any]] | None:
    """(kind, hash, facts); its files are not hashed again, which a stage does when it opens them."""
    try:
        content = (folder / "artifact.json").read_bytes()
        described = json.loads(content)
        return (
            str(described["kind"]),
            hashlib.sha256(content).hexdigest(),
            dict(described.get("facts") or {}),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _epochs(folder: Path, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted((folder / "epochs").glob("epoch_*/artifact.json")):
        number = int(path.parent.name.removeprefix("epoch_"))
        found[hashlib.sha256(path.read_bytes()).hexdigest()] = f"{name}, epoch {number}"
    return found


def _inputs(given: Any) -> tuple[Input, ...]:
    rows: Sequence[Any] = given if isinstance(given, list) else ()
    return tuple(
        Input(*(str(row.get(key, "")) for key in ("role", "path", "kind", "sha256")))
        for row in rows
        if isinstance(row, dict)
    )


def _is_held(folder: Path) -> bool:
    """Whether a process works in the run; the lock is taken for a moment, since the system lets go of a dead one's."""
    place = folder / ".lock"
    if not place.exists():
        return False
    lock = FileLock(place, blocking=False)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _is_ours(program: str) -> bool:
    path = Path(program)
    return path.name == "alignloop" or path.parts[-2:] == ("alignloop", "__main__.py")


def _moment(text: str) -> float | None:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
