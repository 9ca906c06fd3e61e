"""Runs side by side as one HTML page: overlaid curves, and the tables of the terminal. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignloop.errors import MissingExtraError
from alignloop.pages import Table
from alignloop.workflow.overview.compare import ABSENT, Comparison
from alignloop.workflow.report.data import number, spaced
from alignloop.workflow.report.sheet import Sheet, write_sheet

_MOST_RUNS = 8


def write_page(path: Path, found: Comparison, metrics: Sequence[str] = ()) -> None:
    """Write the page; curves of `metrics`, or of every one that two runs logged at two steps or more.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    try:
        from alignloop.workflow.report.plots import Captioned, Look, Series, line_plot
        from alignloop.workflow.report.svg import PLAIN, PPO, PTX, SFT
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        raise MissingExtraError(
            "curves are drawn with matplotlib: pip install 'alignloop[train]', or leave --html out"
        ) from None
    lines: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (5.0, 2.0)))
    looks = [
        Look(colour, line, marker)
        for line in lines
        for colour, marker in ((PTX, "s"), (PPO, "o"), (SFT, "D"), (PLAIN, "^"))
    ]
    runs = found.runs[:_MOST_RUNS]
    figures: list[Captioned] = []
    for metric in metrics or found.metrics():
        drawn = [
            Series(one.name, one.series[metric].steps, one.series[metric].values, look)
            for one, look in zip(runs, looks, strict=False)
            if metric in one.series and len(one.series[metric].values) > 1
        ]
        if drawn:
            text = f"{len(drawn)} of {len(found.runs)} runs."
            svg = line_plot(f"runs-{metric}", drawn, "step", f"{spaced(metric)} by step.")
            figures.append(Captioned(spaced(metric), text, svg))
    names = [one.name for one in found.runs]
    left_out = len(found.runs) - len(runs)
    lede = f"{len(found.runs)} runs: {', '.join(names)}." + (
        f" Curves of the first {_MOST_RUNS}." if left_out else ""
    )
    write_sheet(path, Sheet("Runs side by side", lede, figures, _tables(found, names)))


def _tables(found: Comparison, names: Sequence[str]) -> list[Table]:
    metrics = found.metrics()
    rows = [
        [
            metric,
            *(
                number(one.series[metric].last, 4) if metric in one.series else ABSENT
                for one in found.runs
            ),
        ]
        for metric in metrics
    ]
    config = [[key, *(str(value) for value in values)] for key, values in found.config_rows()]
    inputs = [[role, *values] for role, values in found.input_rows()]
    tables = [
        Table(
            "Runs",
            ["", *names],
            [
                ["stage", *(one.run.stage for one in found.runs)],
                ["state", *(one.run.state for one in found.runs)],
                ["seconds", *(number(one.seconds, 0) for one in found.runs)],
                ["tokens", *(number(one.tokens, 0) for one in found.runs)],
            ],
        ),
        Table("Config, where it differs", ["Setting", *names], config),
        Table("Inputs, where they differ", ["Role", *names], inputs),
        Table("Metrics, the last value", ["Metric", *names], rows),
    ]
    return [table for table in tables if table.rows]
