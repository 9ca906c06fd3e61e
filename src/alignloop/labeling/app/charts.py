"""Bar, line and interval charts, as inline SVG with a table of the same numbers beneath.

Positions across are percentages and heights are pixels, so a chart fits any width and its letters keep their size. All
looks come from classes in `app.css`; there is no inline style. A chart never tells series apart by colour alone: the
second line is dashed, and each line carries its name. Words come in translated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from alignloop.labeling.app.pages.common import Estimate
from alignloop.web.i18n import Catalogue

HEIGHT = 168
"""Height of the plot of a bar or line chart, in pixels."""
TOP, BOTTOM = 18, 26
"""Room for the highest tick's label, and for the labels below."""
LEFT = 11.0
"""Room for the ticks' labels, in per cent of the width."""
ROW = 42
"""Height of a row of an interval chart, in pixels."""
MOST_POINTS = 16
"""A line of more values is drawn without a dot for each: they would cut it into dashes."""

Format = Callable[[float], str]
"""How a value is written."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a chart says besides its own labels."""

    numbers: str
    """Opens the table."""
    value: str
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a value per label, None where there is none."""

    name: str
    values: Sequence[float | None]


def chart_words(catalogue: Catalogue) -> Words:
    """The words of a language."""
    return Words(
        numbers=catalogue.sentence("chart.numbers"),
        value=catalogue.sentence("chart.value"),
        low=catalogue.sentence("chart.low"),
        high=catalogue.sentence("chart.high"),
    )


def bar_chart(
    title: str,
    bars: Sequence[tuple[str, float]],
    words: Words,
    *,
    label: str,
    write: Format = "{:,.0f}".format,
) -> Markup:
    """One bar per label, from zero up: counts by day, say.

    Args:
        title: says what is shown; it is the picture's name for those who do not see it.
        bars: label and value; no value is negative.
        label: heads the column of labels in the table.
        write: how a value is written.
    """
    ticks = ticks_for(max((value for _, value in bars), default=0.0), 0.0, write)
    y = _vertical(0.0, ticks[-1])
    shapes = [_grid(ticks, y, write)]
    for at, (name, value) in enumerate(bars):
        left, width = _across(at + 0.15, len(bars)), 0.7 * (100 - LEFT) / len(bars)
        shapes.append(
            _tag(
                "rect",
                class_="bar",
                x=_pc(left),
                y=_px(y(value)),
                width=_pc(width),
                height=_px(y(0) - y(value)),
            )
        )
        if _is_named(at, len(bars)):
            shapes.append(_below(_across(at + 0.5, len(bars)), name))
    table = _table(
        words.numbers, [label, words.value], ([name, write(value)] for name, value in bars)
    )
    return _figure(title, TOP + HEIGHT + BOTTOM, shapes, table)


def line_chart(
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    words: Words,
    *,
    label: str,
    write: Format = "{:,.0f}".format,
    from_zero: bool = True,
) -> Markup:
    """One line per series over the same labels; a missing value leaves a gap.

    Args:
        title, label, write: as in `bar_chart`.
        labels: one per value, in order.
        from_zero: whether the scale begins at 0; otherwise it begins a little below the least value.
    """
    known = [value for line in series for value in line.values if value is not None]
    least = 0.0 if from_zero else min(known, default=0.0)
    ticks = ticks_for(max(known, default=0.0), least, write)
    y = _vertical(ticks[0], ticks[-1])
    count = len(labels)
    x = [_across(at + 0.5, count) for at in range(count)]
    shapes = [_grid(ticks, y, write)]
    for number, line in enumerate(series, start=1):
        points = [(x[at], y(value)) for at, value in enumerate(line.values) if value is not None]
        places = [at for at, value in enumerate(line.values) if value is not None]
        for (x1, y1), (x2, y2), at, after in zip(
            points, points[1:], places, places[1:], strict=False
        ):
            if after == at + 1:
                shapes.append(
                    _tag(
                        "line",
                        class_=f"line line-{number}",
                        x1=_pc(x1),
                        y1=_px(y1),
                        x2=_pc(x2),
                        y2=_px(y2),
                    )
                )
        shapes += [
            _tag("circle", class_=f"point point-{number}", cx=_pc(cx), cy=_px(cy), r="3")
            for at, (cx, cy) in zip(places, points, strict=True)
            if len(points) <= MOST_POINTS or not {at - 1, at + 1} & set(places)
        ]
        if points and len(series) > 1:
            cx, cy = points[-1]
            shapes.append(_text(line.name, f"series series-{number}", _pc(cx), _px(cy - 8), "end"))
    shapes += [_below(x[at], name) for at, name in enumerate(labels) if _is_named(at, count)]
    rows = (
        [
            name,
            *("–" if line.values[at] is None else write(line.values[at] or 0.0) for line in series),
        ]
        for at, name in enumerate(labels)
    )
    table = _table(words.numbers, [label, *(line.name for line in series)], rows)
    return _figure(title, TOP + HEIGHT + BOTTOM, shapes, table)


def interval_chart(
    title: str,
    rows: Sequence[tuple[str, Estimate]],
    words: Words,
    *,
    label: str,
    write: Format = "{:.1%}".format,
    references: Sequence[tuple[str, float]] = (),
    span: tuple[float, float] | None = None,
) -> Markup:
    """A value with its interval per row, on one scale: agreement by labeler, say.

    Args:
        title, label, write: as in `bar_chart`.
        rows: label and estimate.
        references: named values to compare with, drawn as lines across all rows.
        span: least and greatest value of the scale; where absent, it holds all intervals and references.
    """
    inside = [value for _, found in rows for value in (found.low, found.high)]
    inside += [value for _, value in references]
    low, high = span or (min(inside, default=0.0), max(inside, default=1.0))
    margin = 0.04 * (high - low or 1.0)
    low, high = low - margin, high + margin

    def x(value: float) -> str:
        return _pc(100 * min(max((value - low) / (high - low), 0.0), 1.0))

    top = 18 * len(references) + 4
    bottom = top + ROW * len(rows)
    shapes: list[Markup] = []
    for at, (name, value) in enumerate(references):
        y = 18 * at + 13
        shapes.append(
            _tag(
                "line", class_="reference", x1=x(value), x2=x(value), y1=_px(y + 4), y2=_px(bottom)
            )
        )
        is_right = (value - low) / (high - low) > 0.5
        shapes.append(
            _text(
                f"{name} {write(value)}", "tick", x(value), _px(y), "end" if is_right else "start"
            )
        )
    for at, (name, found) in enumerate(rows):
        y = top + ROW * at
        shapes.append(_text(name, "row-label", "0", _px(y + 16)))
        shapes.append(_text(write(found.value), "row-value", "100%", _px(y + 16), "end"))
        shapes.append(
            _tag("line", class_="track", x1="0", x2="100%", y1=_px(y + 28), y2=_px(y + 28))
        )
        shapes.append(
            _tag(
                "line",
                class_="interval",
                x1=x(found.low),
                x2=x(found.high),
                y1=_px(y + 28),
                y2=_px(y + 28),
            )
        )
        shapes.append(
            _tag("circle", class_="point point-1", cx=x(found.value), cy=_px(y + 28), r="4.5")
        )
    table = _table(
        words.numbers,
        [label, words.value, words.low, words.high, "n"],
        (
            [name, write(found.value), write(found.low), write(found.high), f"{found.n:,}"]
            for name, found in rows
        ),
    )
    return _figure(title, bottom + 4, shapes, table)


def ticks_for(greatest: float, least: float = 0.0, write: Format = str) -> list[float]:
    """Round numbers, at least two, whose first is at most `least` and whose last is at least `greatest`.

    About five of them, but so few that `write` makes no two alike.
    """
    extent = greatest - least
    largest = max(abs(greatest), abs(least))
    if extent <= 1e-9 * max(largest, 1.0):  # all alike: from there to zero
        extent = largest if largest > 1e-9 else 1.0
    power = 10.0 ** math.floor(math.log10(extent / 5))
    ticks: list[float] = []
    for step in (power * 10**decade * factor for decade in range(30) for factor in (1, 2, 5)):
        first = math.floor(least / step + 1e-9)
        last = max(math.ceil(greatest / step - 1e-9), first + 1)
        ticks = [round(step * at, 12) for at in range(first, last + 1)]
        if len(ticks) <= 7 and len({write(tick) for tick in ticks}) == len(ticks):
            break
    return ticks


def _across(at: float, count: int) -> float:
    """Where the place `at` of `count` lies, in per cent of the width."""
    return LEFT + (100 - LEFT) * at / count


def _vertical(low: float, high: float) -> Callable[[float], float]:
    """From a value to a height in the picture, in pixels from its top."""

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - (value - low) / (high - low))

    return y


def _is_named(at: int, count: int) -> bool:
    """Whether the label at a place is written: about six of them, the first among them."""
    return at % max(1, math.ceil(count / 6)) == 0


def _grid(ticks: Sequence[float], y: Callable[[float], float], write: Format) -> Markup:
    parts = [
        _tag("line", class_="grid", x1="0", x2="100%", y1=_px(y(tick)), y2=_px(y(tick)))
        + _text(write(tick), "tick", "0", _px(y(tick) - 4))
        for tick in ticks
    ]
    return Markup("").join(parts)


def _below(x: float, name: str) -> Markup:
    return _text(name, "tick", _pc(x), _px(TOP + HEIGHT + 18), "middle")


def _pc(value: float) -> str:
    return f"{value:.2f}%"


def _px(value: float) -> str:
    return f"{value:.1f}"


def _tag(name: str, **attributes: str) -> Markup:
    written = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{written}/>")


def _text(words: str, class_: str, x: str, y: str, anchor: str = "start") -> Markup:
    opening = _tag("text", class_=class_, x=x, y=y, **{"text-anchor": anchor}).removesuffix("/>")
    return Markup("{}>{}</text>").format(Markup(opening), words)


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    cells = Markup("").join(
        Markup("<tr><th scope='row'>{}</th>{}</tr>").format(
            first,
            Markup("").join(Markup("<td class='number'>{}</td>").format(cell) for cell in rest),
        )
        for first, *rest in rows
    )
    heads = Markup("").join(Markup("<th scope='col'>{}</th>").format(name) for name in head)
    return Markup(
        "<details class='fold'><summary>{}</summary><div class='table-wrap'><table>"
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></details>"
    ).format(title, heads, cells)


def _figure(title: str, height: float, shapes: Iterable[Markup], table: Markup) -> Markup:
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" width="100%" height="{}">{}</svg>{}'
    ).format(title, _px(height), Markup("").join(shapes), table)
