"""How long the prompts of each side are, as a picture: bars in plain SVG, so that no plotting library is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

from alignloop.workflow.report.data import percent

_WIDTH, _HEIGHT = 640.0, 220.0
_LEFT, _BOTTOM, _TOP = 44.0, 40.0, 24.0
_LEGEND = 70.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing with its title and a sentence on how to read it."""

    title: str
    text: str
    svg: Markup


def length_bars(bins: Mapping[str, Mapping[str, int]]) -> Picture | None:
    """Shares of each side's prompts by length in powers of two; nothing where there are no prompts.

    Args:
        bins: side -> shortest length of the bin -> prompts.
    """
    totals = {side: sum(counts.values()) for side, counts in bins.items() if counts}
    starts = sorted({int(start) for counts in bins.values() for start in counts})
    if not starts:
        return None
    columns = [1 << power for power in range(_power(starts[0]), _power(starts[-1]) + 1)]
    shares = {
        side: [bins[side].get(str(start), 0) / total for start in columns]
        for side, total in totals.items()
    }
    most = max(max(row) for row in shares.values())
    step = (_WIDTH - _LEFT) / len(columns)
    parts = [_axis(most)]
    bar = 0.8 * step / len(shares)
    for number, (side, row) in enumerate(shares.items()):
        x = _LEFT + number * _LEGEND
        parts.append(f'<rect class="{side}" x="{x:.1f}" y="4" width="10" height="10"/>')
        parts.append(f'<text x="{x + 14:.1f}" y="13">{side}</text>')
        for at, share in enumerate(row):
            height = (_HEIGHT - _BOTTOM - _TOP) * share / most
            left = _LEFT + at * step + 0.1 * step + number * bar
            parts.append(
                f'<rect class="{side}" x="{left:.1f}" y="{_HEIGHT - _BOTTOM - height:.1f}" '
                f'width="{bar:.1f}" height="{height:.1f}"/>'
            )
    for at, start in enumerate(columns):
        middle = _LEFT + (at + 0.5) * step
        parts.append(
            f'<text x="{middle:.1f}" y="{_HEIGHT - _BOTTOM + 14:.1f}" text-anchor="middle">{start}</text>'
        )
    parts.append(
        f'<text x="{_WIDTH:.1f}" y="{_HEIGHT - 6:.1f}" text-anchor="end">tokens, from ... to twice that</text>'
    )
    label = "Bar chart, shares of prompts by length in tokens. " + "; ".join(
        f"{side}: "
        + ", ".join(f"{start} {percent(share)}" for start, share in zip(columns, row, strict=True))
        for side, row in shares.items()
    )
    head = f'<svg class="plot bars" style="max-width: 640px" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" '
    svg = Markup(f'{head}aria-label="{escape(label)}">' + "".join(parts) + "</svg>")
    return Picture("Lengths of prompts", "Shares of each side's prompts.", svg)


def _axis(most: float) -> str:
    bottom = _HEIGHT - _BOTTOM
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{bottom}" y2="{bottom}"/>'
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{_TOP}" y2="{_TOP}"/>'
        f'<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">{percent(most, 0)}</text>'
        f'<text x="{_LEFT - 6}" y="{bottom + 4}" text-anchor="end">0</text>'
    )


def _power(start: int) -> int:
    return max(start.bit_length() - 1, 0)
