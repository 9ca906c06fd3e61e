"""A comparison of runs as text: one column per run, or one run below another where the terminal is too narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from alignloop.workflow.overview.compare import ABSENT, Compared, Comparison, Series, sparkline

_LEAST_COLUMN = 14
_GAP = "  "


def side_by_side(
    found: Comparison,
    width: int,
    *,
    all_keys: bool = False,
    metrics: Sequence[str] = (),
) -> Iterator[str]:
    """The lines of a comparison, none longer than `width`.

    Args:
        all_keys: configs and inputs whole, not only what differs.
        metrics: show the series of these, and no table of final values.
    """
    runs = found.runs
    table = _Table(runs, width)
    yield table.head()
    yield table.row("stage", [one.run.stage or ABSENT for one in runs])
    yield table.row("state", [one.run.state for one in runs])
    yield table.row("wall time", [_time(one.seconds) for one in runs])
    yield table.row("tokens", [_count(one.tokens) for one in runs])
    if any(one.missing for one in runs):
        yield table.row("missing", [", ".join(one.missing) or ABSENT for one in runs])
    if len({one.run.stage for one in runs}) > 1:
        yield "these are runs of different stages: few settings and metrics mean the same in them"
    config = found.config_rows(all_keys=all_keys)
    yield from _section(
        "config" if all_keys else "config, where it differs",
        [table.row(key, [_short(value) for value in values]) for key, values in config],
        "the configs are the same",
    )
    inputs = found.input_rows(all_inputs=all_keys)
    yield from _section(
        "inputs" if all_keys else "inputs, where they differ",
        [table.row(role, values) for role, values in inputs],
        "the inputs are the same",
    )
    if metrics:
        for metric in metrics:
            yield from _section(
                metric, list(_drawn(found, metric, width)), "no run logged this metric"
            )
        return
    yield from _section("metrics, the last (best)", list(_final(found, table)), "none were logged")


# --- inside -----------------------------------------------------------------------------------------------------


class _Table:
    """Columns of equal width, the first for names."""

    def __init__(self, runs: Sequence[Compared], width: int) -> None:
        self._names = [one.name for one in runs]
        self._first = min(30, max(18, width // 4))
        room = (width - self._first) // len(runs) - len(_GAP)
        self._column = max(room, _LEAST_COLUMN)
        self._width = max(width, self._first + _LEAST_COLUMN)

    def head(self) -> str:
        return self.row("", self._names)

    def row(self, name: str, values: Sequence[str]) -> str:
        cells = [_cut_left(value, self._column).ljust(self._column) for value in values]
        line = _GAP.join([_cut_left(name, self._first).ljust(self._first), *cells]).rstrip()
        return line if len(line) <= self._width else f"{line[: self._width - 3]}..."


def _section(title: str, lines: Sequence[str], otherwise: str) -> Iterator[str]:
    yield ""
    yield title.upper()
    yield from lines or [otherwise]


def _final(found: Comparison, table: _Table) -> Iterator[str]:
    for metric in found.metrics():
        yield table.row(
            metric, [_last_and_best(one.series.get(metric), metric) for one in found.runs]
        )


def _last_and_best(series: Series | None, metric: str) -> str:
    if series is None:
        return ABSENT
    best = series.best(metric)
    return _number(series.last) + ("" if best is None else f" ({_number(best[0])} at {best[1]:g})")


def _drawn(found: Comparison, metric: str, width: int) -> Iterator[str]:
    first = min(30, max(18, width // 4))
    for one in found.runs:
        series = one.series.get(metric)
        name = _cut_left(one.name, first).ljust(first)
        if series is None:
            yield f"{name}{_GAP}not logged"
            continue
        told = f"{_number(series.values[0])} to {_number(series.last)}"
        best = series.best(metric)
        if best is not None:
            told += f", best {_number(best[0])} at {best[1]:g}"
        room = max(width - first - len(told) - 2 * len(_GAP), 10)
        yield f"{name}{_GAP}{sparkline(series.values, min(room, 60))}{_GAP}{told}"


def _cut_left(text: str, width: int) -> str:
    """The end of a long text, where paths and dotted keys differ."""
    return text if len(text) <= width else f"..{text[len(text) - width + 2 :]}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _count(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.0f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ABSENT
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min"
        if hours
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )
