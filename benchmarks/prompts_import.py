"""`alignloop prompts import`, from ten thousand prompts to a million: seconds, peak memory, and how they grow.

The whole command is timed, from its start to the report on disk: reading JSON Lines, curation with detection of the
language, the database (SQLite), the files for people. Then `prompts report` once more, a second import of the same
file, and `prompts export`. The prompts are those of `prompt_curation`, written to a file beforehand, which the system
still has in memory; peak memory is that of the process and of all that it starts, together.

    python -m benchmarks.prompts_import --rows 10000 30000 100000 --json import.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from alignloop.workflow.prompts.rows import row_of
from benchmarks import measuring
from benchmarks.prompt_curation import SIZES, Prompts, draw, exponent, resident


def write(path: Path, rows: int) -> None:
    """A file of so many made-up prompts."""
    with path.open("w", encoding="utf-8") as file:
        for candidate in Prompts(rows):
            file.write(json.dumps(row_of(candidate), ensure_ascii=False) + "\n")


def typed(*words: str | Path) -> dict[str, float]:
    """Run one command; seconds by the clock and of all cores, and the largest sum of its memory, in MiB."""
    command = [sys.executable, "-P", "-m", "alignloop", "prompts", *map(str, words)]
    began, before = time.perf_counter(), _cpu_of_children()
    process = subprocess.Popen(
        command, cwd=measuring.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.1)
    seconds = time.perf_counter() - began
    said = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {said}")
    return {
        "seconds": seconds,
        "cpu_seconds": _cpu_of_children() - before,
        "peak_mib": peak / 2**20,
    }


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(rows: int, folder: Path, workers: int | None) -> dict[str, Any]:
    """All commands over one file; what was measured of the import stands at the top."""
    file, lab = folder / "prompts.jsonl", folder / "lab"
    write(file, rows)
    load = os.getloadavg()[0]
    extra = ["--workers", str(workers)] if workers else []
    of_import = typed("import", file, "--project", lab, *extra)
    database = (lab / "alignloop.db").stat().st_size
    others = {
        "report": typed("report", "--project", lab),
        "again": typed("import", file, "--project", lab),
        "export": typed("export", "--project", lab, "--kind", "prompts", "--run", folder / "run"),
    }
    report = json.loads((lab / "prompts" / "report.json").read_text(encoding="utf-8"))
    return {
        "rows": rows,
        **of_import,
        "rows_per_second": rows / of_import["seconds"],
        "load_before": load,
        "others": others,
        "file_mib": file.stat().st_size / 2**20,
        "database_mib": database / 2**20,
        "kept": report["kept"],
    }


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument(
        "--workers", type=int, help="processes; as many as there are cores without it"
    )
    parser.add_argument("--scratch", type=Path, help="folder on the disk to measure on")
    parser.add_argument("--json", type=Path, help="write the result there")
    parser.add_argument(
        "--picture", type=Path, help="draw it there, as docs/pictures/prompts-import.svg"
    )
    given = parser.parse_args()
    load = os.getloadavg()
    found: list[dict[str, Any]] = []
    heads = ("prompts", "seconds", "cpu s", "prompts/s", "peak MiB", "load", "report s", "again s")
    print("".join(f"{head:>11}" for head in (*heads, "export s")))
    for rows in given.rows:
        with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
            one = measured(rows, Path(folder), given.workers)
        found.append(one)
        print(
            f"{rows:>11,}{one['seconds']:>11.1f}{one['cpu_seconds']:>11.1f}{one['rows_per_second']:>11,.0f}"
            f"{one['peak_mib']:>11.0f}{one['load_before']:>11.1f}"
            + "".join(f"{of['seconds']:>11.1f}" for of in one["others"].values()),
            flush=True,
        )
    result: dict[str, Any] = {"machine": measuring.measured_on(load), "sizes": found}
    if len(found) > 1:
        for name in ("seconds", "cpu_seconds"):
            result[f"growth_of_{name}"] = exponent(given.rows, [one[name] for one in found])
        print(
            f"seconds grow as rows to the {result['growth_of_seconds']:.2f}, those of all cores to the "
            f"{result['growth_of_cpu_seconds']:.2f}"
        )
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if given.picture and len(found) > 1:
        draw(given.picture, found)


if __name__ == "__main__":
    main()
