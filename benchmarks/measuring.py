"""Processes in turn: ours, each peer, ours again; and what their answers come to."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import environments, machine
from benchmarks.catalogue import Setting, Side
from benchmarks.job import ANSWER, Job, Precision

ROOT = Path(__file__).resolve().parents[1]
MOST_SECONDS = 1800
"""What a process may take: a setting in which a side does not come to an end counts as failed."""

Measured = dict[str, Any]
"""A process's answer, or {"error": its last words}."""


def run(
    python: Path,
    script: str,
    argument: str,
    threads: int,
    most_seconds: int = MOST_SECONDS,
    allocator: Mapping[str, str] | None = None,
) -> Measured:
    """Run one script in a process of its own and read its answer; a side may fail in one of its settings.

    Args:
        allocator: environment variables that choose one; else every side gets that of our entry script.
    """
    environment = {
        **os.environ,
        **(environments.allocator() if allocator is None else allocator),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    try:
        done = subprocess.run(
            [str(python), "-m", script, argument],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=most_seconds,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {most_seconds} seconds"}
    answers = [line for line in done.stdout.splitlines() if line.startswith(ANSWER)]
    if done.returncode == 0 and answers:
        return json.loads(answers[-1].removeprefix(ANSWER))
    words = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return {"error": words[-1] if words else f"exit code {done.returncode}"}


def measured_on(load: Sequence[float]) -> dict[str, Any]:
    """The machine and the checkout that a result is of.

    Args:
        load: of the machine, before anything was started.
    """
    return {
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "preloaded": environments.preloaded(),
        "load_before": load,
        "commit": machine.commit(ROOT),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def run_side(side: Side, job: Job, venvs: Path) -> Measured:
    """One side in one setting."""
    python = Path(sys.executable)
    if side.environment is not None:
        python = environments.python_of(side.environment, venvs)
    allocator = {} if job.setting.get("allocator") == "glibc" else None
    return run(python, side.script, job.as_json(), job.threads, allocator=allocator)


def _whole(measured: Measured, script: str) -> Measured:
    if "error" in measured:
        raise SystemExit(f"{script} failed: {measured['error']}")
    return measured


def best_settings(
    side: Side,
    job: Job,
    precisions: Sequence[Precision],
    venvs: Path,
    steps: int,
    say: Callable[[str], None],
) -> tuple[dict[Precision, Setting], list[Measured]]:
    """A side's fastest setting in each precision, each tried once for so many steps; and what was tried."""
    chosen: dict[Precision, Setting] = {}
    tried: list[Measured] = []
    for precision in precisions:
        rates: list[tuple[float, int]] = []
        for number, setting in enumerate(side.settings):
            told = replace(job, precision=precision, setting=setting, steps=steps)
            if setting.get("compile"):  # it may compile again in the steps after the first
                told = replace(told, skip=max(job.skip + job.steps - steps, job.skip))
            measured = run_side(side, told, venvs)
            rate = measured.get("rate")
            tried.append(
                {
                    "side": side.name,
                    "precision": precision,
                    "setting": dict(setting),
                    "rate": rate,
                    "error": measured.get("error"),
                }
            )
            shown = f"{rate:.4g}" if rate else f"failed: {measured['error']}"
            say(f"{side.name} {precision} {json.dumps(dict(setting))}: {shown}")
            if rate:
                rates.append((rate, -number))
        if not rates:
            raise SystemExit(f"{side.name} failed in every setting; see the lines above")
        chosen[precision] = side.settings[-max(rates)[1]]
    return chosen, tried


def gemm_rates(job: Job, say: Callable[[str], None]) -> dict[str, float]:
    """FLOP/s of matrix products by precision, measured in a process of its own."""
    values = json.dumps({"shape": asdict(job.shape), "threads": job.threads, "rounds": 5})
    script = "benchmarks.machine"
    rates = _whole(run(Path(sys.executable), script, values, job.threads), script)["rates"]
    for precision, rate in rates.items():
        say(f"matrix products in {precision}: {rate['flops_per_second'] / 1e9:.0f} GFLOP/s")
    return {precision: rate["flops_per_second"] for precision, rate in rates.items()}


def alternate(
    sides: Sequence[Side],
    job: Job,
    settings: Mapping[str, Mapping[Precision, Setting]],
    precisions: Sequence[Precision],
    repeats: int,
    venvs: Path,
    say: Callable[[str], None],
) -> dict[tuple[str, Precision], list[Measured]]:
    """Everyone in every precision once, then again: what the machine does meanwhile falls on all sides alike.

    Every answer has the rate of matrix products as it was in that repeat: a shared machine's changes by the minute.
    """
    found: dict[tuple[str, Precision], list[Measured]] = {}
    for repeat in range(repeats):
        gemm = gemm_rates(job, say)
        for precision in precisions:
            for side in sides:
                told = replace(job, precision=precision, setting=settings[side.name][precision])
                measured = _whole(run_side(side, told, venvs), side.script)
                measured["gemm"] = gemm[precision]
                found.setdefault((side.name, precision), []).append(measured)
                say(f"{repeat + 1}/{repeats} {precision} {side.name}: {measured['rate']:.4g}")
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, median and largest."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratios(ours: Sequence[Measured], theirs: Sequence[Measured]) -> dict[str, float]:
    """Ours over theirs, repeat by repeat."""
    return spread([a["rate"] / b["rate"] for a, b in zip(ours, theirs, strict=True)])


def fastest(
    found: Mapping[tuple[str, Precision], Sequence[Measured]], name: str
) -> tuple[Precision, Sequence[Measured]]:
    """A side's better precision by its median, with all its repeats."""
    own = {precision: rows for (side, precision), rows in found.items() if side == name}
    best = max(own, key=lambda p: statistics.median(row["rate"] for row in own[p]))
    return best, own[best]
