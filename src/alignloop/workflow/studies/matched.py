"""Methods compared at matched KL: curves of win rate over KL, interpolated, averaged over seeds, and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Points = Sequence[Mapping[str, Any]]
"""What was measured of one method and seed: `kl` and the measures, one row per setting."""

KL_GRID = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0)
"""Where the methods are compared, in nats per answer."""


def value_at(points: Points, kl: float, measure: str) -> float | None:
    """The measure at that KL: linear in the square root of the KL between neighbouring points; None beyond the last.

    Rewards rise about linearly in that root near the reference (Gao et al. 2022). The points are sorted by their KL;
    an estimate below 0, which noise may bring, counts as 0.
    """
    distances = np.sqrt([max(float(point["kl"]), 0.0) for point in points])
    order = np.argsort(distances, kind="stable")
    if kl > distances[order[-1]] ** 2 or kl < distances[order[0]] ** 2:
        return None
    values = np.array([float(point[measure]) for point in points])
    return float(np.interp(np.sqrt(kl), distances[order], values[order]))


def matched(
    by_method: Mapping[str, Sequence[Points]],
    measure: str,
    grid: Sequence[float] = KL_GRID,
) -> dict[str, list[dict[str, Any]]]:
    """Per method and KL of the grid, where every seed reaches so far: values by seed, their mean, lowest and highest.

    Args:
        by_method: method -> a curve per seed, in the same order of seeds for every method.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for method, curves in by_method.items():
        found[method] = []
        for kl in grid:
            values = [value_at(points, kl, measure) for points in curves]
            reached = [value for value in values if value is not None]
            if len(reached) == len(values):
                found[method].append({"kl": kl, "by_seed": reached, **_spread(reached)})
    return found


def differences(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], method: str, other: str
) -> list[dict[str, Any]]:
    """One method less another, seed by seed, at every KL that both reach."""
    theirs = {row["kl"]: row["by_seed"] for row in rows[other]}
    found: list[dict[str, Any]] = []
    for row in rows[method]:
        if row["kl"] in theirs:
            pairs = zip(row["by_seed"], theirs[row["kl"]], strict=True)
            by_seed = [a - b for a, b in pairs]
            found.append({"kl": row["kl"], "by_seed": by_seed, **_spread(by_seed)})
    return found


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": sum(values) / len(values), "low": min(values), "high": max(values)}


_LOOKS = {
    "dpo": ("#1b6ca8", "o", "-"),
    "ppo": ("#c4541d", "s", (0, (5, 2))),
    "ppo_ptx": ("#7a3e9d", "D", (0, (1.5, 1.5))),
    "best_of_n": ("#3d7d3a", "^", "-."),
}
"""Told apart by colour, marker and line, for those who see no colour."""


def draw(path: Path, by_method: Mapping[str, Sequence[Points]], measure: str, label: str) -> None:
    """The points of every seed, and a line per method: the mean over seeds as far as all of them reach."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "alignloop"})
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for method, curves in by_method.items():
            colour, marker, line = _LOOKS[method]
            points = [point for curve in curves for point in curve]
            axes.plot(
                [point["kl"] for point in points],
                [point[measure] for point in points],
                linestyle="none",
                marker=marker,
                markersize=4,
                color=colour,
                alpha=0.45,
            )
            reach = min(max(float(point["kl"]) for point in curve) for curve in curves)
            dense = [float(kl) for kl in np.linspace(0.0, np.sqrt(max(reach, 0.0)), 80) ** 2]
            mean = matched({method: curves}, measure, dense)[method]
            axes.plot(
                [row["kl"] for row in mean],
                [row["mean"] for row in mean],
                linestyle=line,
                color=colour,
                label=method.replace("_", " "),
            )
        axes.set_xlabel("KL to the reference, nats per answer")
        axes.set_ylabel(label)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
