"""Peak memory of PPO with four whole models, and with four roles on one set of weights (`adapters.kind = "lora"`).

Each runs in a process of its own, from the same random weights, beside a process that does no more than load the
libraries. One size of model after the other.

    python benchmarks/roles_memory.py --json roles.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # so that `benchmarks` is a package

from benchmarks import measuring
from benchmarks.job import Shape

SHAPES = {
    "25 M": Shape(hidden=512, layers=6, heads=8, intermediate=1376, vocabulary=8192),
    "110 M": Shape(hidden=768, layers=12, heads=12, intermediate=2048, vocabulary=32000),
}


def peak(kind: str, folder: str, shape: Shape, threads: int) -> int:
    """MiB of one process."""
    told = {"kind": kind, "folder": folder, "shape": asdict(shape), "threads": threads}
    script = "benchmarks.ours.roles"
    done = measuring.run(Path(sys.executable), script, json.dumps(told), threads)
    if "error" in done:
        raise SystemExit(f"{kind}: {done['error']}")
    return done["rss_mib"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SHAPES, action="append", help="all without it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the result there")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in given.size or SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            told = (folder, SHAPES[name], given.threads)
            peak("inputs", *told)
            nothing, whole, lora = (peak(kind, *told) for kind in ("nothing", "whole", "lora"))
        row = {"model": name, "libraries": nothing, "four_models": whole, "lora": lora}
        rows.append(row | {"ratio": (lora - nothing) / (whole - nothing)})
        print(
            f"{name}: four models {whole} MiB, LoRA roles {lora} MiB, libraries alone {nothing} MiB: "
            f"{rows[-1]['ratio']:.2f} of what is beyond the libraries",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
