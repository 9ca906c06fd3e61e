"""What the trainings come to: which trial won, when one side reached what the other ended with. Pure arithmetic."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.job import Precision
from benchmarks.race.plan import SIDES, Shared, Side

Point = Mapping[str, Any]
"""One measured policy: `seconds` of training so far, `score`, `gold`, `kl`, `length`, `eos_rate`, `objective`."""
Result = Mapping[str, Any]
"""One finished training: what it was told and its points, from the start on."""

MEASURES = ("score", "objective")
"""What is raced for: the reward model's score, and what both sides are told to raise."""


def objective(point: Point, shared: Shared) -> float:
    """Mean of what PPO is told to raise: score, less the penalty for no end, less the KL penalty."""
    missing = shared.missing_eos_penalty * (1 - point["eos_rate"])
    return point["score"] - missing - shared.kl_coef * point["kl"]


def time_to_reach(points: Sequence[Point], measure: str, value: float) -> float | None:
    """Seconds until the measure is first at `value`, on straight lines between points; None if it never is."""
    before: Point | None = None
    for point in points:
        if point[measure] >= value:
            if before is None:
                return point["seconds"]
            share = (value - before[measure]) / (point[measure] - before[measure])
            return before["seconds"] + share * (point["seconds"] - before["seconds"])
        before = point
    return None


def seconds_per_iteration(seconds: Sequence[float]) -> float:
    """The median without the first iteration, which warms up."""
    return statistics.median(seconds[1:] or seconds)


def quickest(results: Sequence[Result]) -> Result:
    """The speed trial with the shortest iterations."""
    return min(results, key=lambda result: seconds_per_iteration(result["seconds"]))


def best_trial(results: Sequence[Result]) -> Result:
    """The trial that ended with the highest objective on validation prompts."""
    return max(results, key=lambda result: result["points"][-1]["objective"])


def better_precision(results: Sequence[Result], side: Side) -> Precision:
    """In which a side's trainings take less time, by the median over seeds."""
    taken: dict[Precision, list[float]] = {}
    for result in results:
        if result["training"]["side"] == side:
            ended = result["points"][-1]["seconds"]
            taken.setdefault(result["training"]["precision"], []).append(ended)
    return min(taken, key=lambda precision: statistics.median(taken[precision]))


def compare(
    results: Sequence[Result], precisions: Mapping[Side, Precision], measure: str
) -> dict[str, Any]:
    """Seed by seed: the peer's last value and time, when ours was there, and the share; and the median of the shares.

    There is no share where ours never was there, nor where the peer ended no higher than it began: then there was
    nothing to reach. Such a seed counts as above every number, so the median is None where most seeds are like that.
    """
    by_seed: list[dict[str, Any]] = []
    runs = {
        (r["training"]["side"], r["training"]["seed"]): r["points"]
        for r in results
        if r["training"]["precision"] == precisions[r["training"]["side"]]
    }
    for seed in sorted(seed for side, seed in runs if side == "peer"):
        ours, theirs = runs["ours", seed], runs["peer", seed]
        ended = theirs[-1]
        rose = ended[measure] > theirs[0][measure]
        reached = time_to_reach(ours, measure, ended[measure]) if rose else None
        by_seed.append(
            {
                "seed": seed,
                "start": theirs[0][measure],
                "peer_final": ended[measure],
                "peer_seconds": ended["seconds"],
                "ours_final": ours[-1][measure],
                "ours_seconds": ours[-1]["seconds"],
                "reached_after": reached,
                "share": None if reached is None else reached / ended["seconds"],
            }
        )
    shares = [math.inf if row["share"] is None else row["share"] for row in by_seed]
    median = statistics.median(shares)
    return {"median": median if math.isfinite(median) else None, "by_seed": by_seed}


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Both sides in each precision, and each in its better one (`best`), for every measure; empty without a peer."""
    there = {side for side in SIDES if any(r["training"]["side"] == side for r in results)}
    if there != set(SIDES):
        return {}
    pairs: dict[str, dict[Side, Precision]] = {}
    for precision in dict.fromkeys(r["training"]["precision"] for r in results):
        pairs[precision] = dict.fromkeys(SIDES, precision)
    pairs["best"] = {side: better_precision(results, side) for side in SIDES}
    return {
        name: {
            "precisions": pair,
            **{measure: compare(results, pair, measure) for measure in MEASURES},
        }
        for name, pair in pairs.items()
    }


def table(result: Mapping[str, Any]) -> str:
    """What a person reads: every training's last point, then the shares of the peer's time."""
    lines = [
        f"{'':6} {'dtype':9} {'seed':>4} {'seconds':>8} {'score':>7} {'objective':>9} {'gold':>6} "
        f"{'KL':>6} {'tokens':>6} {'ended':>6}"
    ]
    for run in result["runs"]:
        told, last = run["training"], run["points"][-1]
        lines.append(
            f"{told['side']:6} {told['precision']:9} {told['seed']:4} {last['seconds']:8.1f} "
            f"{last['score']:7.3f} {last['objective']:9.3f} {last['gold']:6.3f} {last['kl']:6.2f} "
            f"{last['length']:6.1f} {100 * last['eos_rate']:4.0f} %"
        )
    for name, pair in result["summary"].items():
        told = ", ".join(f"{side} in {precision}" for side, precision in pair["precisions"].items())
        lines.append(f"{name} ({told}): ours was where the peer ended after")
        for measure in MEASURES:
            found = pair[measure]
            shares = ", ".join(_percent(row["share"]) for row in found["by_seed"])
            lines.append(
                f"  {measure:9} {_percent(found['median'])} of its time (by seed: {shares})"
            )
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.0f} %"
