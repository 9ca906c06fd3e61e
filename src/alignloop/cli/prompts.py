"""`alignloop prompts`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, call_stage, path_option, run_options

_PROJECT = path_option(
    "--project", "Folder of the project: its database, and what imports write for people."
)


@click.group("prompts")
def command() -> None:
    """The files you have, into a project: imported, curated as in the paper, reported on, exported."""


@command.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_PROJECT
@click.option(
    "--database",
    metavar="URL",
    help="Of a project that begins with it: postgresql://user@host/name. Without it: SQLite in the folder.",
)
@click.option(
    "--shape", metavar="NAME", help="How the rows are written; told by looking without it."
)
@click.option(
    "--kind",
    type=click.Choice(["labeler_plain", "labeler_fewshot", "labeler_user_based", "customer"]),
    default="customer",
    show_default=True,
    help="Who wrote the prompts, and how, where their rows do not say.",
)
@click.option(
    "--config",
    "curation_path",
    type=PATH,
    help="TOML file of settings of curation, for a project's first import. Without it: the paper's.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one of them, e.g. --set cap=100. May be repeated.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that look at prompts; as many as there are cores without it.",
)
@click.option("--dry-run", is_flag=True, help="Say what would come of it, and write nothing.")
def import_(
    files: tuple[str, ...],
    project: Path,
    database: str | None,
    curation_path: Path | None,
    dry_run: bool,
    **arguments: Any,
) -> None:
    """Read FILEs of prompts in whatever shape, curate them as the paper does, and keep them in a project.

    A FILE may be a folder. The word `examples` stands for the bundled example prompts.

    Example: alignloop prompts import examples --project lab
    """
    import time

    from alignloop.store.project import open_project
    from alignloop.workflow.prompts.intake import Wanted, import_prompts, try_prompts
    from alignloop.workflow.prompts.summary import summary

    wanted = Wanted(files, config=curation_path, **arguments)
    opened = open_project(project, database, begin=not dry_run)
    if dry_run:
        done, results = try_prompts(opened, wanted), None
    else:
        done, results = import_prompts(opened, wanted, int(time.time() * 1000))
    for line in summary(done, project, results):
        click.echo(line)


@command.command("report")
@_PROJECT
@click.option(
    "--out",
    type=PATH,
    help="Where the page goes, FILE.html; FILE.json goes beside it. Without it: the project's prompts/report.html.",
)
@click.option(
    "--tokenizer",
    metavar="PATH",
    help="Count lengths anew with this tokenizer.json, in a look at every prompt. Without it: as counted on import.",
)
def report(project: Path, out: Path | None, tokenizer: str | None) -> None:
    """The paper's tables for your own prompts, beside the paper's: one page, and the same as JSON."""
    from alignloop.store.project import open_project
    from alignloop.workflow.prompts.report import PAGE, write_report

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(
            f"--out {out}: give a name that ends in .html; FILE.json goes beside it"
        )
    opened = open_project(project)
    store = opened.open(create=False)
    try:
        page = out or opened.prompts / PAGE
        results = write_report(store, page, tokenizer)
    finally:
        store.close()
    click.echo(
        f"{results['kept']:,} of {results['read']:,} prompts kept, {results['rejected']:,} rows rejected: {page}"
    )


@command.command("export")
@_PROJECT
@click.option(
    "--kind",
    type=click.Choice(["prompts", "demonstrations", "rankings"]),
    required=True,
    help="What leaves: prompts to be answered, or the answers that came with them.",
)
@run_options
def export(kind: str, overrides: tuple[str, ...], **arguments: Any) -> None:
    """A project's prompts for the trainers; leaves an artefact of that kind.

    Example: alignloop prompts export --project lab --kind prompts --run runs/prompts
    """
    call_stage("prompts_export", overrides=(f'kind="{kind}"', *overrides), **arguments)
