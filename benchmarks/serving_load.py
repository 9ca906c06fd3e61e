"""Many clients that stream answers from one policy at once, against the same prompts one at a time.

Both are served by `alignloop serve` as users serve it, in a process of its own. Targets: no error, no broken character,
and at least 3 times the tokens per second.

    python -m benchmarks.serving_load --json serving.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # so that `benchmarks` is a package

from alignloop.resources import asset
from benchmarks.serving.clients import Log, load
from benchmarks.serving.server import serving

TARGET = 3.0
PROMPTS = [
    *(
        f'Write the beginning of a story called "The {who} and the {what}". Use exactly {n} sentences.'
        for who, what, n in (
            ("Fox", "River", "two"),
            ("King", "Mill", "three"),
            ("Hen", "Moon", "two"),
            ("Boy", "Wolf", "four"),
        )
    ),
    *(
        f"What happens next?\n\n{text}"
        for text in (
            "Once there was a fox. He lived by the river.",
            "The old king had three daughters. The youngest of them never spoke a word, and nobody knew why.",
            "It rained for seven days.",
        )
    ),
    "Once upon a time",
]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="a policy; the bundled base without it")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--json", type=Path, help="write the results there")
    given = parser.parse_args()
    model = given.model or Path(str(asset("base")))
    rows: list[dict[str, Any]] = []
    with serving(f"policy={model}", "--single-turn", "--max-rows", str(given.clients)) as server:
        # What runs once only, for the first answer, is nobody's.
        load(server.port, "policy", PROMPTS, clients=2, seconds=2, max_tokens=16)
        for clients in (1, given.clients):
            log = load(
                server.port,
                "policy",
                PROMPTS,
                clients=clients,
                seconds=given.seconds,
                max_tokens=given.max_tokens,
            )
            rows.append(_row(clients, log))
        memory = server.peak_memory_mib()
    ratio = rows[1]["tokens_per_second"] / max(rows[0]["tokens_per_second"], 1e-9)
    print("clients  tokens/s  answers  first token p50  p95 (ms)  errors  broken")
    for row in rows:
        print(
            f"{row['clients']:>7}  {row['tokens_per_second']:>8.0f}  {row['answers']:>7}  "
            f"{row['first_token_ms']['p50']:>15.0f}  {row['first_token_ms']['p95']:>8.0f}  "
            f"{len(row['errors']):>6}  {row['broken']:>6}"
        )
    print(f"{ratio:.2f} times as many tokens per second (target {TARGET:.0f}); {memory:.0f} MiB")
    if given.json:
        found = {
            "load_average": os.getloadavg(),
            "cores": os.cpu_count(),
            "seconds": given.seconds,
            "max_tokens": given.max_tokens,
            "ratio": ratio,
            "target": TARGET,
            "server_memory_mib": round(memory),
            "rows": rows,
        }
        given.json.write_text(json.dumps(found, indent=2))
    if any(row["errors"] or row["broken"] for row in rows):
        raise SystemExit("there were errors, or broken characters")


def _row(clients: int, log: Log) -> dict[str, Any]:
    ordered = sorted(log.first_seconds) or [0.0]
    at = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    return {
        "clients": clients,
        "tokens_per_second": log.tokens / log.seconds,
        "first_token_ms": {
            name: round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)
            for name, share in at.items()
        },
        **{key: value for key, value in asdict(log).items() if key != "first_seconds"},
    }


if __name__ == "__main__":
    main()
