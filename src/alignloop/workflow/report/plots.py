"""The kinds of plot on the page: means with intervals, lines, calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, ScalarFormatter

from alignloop.workflow.report.data import NO_BREAK, Interval, between, number, percent
from alignloop.workflow.report.svg import INK, PAPER, PLAIN, PPO, PTX, SFT, WIDTH, drawing, inline

_LETTER, _BOLD_LETTER = 6.0, 7.0
"""Room for one letter of a row's label, in units."""
_IN_A_ROW = 3
"""Lines that a legend names side by side at most."""
_ROUND_STEPS = (1, 2, 5, 10)
"""Ticks are multiples of these: 92.5 would have to be rounded."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a thing is told apart: by colour, and by line and marker for those who see no colour."""

    colour: str
    line: str | tuple[int, tuple[float, ...]]
    marker: str


LOOKS = {
    "ppo_ptx": Look(PTX, "-", "s"),
    "ppo": Look(PPO, (0, (5.0, 2.0)), "o"),
    "sft": Look(SFT, "-", "D"),
}
OTHER = Look(PLAIN, (0, (1.5, 1.5)), "^")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an interval plot; without an interval it is a heading."""

    label: str
    interval: Interval | None
    look: Look = OTHER


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name, its points in their order, its look."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    look: Look
    is_smoothed: bool = True
    """Draw the points faintly and a moving mean over them; else the points, joined."""


@dataclass(frozen=True, slots=True)
class Captioned:
    """A plot with its title and a sentence or two on how to read it."""

    title: str
    text: str
    svg: Markup


def interval_plot(
    name: str,
    rows: Sequence[Row],
    description: str,
    *,
    as_bars: bool = False,
    in_percent: bool = True,
    span: tuple[float, float] | None = None,
) -> Markup:
    """Means with their intervals, one below the other, and a line at 50 % (or at zero, for nats).

    `span` is what the axis shows; plots to be compared should have the same.
    """
    reference = 0.5 if in_percent else 0.0
    left = 14.0 + (_BOLD_LETTER if as_bars else _LETTER) * max(len(row.label) for row in rows)
    right, top, bottom, line_height = 52.0, 16.0, 26.0, 24.0
    height = top + bottom + line_height * len(rows)

    with drawing(name, height) as figure:
        axes = _axes(figure, left, right, top, bottom, height)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks([])
        axes.grid(axis="x")
        axes.axvline(reference, color=INK, linewidth=1.0, linestyle=(0, (3.0, 2.0)), zorder=2)
        for at, row in enumerate(rows):
            in_rows = axes.get_yaxis_transform()
            place = {"transform": in_rows, "va": "center_baseline"}
            is_bold = row.interval is None or (as_bars and row.look is LOOKS["ppo_ptx"])
            weight = "bold" if is_bold else "normal"
            indent = 0.0 if row.interval is None else 6.0
            axes.text(
                (indent - left) / (WIDTH - left - right), at, row.label, weight=weight, **place
            )
            if row.interval is None:
                continue
            mean, low, high = (row.interval[key] for key in ("mean", "low", "high"))
            if as_bars:
                axes.barh([at], [mean], height=0.62, color=row.look.colour, alpha=0.55, zorder=1)
            axes.plot(
                [low, high], [at, at], color=INK, linewidth=1.6, solid_capstyle="round", zorder=3
            )
            axes.plot(
                [mean], [at], row.look.marker, color=row.look.colour, markersize=6.5, zorder=4
            )
            axes.lines[-1].set(markeredgecolor=INK, markeredgewidth=0.9)
            value = percent(mean) if in_percent else number(mean, 3, signed=True)
            axes.text(
                1.0 + 50.0 / (WIDTH - left - right), at, value, ha="right", weight=weight, **place
            )
        axes.margins(x=0.08)
        if span:
            axes.set_xlim(*span)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=_ROUND_STEPS))
        if in_percent:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}"))
        read = [_read_row(row, in_percent) for row in rows if row.interval is not None]
        return inline(figure, name, f"{description} {'; '.join(read)}.")


def line_plot(
    name: str,
    series: Sequence[Series],
    x_label: str,
    description: str,
    *,
    in_percent: bool = False,
    reference: float | None = None,
    marks_start: bool = False,
    is_geometric: bool = False,
) -> Markup:
    """Lines over steps (or over KL); each ends in its own marker. `is_geometric`: xs are factors apart."""
    legend_rows = math.ceil(len(series) / _IN_A_ROW) if len(series) > 1 else 0
    top = 12.0 + 14.0 * legend_rows if legend_rows else 8.0
    left, right, bottom, height = 44.0, 12.0, 38.0, 214.0

    with drawing(name, height) as figure:
        axes = _axes(figure, left, right, top, bottom, height)
        axes.grid(axis="y")
        if reference is not None:
            axes.axhline(reference, color=INK, linewidth=1.0, linestyle=(0, (3.0, 2.0)))
        for line in series:
            _draw_line(axes, line, marks_start)
        axes.margins(x=0.02, y=0.08)
        axes.set_xlabel(x_label, loc="right")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=_ROUND_STEPS))
            axis.set_major_formatter(ScalarFormatter(useOffset=False))
        if in_percent:
            axes.yaxis.set_major_formatter(_in_percent())
        if is_geometric:
            axes.set_xscale("log")
            axes.set_xticks(series[0].xs[:: 1 + (len(series[0].xs) - 1) // 4])
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.2g}"))
            axes.minorticks_off()
        if legend_rows:
            columns = math.ceil(len(series) / legend_rows)
            axes.legend(
                loc="lower left", bbox_to_anchor=(0.0, 1.01), borderaxespad=0.0, ncols=columns
            )
        read = [_read_line(line, percent if in_percent else number) for line in series]
        return inline(figure, name, f"{description} {'; '.join(read)}.")


def calibration_plot(
    name: str, points: Sequence[tuple[float, float, float]], description: str
) -> Markup:
    """Predicted against observed shares, a larger dot for more pairs, and the diagonal where the two agree."""
    left, right, top, bottom, height = 44.0, 12.0, 8.0, 38.0, 290.0
    most = max(pairs for _, _, pairs in points)

    with drawing(name, height) as figure:
        axes = _axes(figure, left, right, top, bottom, height)
        low = min(min(predicted, observed) for predicted, observed, _ in points)
        first = min(0.5, 0.1 * int(10.0 * low))
        axes.set(xlim=(first, 1.02), ylim=(first, 1.02))
        axes.grid()
        axes.plot([first, 1.0], [first, 1.0], color=INK, linewidth=1.0, linestyle=(0, (3.0, 2.0)))
        axes.plot(
            [p for p, _, _ in points],
            [o for _, o, _ in points],
            color=PTX,
            linewidth=1.2,
            alpha=0.6,
        )
        for predicted, observed, pairs in points:
            size = 4.0 + 9.0 * (pairs / most) ** 0.5
            axes.plot(
                [predicted], [observed], "o", color=PTX, markeredgecolor=PAPER, markersize=size
            )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=_ROUND_STEPS))
            axis.set_major_formatter(_in_percent())
        axes.set_xlabel("predicted", loc="right")
        axes.set_ylabel("observed", loc="top", labelpad=2.0)
        read = [f"predicted {percent(p, 0)}, observed {percent(o, 0)}" for p, o, _ in points]
        return inline(figure, name, f"{description} {'; '.join(read)}.")


def moving_mean(values: Sequence[float], reach: int) -> list[float]:
    """The mean of each value and its neighbours, as far as there are any.

    Taken of xs and ys alike, it keeps a straight line straight, and ends it a little before the last point.
    """
    means: list[float] = []
    for at in range(len(values)):
        window = values[max(0, at - reach) : at + reach + 1]
        means.append(sum(window) / len(window))
    return means


def _in_percent() -> FuncFormatter:
    return FuncFormatter(lambda share, _: f"{round(100.0 * share, 4):g}{NO_BREAK}%")


def _draw_line(axes: Axes, line: Series, marks_start: bool) -> None:
    xs, ys, colour = line.xs, line.ys, line.look.colour
    reach = len(xs) // 25 if line.is_smoothed else 0
    if reach:
        axes.plot(xs, ys, color=colour, linewidth=0.8, alpha=0.35)
        xs, ys = moving_mean(xs, reach), moving_mean(ys, reach)
    axes.plot(
        xs,
        ys,
        color=colour,
        linestyle=line.look.line,
        linewidth=2.0,
        marker=line.look.marker,
        markersize=5.5,
        markeredgecolor=PAPER,
        markevery=1 if len(xs) <= 12 else [len(xs) - 1],
        label=line.label,
        clip_on=False,
    )
    if marks_start:
        axes.plot(
            line.xs[:1],
            line.ys[:1],
            line.look.marker,
            color=colour,
            markerfacecolor=PAPER,
            markersize=6.5,
            clip_on=False,
        )


def _read_row(row: Row, in_percent: bool) -> str:
    assert row.interval is not None
    if in_percent:
        return f"{row.label}: {percent(row.interval['mean'])}, interval {between(row.interval)}"
    mean, low, high = (number(row.interval[key], 3, signed=True) for key in ("mean", "low", "high"))
    return f"{row.label}: {mean}, interval {low} to {high}"


def _read_line(line: Series, write: Callable[[float], str]) -> str:
    ends = f"{line.label} goes from {write(line.ys[0])} to {write(line.ys[-1])}"
    return f"{ends}, between {write(min(line.ys))} and {write(max(line.ys))}"


def _axes(
    figure: Figure, left: float, right: float, top: float, bottom: float, height: float
) -> Axes:
    size = (1.0 - (left + right) / WIDTH, 1.0 - (top + bottom) / height)
    return figure.add_axes((left / WIDTH, bottom / height, *size))
