"""What the answers of all processes come to: the JSON, and the table that a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.catalogue import OURS
from benchmarks.job import Precision
from benchmarks.measuring import Measured, fastest, ratios, spread


def report(
    found: Mapping[tuple[str, Precision], Sequence[Measured]],
    flops: float,
    flops_of_peers: float,
) -> dict[str, Any]:
    """Best against best, then everyone in every precision; `peer` is the fastest of them."""

    def described(name: str, precision: Precision, rows: Sequence[Measured]) -> dict[str, Any]:
        rates = spread([row["rate"] for row in rows])
        needed = flops if name == OURS else flops_of_peers
        share = spread([needed * row["rate"] / row["gemm"] for row in rows])
        return {
            "precision": precision,
            "rate": rates,
            "flops": needed,
            "share_of_gemm": share["median"],
            "gemm_flops_per_second": spread([row["gemm"] for row in rows]),
            "rss_mib": max(row["rss_mib"] for row in rows),
            "config": rows[-1]["config"],
            "versions": rows[-1]["versions"],
        }

    precision, rows = fastest(found, OURS)
    ours = described(OURS, precision, rows)
    peers: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _ in found if name != OURS):
        their_precision, their_rows = fastest(found, name)
        peers[name] = described(name, their_precision, their_rows) | {
            "ratio": ratios(rows, their_rows),
            "equal_dtype": {
                p: {
                    "ours": spread([row["rate"] for row in found[OURS, p]]),
                    "peer": spread([row["rate"] for row in found[name, p]]),
                    "ratio": ratios(found[OURS, p], found[name, p]),
                }
                for side, p in found
                if side == name
            },
        }
    first = max(peers, key=lambda name: peers[name]["rate"]["median"], default=None)
    peer = peers[first] if first else None
    return {
        "ours": ours["rate"],
        "peer": peer and peer["rate"],
        "ratio": peer and peer["ratio"],
        "flops": flops,
        "share_of_gemm": ours["share_of_gemm"],
        "rss_ours": ours["rss_mib"],
        "rss_peer": peer and peer["rss_mib"],
        "dtype_ours": precision,
        "peer_name": first,
        "ours_by_dtype": {
            p: described(OURS, p, found[OURS, p]) for side, p in found if side == OURS
        },
        "peers": peers,
    }


def table(result: Mapping[str, Any]) -> str:
    """What a person reads: one line per side and precision, and the ratios."""
    lines = [f"{result['benchmark']}: {result['title']}, in {result['unit']}"]
    lines.append(
        f"{'':28} {'dtype':9} {'min':>9} {'median':>9} {'max':>9} {'of GEMM':>8} {'MiB':>6}"
    )

    def line(name: str, side: Mapping[str, Any]) -> str:
        rate = side["rate"]
        numbers = " ".join(f"{rate[key]:9.4g}" for key in ("min", "median", "max"))
        share = f"{100 * side['share_of_gemm']:6.1f} %"
        return f"{name:28} {side['precision']:9} {numbers} {share} {side['rss_mib']:6}"

    lines += [line(OURS, side) for side in result["ours_by_dtype"].values()]
    for name, peer in result["peers"].items():
        lines.append(line(name, peer))
        ratio = peer["ratio"]
        lines.append(
            f"  ours / {name}: {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}), "
            f"memory {result['rss_ours'] / peer['rss_mib']:.2f}"
        )
        for precision, equal in peer["equal_dtype"].items():
            lines.append(f"    both in {precision}: {equal['ratio']['median']:.2f}")
    return "\n".join(lines)
