"""Us and a named peer in turn, on the same weights, rows and threads: one table, and the numbers as JSON.

    python benchmarks/run.py reward --json reward.json

docs/performance.md says what is measured, how FLOPs are counted, and what to watch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # so that `benchmarks` is a package

from benchmarks import environments, measuring
from benchmarks.catalogue import BENCHMARKS, Benchmark, Setting
from benchmarks.job import PRECISIONS, Job, Precision, Shape
from benchmarks.measuring import Measured
from benchmarks.report import report, table

DTYPES: Mapping[str, Sequence[Precision]] = {
    "fp32": ("float32",),
    "bf16": ("bfloat16",),
    "best": PRECISIONS,
}
WORK_FLAGS = {
    "batch": "prompts, episodes or rows of an update",
    "prompt": "tokens of a prompt",
    "response": "tokens of a response, its end included",
    "completions": "K, completions of a ranking",
    "minibatches": "of a PPO iteration",
    "epochs": "of PPO over an iteration",
    "length": "tokens of a row",
}


def parser() -> argparse.ArgumentParser:
    """The command line; a flag that a benchmark does not have is refused."""
    parsed = argparse.ArgumentParser(
        prog="benchmarks/run.py", description=(__doc__ or "").splitlines()[0]
    )
    names = "; ".join(f"{name}: {b.title}" for name, b in BENCHMARKS.items())
    parsed.add_argument("name", choices=BENCHMARKS, metavar="NAME", help=names)
    parsed.add_argument("--json", type=Path, help="write the result there")
    parsed.add_argument("--dtype", choices=DTYPES, default="best", help="of both sides")
    parsed.add_argument("--threads", type=int, default=2, help="of both sides")
    parsed.add_argument("--repeats", type=int, default=3, help="how often each side is run")
    parsed.add_argument("--steps", type=int, help="timed steps of a run")
    parsed.add_argument("--skip", type=int, help="steps of warm-up, left out on both sides")
    parsed.add_argument("--trial-steps", type=int, default=1, help="timed steps per setting tried")
    parsed.add_argument("--setting", type=json.loads, help="of the peer, as JSON: none is tried")
    parsed.add_argument("--our-setting", type=json.loads, help="the same for our side")
    parsed.add_argument("--peer", help="one of the peers, by a part of its name")
    parsed.add_argument("--ours-only", action="store_true", help="leave the peer out")
    parsed.add_argument("--venvs", type=Path, default=environments.FOLDER, help="of the peers")
    shape = parsed.add_argument_group("size of the model")
    shape.add_argument("--arch", choices=("llama", "gpt2", "qwen3"), default="llama")
    for one in fields(Shape):
        if one.name != "arch":
            shape.add_argument(f"--{one.name}", type=int)
    work = parsed.add_argument_group("size of the work; NAME decides which there are")
    for name, meaning in WORK_FLAGS.items():
        work.add_argument(f"--{name.replace('_', '-')}", type=int, help=meaning)
    return parsed


def shape_of(given: argparse.Namespace) -> Shape:
    """The model that was asked for; GPT-2's MLP is four times as wide as the model where nothing else is said."""
    sizes = {one.name: getattr(given, one.name) for one in fields(Shape)}
    if given.arch == "gpt2" and given.intermediate is None:
        sizes["intermediate"] = 4 * (given.hidden or Shape().hidden)
    return Shape(**{name: value for name, value in sizes.items() if value is not None})


def work_of(given: argparse.Namespace, benchmark: Benchmark) -> dict[str, int]:
    """The benchmark's sizes with those that were asked for.

    Raises:
        SystemExit: a size that it does not have.
    """
    asked = {name: getattr(given, name) for name in WORK_FLAGS if getattr(given, name) is not None}
    if unknown := sorted(asked.keys() - benchmark.work.keys()):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in unknown)
        known = ", ".join(f"--{name.replace('_', '-')}" for name in benchmark.work)
        raise SystemExit(f"{given.name} has no {flags}; it has {known}")
    return {**benchmark.work, **asked}


def say(text: str) -> None:
    """Progress, beside the table."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Prepare, try everyone's settings, alternate, report."""
    given = parser().parse_args()
    benchmark = BENCHMARKS[given.name]
    shape, work = shape_of(given), work_of(given, benchmark)
    steps, skip = given.steps or benchmark.steps, given.skip or benchmark.skip
    peers = [] if given.ours_only else [p for p in benchmark.peers if (given.peer or "") in p.name]
    if not peers and not given.ours_only:
        known = ", ".join(peer.name for peer in benchmark.peers)
        raise SystemExit(f"no peer of {given.name} has '{given.peer}' in its name: {known}")
    precisions = DTYPES[given.dtype]
    load = os.getloadavg()

    with tempfile.TemporaryDirectory() as folder:
        job = Job(given.name, folder, shape, work, threads=given.threads, skip=skip, steps=steps)
        _prepare(job, benchmark.spare)
        rows = job.rows()
        settings: dict[str, Mapping[Precision, Setting]] = {}
        tried: list[Measured] = []
        sides = [benchmark.ours, *peers]
        for side in sides:
            fixed = given.our_setting if side is benchmark.ours else given.setting
            if fixed is not None:
                settings[side.name] = dict.fromkeys(precisions, fixed)
                continue
            settings[side.name], found = measuring.best_settings(
                side, job, precisions, given.venvs, given.trial_steps, say
            )
            tried += found
        measured = measuring.alternate(
            sides, job, settings, precisions, given.repeats, given.venvs, say
        )
    flops = benchmark.flops(shape, work, rows)
    result = {
        "benchmark": given.name,
        "title": benchmark.title,
        "unit": benchmark.unit,
        **report(measured, flops, (benchmark.flops_of_peers or benchmark.flops)(shape, work, rows)),
        "settings": {name: dict(by) for name, by in settings.items()},
        "settings_tried": tried,
        "job": {key: value for key, value in asdict(job).items() if key != "inputs"},
        "machine": measuring.measured_on(load),
    }
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))


def _prepare(job: Job, spare: int) -> None:
    """Write the inputs, in a process of its own: this one stays small, as a child's peak memory begins with it."""
    count = job.work["batch"] * (job.skip + job.steps + spare)
    values = {
        "name": job.name,
        "folder": job.inputs,
        "shape": asdict(job.shape),
        "work": dict(job.work),
        "rows": count,
    }
    say(f"writing {count} rows and the weights")
    done = measuring.run(Path(sys.executable), "benchmarks.models", json.dumps(values), job.threads)
    if "error" in done:
        raise SystemExit(f"the inputs could not be written: {done['error']}")


if __name__ == "__main__":
    main()
