"""Fifty simulated people on the labeling app, served as users serve it, over SQLite and over PostgreSQL.

Three loads: a second of thought per task; none; and a second of thought while the server is killed and started again.
After each the store is compared with what the server had acknowledged, ranking by ranking. Targets: nothing lost or
doubled, no 5xx, the 99th percentile of submitting below 300 ms with thought and below 1 s without (stretch: 300 ms).

    python benchmarks/labeling_load.py --json load.json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # so that `benchmarks` is a package

from benchmarks.labeling.check import check
from benchmarks.labeling.lab import make_lab
from benchmarks.labeling.people import Log, work
from benchmarks.labeling.server import killed_again_and_again, serving
from tests import postgres

LOADS = {"a second of thought": (1.0, 0), "no thought": (0.0, 0), "killed ten times": (1.0, 10)}
TASKS_PER_PERSON = {1.0: 1.0, 0.0: 4.0}
"""Tasks that a person can do in a second, at most."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--load", choices=LOADS, action="append", help="all without it")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--json", type=Path, help="write the results there")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for database in given.database or ["sqlite", "postgresql"]:
        for name in given.load or LOADS:
            rows.append(_measured(database, name, given.people, given.seconds))
            print(_line(rows[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps({"load_average": os.getloadavg(), "rows": rows}, indent=2))
    if not all(row["clean"] for row in rows):
        raise SystemExit(
            "something was lost, doubled, or answered with 5xx, or a kill did not happen"
        )


def _measured(database: str, name: str, people: int, seconds: float) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="ld-"))
    try:
        if database == "sqlite":
            return _one(folder / "project", None, database, name, people, seconds)
        if postgres.programs() is None:
            raise SystemExit(postgres.NOT_INSTALLED)
        cluster = folder / "pg"
        cluster.mkdir()
        with postgres.server(cluster, is_durable=True) as url:
            return _one(folder / "project", url, database, name, people, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _one(
    folder: Path, url: str | None, database: str, name: str, people: int, seconds: float
) -> dict[str, Any]:
    thought, kills = LOADS[name]
    tasks = int(seconds * TASKS_PER_PERSON[thought]) + 10
    lab = make_lab(folder, people_count=people, tasks=tasks, database=url)
    with serving(folder) as server:
        if kills:
            with killed_again_and_again(server, kills, seconds) as killed:
                log = work(lab, server.url, seconds=seconds, thought=thought, patient=True)
            happened = len(killed)
        else:
            log, happened = work(lab, server.url, seconds=seconds, thought=thought), 0
        memory = server.peak_memory_mib()
    verdict = check(lab, log)
    return {
        "database": database,
        "load": name,
        "people": people,
        "seconds": seconds,
        "kills": happened,
        "acknowledged": len(log.acknowledged),
        "submit_ms": _percentiles(log.submit_seconds),
        "other_ms": _percentiles(log.other_seconds),
        "slowed": log.slowed,
        "server_errors": log.server_errors[:10],
        "surprises": log.surprises[:10],
        "server_memory_mib": round(memory),
        **asdict(verdict),
        "clean": verdict.is_clean and _is_clean(log) and happened == kills,
    }


def _is_clean(log: Log) -> bool:
    return not log.server_errors and not log.surprises


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        name: round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)
        for name, share in at.items()
    }


def _line(row: dict[str, Any]) -> str:
    submit = row["submit_ms"]
    return (
        f"{row['database']:<11} {row['load']:<20} {row['acknowledged']:>6} submissions, "
        f"p50 {submit['p50']:.0f}, p99 {submit['p99']:.0f}, most {submit['max']:.0f} ms; "
        f"{row['lost']} lost, {row['doubled']} doubled, {len(row['server_errors'])} of 5xx; "
        f"{row['kills']} kills; {row['server_memory_mib']} MiB"
    )


if __name__ == "__main__":
    main()
