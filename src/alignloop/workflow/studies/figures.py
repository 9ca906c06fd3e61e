"""Plots that studies share: effects with their intervals, and curves by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignloop.workflow.report.plots import (
    LOOKS,
    OTHER,
    Captioned,
    Row,
    Series,
    interval_plot,
    line_plot,
)
from alignloop.workflow.studies.claims import Judged

_SEED_LOOKS = (LOOKS["ppo_ptx"], LOOKS["ppo"], LOOKS["sft"], OTHER)


def effects_plot(name: str, judged: Judged) -> Captioned:
    """One claim's effect: every seed with the interval inside it, and all seeds with theirs; a line at 0."""
    rows = [
        Row(f"seed {one.seed}", {"mean": one.value, "low": one.low, "high": one.high, "n": one.n})
        for one in judged.effects
    ]
    if len(judged.effects) > 1:
        over = {"mean": judged.mean, "low": judged.low, "high": judged.high, "n": len(rows)}
        rows.append(Row("all seeds", over, LOOKS["ppo_ptx"]))
    units = judged.effects[0].units
    text = f"By seed with the interval over its {units}; last the interval over seeds."
    title = judged.claim.effect[:1].upper() + judged.claim.effect[1:]
    plot = interval_plot(name, rows, f"{title}.", in_percent=False)
    return Captioned(
        title, text if len(rows) > 1 else f"One seed: the interval over its {units}.", plot
    )


def curves_by_seed(
    name: str,
    title: str,
    text: str,
    xs: Sequence[float],
    by_seed: Mapping[int, Sequence[float]],
    x_label: str,
    *,
    in_percent: bool = False,
    is_geometric: bool = False,
) -> Captioned:
    """A line per seed, so that their spread is seen."""
    series = [
        Series(f"seed {seed}", xs, ys, _SEED_LOOKS[at % len(_SEED_LOOKS)], is_smoothed=False)
        for at, (seed, ys) in enumerate(by_seed.items())
    ]
    plot = line_plot(
        name,
        series,
        x_label,
        f"{title} by {x_label}.",
        in_percent=in_percent,
        is_geometric=is_geometric,
    )
    return Captioned(title, text, plot)
