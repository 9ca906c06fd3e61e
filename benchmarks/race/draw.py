"""Curves against seconds of training: one picture that needs nothing else, in the looks of the demo's report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from alignloop.workflow.report import sheet
from alignloop.workflow.report.plots import LOOKS, Look
from alignloop.workflow.report.svg import MUTED, PAPER, WIDTH, drawing, inline
from benchmarks.job import Precision
from benchmarks.race.plan import PEER, Side

PANELS = {
    "score": "reward model's score",
    "gold": "gold utility",
    "kl": "KL to the start, nats per answer",
}
LOOK: Mapping[Side, Look] = {"ours": LOOKS["ppo_ptx"], "peer": LOOKS["ppo"]}
NAMES: Mapping[Side, str] = {"ours": "alignloop", "peer": PEER}
HEIGHT, GAP = 236.0, 18.0


def draw(
    path: Path, results: Sequence[Mapping[str, Any]], precisions: Mapping[Side, Precision]
) -> None:
    """Write the curves of every seed, each side in the precision that is named, as an SVG. It repeats byte for byte."""
    lines = [r for r in results if r["training"]["precision"] == precisions[r["training"]["side"]]]
    panels = [_panel(name, title, lines) for name, title in PANELS.items()]
    width = len(panels) * WIDTH + (len(panels) + 1) * GAP
    placed = [
        panel.replace(
            "<svg ",
            f'<svg x="{GAP + n * (WIDTH + GAP):g}" y="{GAP:g}" width="{WIDTH:g}" height="{HEIGHT:g}" ',
            1,
        )
        for n, panel in enumerate(panels)
    ]
    style = (Path(sheet.__file__).parent / "style.css").read_text(encoding="utf-8")
    colours = "".join(
        re.findall(r"^:root \{.*?^\}|^@media \(prefers-color.*?^\}", style, re.M | re.S)
    )
    rules = f"{colours} svg {{ color: var(--ink); }} text {{ font-family: var(--sans); }}"
    box = f"0 0 {width:g} {HEIGHT + 2 * GAP:g}"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}"><style>{rules}</style>'
        '<rect width="100%" height="100%" fill="var(--card)"/>' + "".join(placed) + "</svg>\n",
        encoding="utf-8",
    )


def _panel(measure: str, title: str, results: Sequence[Mapping[str, Any]]) -> str:
    """One measure over seconds, a line per seed and side."""
    left, right, top, bottom = 44.0, 12.0, 44.0, 38.0
    named: set[Side] = set()
    read: list[str] = []
    with drawing(f"learning-{measure}", HEIGHT) as figure:
        size = (1.0 - (left + right) / WIDTH, 1.0 - (top + bottom) / HEIGHT)
        axes = figure.add_axes((left / WIDTH, bottom / HEIGHT, *size))
        axes.grid(axis="y")
        for result in results:
            side: Side = result["training"]["side"]
            xs = [point["seconds"] for point in result["points"]]
            ys = [point[measure] for point in result["points"]]
            look = LOOK[side]
            axes.plot(
                xs,
                ys,
                color=look.colour,
                linestyle=look.line,
                linewidth=1.6,
                marker=look.marker,
                markersize=5.0,
                markeredgecolor=PAPER,
                markevery=[len(xs) - 1],
                label=None if side in named else NAMES[side],
                clip_on=False,
            )
            named.add(side)
            read.append(
                f"{NAMES[side]}, seed {result['training']['seed']}: {ys[0]:.2f} to {ys[-1]:.2f} in {xs[-1]:.0f} s"
            )
        axes.margins(x=0.02, y=0.08)
        axes.set_xlabel("seconds of training", loc="right")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        axes.text(0.0, 1.14, title, transform=axes.transAxes, color=MUTED)
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.01), borderaxespad=0.0, ncols=2)
        return str(inline(figure, f"learning-{measure}", f"{title}. {'; '.join(read)}."))
