"""`alignloop status`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import click

from alignloop.cli.options import PATH

_COLOURS = {"title": {"bold": True}, "warning": {"fg": "yellow"}}


@click.command("status")
@click.option(
    "--project",
    type=PATH,
    default=Path("."),
    show_default=True,
    help="Folder of the project; a demo's, or any folder with runs in it, will do.",
)
@click.option(
    "--runs",
    "more_runs",
    type=PATH,
    multiple=True,
    help="Another folder of runs that belong to it; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def command(project: Path, more_runs: tuple[Path, ...], as_json: bool) -> None:
    """A project on one screen: data, labels, models and their lineage, win rates, what comes next.

    Example: alignloop status --project mylab
    """
    from alignloop.errors import DataError
    from alignloop.workflow.overview.screen import plain, screen
    from alignloop.workflow.overview.status import status_of

    if not project.is_dir():
        raise DataError(
            f"{project}: no such folder; begin a project with `alignloop prompts import`"
        )
    found = status_of(project, more_runs=more_runs)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
        return
    width = shutil.get_terminal_size((100, 24)).columns
    for line in screen(found, width, _coloured if sys.stdout.isatty() else plain):
        click.echo(line)


def _coloured(text: str, what: str) -> str:
    return click.style(text, **_COLOURS[what]) if what in _COLOURS else text  # type: ignore[arg-type]
