"""`alignloop runs`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from alignloop.cli.options import PATH


@click.group("runs")
def command() -> None:
    """Runs side by side."""


@command.command("compare")
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="RUN RUN...")
@click.option("--all", "all_keys", is_flag=True, help="Configs and inputs whole.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Draw this metric over the steps instead of a table of all; may be repeated.",
)
@click.option(
    "--html", type=PATH, help="Also write a page with the curves of the runs over one another."
)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def compare(
    folders: tuple[Path, ...],
    all_keys: bool,
    metrics: tuple[str, ...],
    html: Path | None,
    as_json: bool,
) -> None:
    """Where the configs and inputs of runs differ, their final metrics and their best, time and tokens.

    Example: alignloop runs compare runs/ppo runs/ppo_ptx --metric score_mean --html curves.html
    """
    from alignloop.workflow.overview.compare import compare_runs
    from alignloop.workflow.overview.side_by_side import side_by_side

    found = compare_runs(folders)
    _check(metrics, found.metrics())
    if html is not None:
        from alignloop.workflow.overview.page import write_page

        write_page(html, found, metrics)
    if as_json:
        click.echo(json.dumps(found.as_json(all_keys=all_keys), indent=2))
        return
    width = shutil.get_terminal_size((120, 24)).columns
    for line in side_by_side(found, width, all_keys=all_keys, metrics=metrics):
        click.echo(line)
    if html is not None:
        click.echo(f"\ncurves: {html}")


def _check(metrics: tuple[str, ...], there: list[str]) -> None:
    """A metric that no run logged is a slip of the pen."""
    import difflib

    for name in metrics:
        if name not in there:
            close = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
            advice = (
                f"did you mean {close[0]}?" if close else f"there are {', '.join(there) or 'none'}"
            )
            raise click.BadParameter(f"no run logged '{name}'; {advice}", param_hint="--metric")
