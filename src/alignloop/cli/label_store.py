"""`alignloop label export`, `audit`, `backup`, `restore`, `copy`, `erase`: what leaves the store, and all of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, call_stage, path_option, project_options, run_options
from alignloop.cli.store import now, opened


@click.command("export")
@path_option("--project", "Folder of the project.")
@click.option(
    "--kind",
    type=click.Choice(["demonstrations", "rankings", "ratings"]),
    required=True,
    help="What leaves.",
)
@click.option(
    "--campaign",
    "names",
    multiple=True,
    help="Name of a campaign; may be repeated. Every training campaign without it.",
)
@click.option(
    "--to-trl",
    type=PATH,
    help="Also write a folder that TRL and Hugging Face datasets open.",
)
@run_options
def export(
    project: Path,
    kind: str,
    names: tuple[str, ...],
    to_trl: Path | None,
    overrides: tuple[str, ...],
    **arguments: Any,
) -> None:
    """Labels as an artefact that the trainers read, with a manifest of the rows that they came from.

    Example: alignloop label export --project mylab --kind rankings --run runs/rankings
    """
    import json

    given = [f'kind="{kind}"']
    if names:
        given.append(f"campaigns={json.dumps(names)}")
    call_stage("label_export", overrides=(*given, *overrides), project=project, **arguments)
    if to_trl is not None:
        from alignloop.labeling.trl import write_dataset

        rows = write_dataset(arguments["run_folder"], to_trl, kind)  # type: ignore[arg-type]
        click.echo(f"{to_trl}: {rows} rows; datasets.load_dataset({str(to_trl)!r}) opens it")


@click.command("audit")
@project_options
def audit(project: Path, database: str | None) -> None:
    """Check the log's chain of hashes from its start, and every label against it.

    Exit status 1 where something was changed. Note the head elsewhere: it proves what came before it.

    Example: alignloop label audit --project mylab
    """
    from alignloop.store import events

    with opened(project, database) as store, store.read() as connection:
        found = events.audit(connection)
    click.echo(f"{found.entries} entries, {found.submissions} submissions, head {found.head}")
    for finding in found.findings:
        where = "" if finding.seq is None else f"entry {finding.seq} "
        click.echo(f"WRONG: {where}{finding.problem}")
    if found.findings:
        sys.exit(1)
    click.echo("everything is as it was written")


@click.command("backup")
@project_options
@click.argument("file", type=PATH)
def backup(project: Path, database: str | None, file: Path) -> None:
    """Write the whole store to one SQLite FILE, while it is in use, and compare the two.

    Example: alignloop label backup --project mylab backups/2026-11-27.db
    """
    from alignloop.store import transfer

    with opened(project, database) as store:
        _say_digests(transfer.backup(store, file))
    click.echo(f"written to {file}")


@click.command("restore")
@project_options
@click.argument("file", type=PATH)
def restore(project: Path, database: str | None, file: Path) -> None:
    """Bring a backup FILE into a project that is empty or not there yet.

    Example: alignloop label restore --project restored backups/2026-11-27.db
    """
    from alignloop.store import transfer
    from alignloop.store.project import open_project

    store = open_project(project, database).open()
    try:
        _say_digests(transfer.restore(file, store))
    finally:
        store.close()
    click.echo(f"restored into {project}")


@click.command("copy")
@path_option("--project", "The project to copy from.")
@path_option("--to", "Folder of the new project.")
@click.option(
    "--to-database",
    help="URL of its database, which has to be empty; SQLite in its folder without it.",
)
def copy(project: Path, to: Path, to_database: str | None) -> None:
    """Copy a project's store into a new one: from SQLite to PostgreSQL, say. Both are compared before it counts.

    Example: alignloop label copy --project mylab --to mylab-pg --to-database postgresql://localhost/mylab
    """
    from alignloop.store import transfer
    from alignloop.store.project import open_project

    with opened(project, None) as source:
        target = open_project(to, to_database).open()
        try:
            _say_digests(transfer.copy(source, target))
        finally:
            target.close()
    click.echo(f"copied into {to}")


@click.command("erase")
@project_options
@click.argument("user")
@click.option(
    "--conversation", help="Id of one conversation, as in the user's data; all without it."
)
def erase(project: Path, database: str | None, user: str, conversation: str | None) -> None:
    """Erase what a USER of the chat page said and chose: for whoever lost the cookie that leads to their own page.

    USER is the name that their page 'Your data' shows, and by which exports name them. Prints what went, by table.

    Example: alignloop label erase --project mylab user-0123456789abcdef0123456789abcdef
    """
    from alignloop.store import erasure

    with opened(project, database) as store:
        found = erasure.erase_named(store, now(), "command", user, conversation)
    for name, count in found.rows.items():
        click.echo(f"{name:<18} {count:>9,} rows")
    click.echo(f"{found.prompts} messages and {found.choices} choices erased")
    if not found.is_rebuilt:
        click.echo(
            "The database file could not be written anew, so traces may be left in it: run this again when there is "
            "room on the disk and nobody else reads or writes."
        )


def _say_digests(found: Any) -> None:
    for name, digest in found.items():
        if digest.rows:
            click.echo(f"{name:<18} {digest.rows:>9,} rows  {digest.sha256[:16]}")


VERBS: tuple[click.Command, ...] = (export, audit, backup, restore, copy, erase)
