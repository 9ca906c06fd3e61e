"""`alignloop label`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, call_stage, path_option, project_options, run_options


@click.group("label")
def command() -> None:
    """The people's side: the labeling app, its campaigns and labelers, labels out; and simulated labelers."""


@command.command("serve")
@project_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    help="A name under which browsers may ask, beside the address; may be repeated.",
)
@click.option(
    "--public",
    is_flag=True,
    help="Allow an address beyond this machine. Put a proxy with TLS before it.",
)
@click.option("--behind-tls", is_flag=True, help="A proxy with TLS stands before this server.")
@click.option(
    "--email",
    default="researcher@localhost",
    show_default=True,
    help="What the first researcher signs in with.",
)
def serve(project: Path, database: str | None, **options: Any) -> None:
    """Serve the labeling app. The first start prints a one-time link to set up the first account.

    Example: alignloop label serve --project mylab
    """
    from alignloop.labeling.serve import serve as run
    from alignloop.store.project import open_project

    sys.exit(run(open_project(project, database), say=click.echo, **options))


@command.command("invite")
@project_options
@click.argument("email")
@click.option(
    "--role",
    type=click.Choice(["labeler", "researcher"]),
    default="labeler",
    show_default=True,
    help="Whose pages they get.",
)
@click.option(
    "--cohort",
    type=click.Choice(["training", "heldout"]),
    default="training",
    show_default=True,
    help="Held-out labelers are not screened, and evaluate only.",
)
@click.option("--name", default="", help="How the others see them; they may change it.")
def invite(
    project: Path, database: str | None, email: str, role: str, cohort: str, name: str
) -> None:
    """Make an account and print the path of its invitation, good once, for 14 days.

    Example: alignloop label invite --project mylab ann@example.org
    """
    from alignloop.store import people

    with _writing(project, database) as connection:
        user = people.find_user(connection, email=email)
        if user is None:
            user = people.add_user(
                connection,
                _now(),
                "command",
                email=email,
                name=name or email.partition("@")[0],
                role=role,  # type: ignore[arg-type]
                cohort=None if role == "researcher" else cohort,  # type: ignore[arg-type]
            )
        token = people.invite(connection, _now(), "command", user)
    click.echo(f"/invite/{token}")


@command.command("campaign")
@project_options
@click.argument("name")
@click.option(
    "--form",
    type=click.Choice(["demonstrate", "write", "rank", "compare", "toxicity"]),
    required=True,
    help="What labelers do.",
)
@click.option(
    "--purpose",
    type=click.Choice(["training", "evaluation", "screening", "practice"]),
    default="training",
    show_default=True,
    help="What the labels are for. Evaluation takes prompts of the test side, all else other ones.",
)
@click.option(
    "--cohort",
    type=click.Choice(["training", "heldout", "any"]),
    help="Whose work it is; training labelers' for training, anybody's otherwise.",
)
@click.option(
    "--k-min",
    type=click.IntRange(2, 9),
    default=4,
    show_default=True,
    help="Fewest outputs of a ranking.",
)
@click.option(
    "--k-max",
    type=click.IntRange(2, 9),
    default=9,
    show_default=True,
    help="Most outputs of a ranking.",
)
@click.option(
    "--overlap",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Labels wanted per task.",
)
@click.option(
    "--lease-minutes",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    help="How long a task is kept for whoever works on it, from the last sign of work.",
)
@click.option(
    "--no-ratings", is_flag=True, help="Rankings without the grades and flags of screen (a)."
)
@click.option("--dialogue", is_flag=True, help="Demonstrations of which labelers write both sides.")
@click.option("--price", type=click.FloatRange(min=0), help="Pay per hour, for the cost of labels.")
@click.option("--currency", default="USD", show_default=True, help="Of the price.")
@click.option(
    "--planned",
    type=click.IntRange(1),
    help="Evaluation: the number of tasks, fixed before the first vote.",
)
@click.option(
    "--prompts",
    "prompt_count",
    type=click.IntRange(1),
    help="Add so many prompts of the store (demonstrate), or so many to be written (write).",
)
@click.option(
    "--split",
    type=click.Choice(["train", "valid", "test"]),
    default="train",
    show_default=True,
    help="Side of those prompts.",
)
@click.option("--open", "is_open", is_flag=True, help="Open it at once.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Draws orders and gold places."
)
def campaign(project: Path, database: str | None, **options: Any) -> None:
    """Make a campaign, or add prompts to the one of that name.

    Rankings and comparisons are filled by `alignloop sample --to-campaign`.

    Example: alignloop label campaign --project mylab "write answers" --form demonstrate --prompts 200 --open
    """
    from alignloop.labeling.planning import make_campaign

    with _writing(project, database) as connection:
        click.echo(make_campaign(connection, _now(), "command", **options))


@command.command("guideline")
@project_options
@click.argument("file", type=PATH)
@click.option(
    "--purpose",
    type=click.Choice(["training", "evaluation"]),
    required=True,
    help="Whose priorities it has.",
)
@click.option(
    "--locale",
    type=click.Choice(["en", "zh"]),
    default="en",
    show_default=True,
    help="Its language.",
)
@click.option(
    "--version",
    type=click.IntRange(1),
    help="Number of the version; the next one without it. Give the same for a second language.",
)
def guideline(
    project: Path,
    database: str | None,
    file: Path,
    purpose: str,
    locale: str,
    version: int | None,
) -> None:
    """Add a version of the guidelines from a Markdown FILE; versions are never changed.

    Campaigns that are made from now on have it; those that are open keep theirs.

    Example: alignloop label guideline --project mylab training.md --purpose training
    """
    from alignloop.errors import DataError
    from alignloop.store import correspondence

    try:
        body = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from None
    with _writing(project, database) as connection:
        number = version or correspondence.latest_version(connection, purpose) + 1
        correspondence.add_guideline(
            connection, _now(), "command", purpose=purpose, version=number, locale=locale, body=body
        )
    click.echo(f"{purpose}, version {number}, {locale}")


@command.command("state")
@project_options
@click.argument("name")
@click.argument("state", type=click.Choice(["open", "closed"]))
def state(project: Path, database: str | None, name: str, state: str) -> None:
    """Open or close the campaign NAME. A closed evaluation stays closed, and may be unblinded.

    Example: alignloop label state --project mylab "write answers" closed
    """
    from alignloop.store import campaigns

    with _writing(project, database) as connection:
        found = campaigns.get_campaign(connection, name=name)
        campaigns.set_state(connection, _now(), "command", found, state)  # type: ignore[arg-type]
    click.echo(f"'{name}' is {state}")


@command.command("status")
@project_options
def status(project: Path, database: str | None) -> None:
    """Campaigns and how far they are, one a line.

    Example: alignloop label status --project mylab
    """
    from alignloop.store import campaigns

    with _opened(project, database) as store, store.read() as connection:
        for one in campaigns.all_campaigns(connection):
            progress = campaigns.progress_of(connection, one)
            surplus = f", {progress.surplus} surplus" if progress.surplus else ""
            click.echo(
                f"{one.name:<32} {one.form:<12} {one.purpose:<11} {one.state:<7} "
                f"{progress.done}/{progress.wanted} done, {progress.leased} in work{surplus}"
            )


@command.command("export")
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


@command.command("audit")
@project_options
def audit(project: Path, database: str | None) -> None:
    """Check the log's chain of hashes from its start, and every label against it.

    Exit status 1 where something was changed. Note the head elsewhere: it proves what came before it.

    Example: alignloop label audit --project mylab
    """
    from alignloop.store import events

    with _opened(project, database) as store, store.read() as connection:
        found = events.audit(connection)
    click.echo(f"{found.entries} entries, {found.submissions} submissions, head {found.head}")
    for finding in found.findings:
        where = "" if finding.seq is None else f"entry {finding.seq} "
        click.echo(f"WRONG: {where}{finding.problem}")
    if found.findings:
        sys.exit(1)
    click.echo("everything is as it was written")


@command.command("backup")
@project_options
@click.argument("file", type=PATH)
def backup(project: Path, database: str | None, file: Path) -> None:
    """Write the whole store to one SQLite FILE, while it is in use, and compare the two.

    Example: alignloop label backup --project mylab backups/2026-11-27.db
    """
    from alignloop.store import transfer

    with _opened(project, database) as store:
        _say_digests(transfer.backup(store, file))
    click.echo(f"written to {file}")


@command.command("restore")
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


@command.command("copy")
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

    with _opened(project, None) as source:
        target = open_project(to, to_database).open()
        try:
            _say_digests(transfer.copy(source, target))
        finally:
            target.close()
    click.echo(f"copied into {to}")


@command.command("lexicon")
@path_option("--text", "A `pretraining-text` artefact; the train titles' words are counted.")
@run_options
def lexicon(**arguments: Any) -> None:
    """Count the words that the simulated labelers read with; leaves a `lexicon` artefact."""
    call_stage("lexicon", **arguments)


@command.command("simulate")
@path_option("--completions", "A `completions` artefact.")
@path_option("--lexicon", "A `lexicon` artefact.")
@run_options
def simulate(**arguments: Any) -> None:
    """Let the simulated labelers rank completions; leaves a `rankings` artefact.

    They are code (docs/judges.md), not people, and every file that they make says so. They work through a store in the
    run's folder, as people would.

    Example: alignloop label simulate --completions runs/completions --lexicon runs/lexicon --run runs/rankings
    """
    call_stage("rank", **arguments)


# --- shared -----------------------------------------------------------------------------------------------------


def _opened(project: Path, database: str | None) -> Any:
    """The project's store, closed at the end of a `with` block; it has to be there."""
    from contextlib import closing

    from alignloop.store.project import open_project

    return closing(open_project(project, database).open(create=False))


def _writing(project: Path, database: str | None) -> Any:
    """A connection that writes to the project's store, which is made where it is not there."""
    from contextlib import contextmanager

    from alignloop.store.project import open_project

    @contextmanager
    def writing() -> Any:
        store = open_project(project, database).open()
        try:
            with store.write() as connection:
                yield connection
        finally:
            store.close()

    return writing()


def _say_digests(found: Any) -> None:
    for name, digest in found.items():
        if digest.rows:
            click.echo(f"{name:<18} {digest.rows:>9,} rows  {digest.sha256[:16]}")


def _now() -> int:
    return time.time_ns() // 1_000_000
