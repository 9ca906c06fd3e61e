"""Win rates with whiskers and the line at 50 %, as an <svg> element; without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from alignloop.evaluation.page.words import Interval, percent, share

_WIDTH, _LEFT, _RIGHT = 760.0, 280.0, 70.0
_LINE, _TOP, _BOTTOM = 24.0, 8.0, 40.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LETTERS = 38


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the chart; a heading where there is no interval."""

    label: str
    interval: Interval | None = None
    is_simulated: bool = False
    """Drawn hollow."""


def win_rate_chart(rows: Sequence[Row], label: str) -> Markup:
    """Means with their intervals, one below the other, on a scale from 0 to 100 %.

    Args:
        label: what the picture shows, for whoever hears the page.
    """
    height = _TOP + _LINE * len(rows) + _BOTTOM
    bottom = height - _BOTTOM
    parts = [
        f'<line class="{"half" if tick == 0.5 else "grid"}" x1="{_x(tick):.1f}" x2="{_x(tick):.1f}" '
        f'y1="{_TOP:.1f}" y2="{bottom:.1f}"/>'
        f'<text class="tick" x="{_x(tick):.1f}" y="{bottom + 16:.1f}">{100 * tick:.0f}</text>'
        for tick in _TICKS
    ]
    parts.append(
        f'<text class="axis" x="{_x(1.0):.1f}" y="{height - 6:.1f}">per cent of prompts won, ties one half</text>'
    )
    for at, row in enumerate(rows):
        parts.append(_drawn(row, _TOP + (at + 0.5) * _LINE))
    read = "; ".join(f"{row.label}: {share(row.interval)}" for row in rows if row.interval)
    head = f'<svg class="chart" viewBox="0 0 {_WIDTH:g} {height:g}" role="img" '
    return Markup(f'{head}aria-label="{escape(f"{label} {read}.")}">' + "".join(parts) + "</svg>")


def _drawn(row: Row, y: float) -> str:
    name = row.label if len(row.label) <= _LETTERS else row.label[: _LETTERS - 3] + "..."
    kind, indent = ("name", 0.0) if row.interval is None else ("judge", 14.0)
    parts = [f'<text class="{kind}" x="{indent:g}" y="{y + 4:.1f}">{escape(name)}</text>']
    found = row.interval
    if found is None or found["mean"] is None or found["low"] is None or found["high"] is None:
        return "".join(parts)
    low, mean, high = (_x(found[key]) for key in ("low", "mean", "high"))
    parts.append(
        f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        + "".join(
            f'<line class="whisker" x1="{end:.1f}" x2="{end:.1f}" y1="{y - 4:.1f}" y2="{y + 4:.1f}"/>'
            for end in (low, high)
        )
        + f'<circle class="{"hollow" if row.is_simulated else "mean"}" cx="{mean:.1f}" cy="{y:.1f}" r="4.5"/>'
        + f'<text class="value" x="{_WIDTH:g}" y="{y + 4:.1f}">{percent(found["mean"])}</text>'
    )
    return "".join(parts)


def _x(share_won: float) -> float:
    return _LEFT + share_won * (_WIDTH - _LEFT - _RIGHT)
