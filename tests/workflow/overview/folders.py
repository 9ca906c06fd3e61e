"""Run folders made by hand, as a run leaves them, to be looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROGRAM = "/somewhere/alignloop/__main__.py"


def make_run(
    folder: Path,
    stage: str,
    *,
    status: str = "finished",
    kind: str = "policy",
    parents: Mapping[str, tuple[str, str]] | None = None,
    facts: Mapping[str, Any] | None = None,
    argv: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    seconds: Sequence[float] = (),
    report: Mapping[str, Any] | None = None,
    started: str = "2026-01-02T03:04:05Z",
    ended: str = "2026-01-02T03:05:05Z",
) -> str:
    """Make it; returns the hash of its artefact ('' where it has none).

    Args:
        parents: role -> (kind, hash).
    """
    inputs = [
        {"role": role, "path": f"somewhere/{role}/artifact", "kind": of, "sha256": sha256}
        for role, (of, sha256) in (parents or {}).items()
    ]
    manifest = {
        "stage": stage,
        "status": status,
        "argv": [PROGRAM, *argv],
        "seed": 1,
        "inputs": inputs,
        "started": started,
        "ended": ended if status == "finished" else None,
    }
    write(folder / "manifest.json", manifest)
    write(folder / "config.json", config or {"seed": 1})
    for name, rows in (
        ("metrics", metrics),
        ("timings", [{"step": at, "seconds": one} for at, one in enumerate(seconds, start=1)]),
    ):
        if rows:
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    if status != "finished":
        return ""
    if report is not None:
        write(folder / "artifact" / "report.json", report)
    return make_artifact(folder / "artifact", kind, inputs, facts or {})


def make_artifact(
    folder: Path, kind: str, inputs: Sequence[Mapping[str, str]], facts: Mapping[str, Any]
) -> str:
    parents = [{key: one[key] for key in ("role", "kind", "sha256")} for one in inputs]
    # The name stands for the files, so that no two artefacts have one hash.
    described = {"kind": kind, "schema": 1, "files": {str(folder): ""}, "parents": parents}
    write(folder / "artifact.json", {**described, "facts": facts})
    return hashlib.sha256((folder / "artifact.json").read_bytes()).hexdigest()


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
