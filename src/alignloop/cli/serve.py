"""`alignloop serve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, listening_options


@click.command("serve")
@click.argument("models", nargs=-1, required=True)
@listening_options(8000)
@click.option(
    "--api-key-file",
    type=PATH,
    help="Text file of API keys, one on each line; whoever asks has to show one of them.",
)
@click.option(
    "--rate-limit",
    type=click.IntRange(1),
    help="Most requests in a minute per API key, or per address where there are no keys.",
)
@click.option(
    "--single-turn",
    is_flag=True,
    help="Policies read the last message alone: for those that have learned no conversations, as the demo's have not.",
)
@click.option(
    "--max-rows",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Answers that each policy writes together; the keys and values of each are held in memory.",
)
@click.option(
    "--queue",
    type=click.IntRange(0),
    default=256,
    show_default=True,
    help="Answers that may wait, for each model; more are refused with 503.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds for a request, its time in the queue included.",
)
@click.option("--page", is_flag=True, help="Also serve a chat page, at the address itself.")
@click.option(
    "--project",
    type=PATH,
    help="Folder of a project: what users of the page agree to is kept there. Without it nothing is.",
)
@click.option(
    "--database",
    help="URL of a PostgreSQL database, for a project that begins with it; SQLite in the folder without it.",
)
@click.option(
    "--side-by-side",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Chance that a message on the page gets two answers to choose from; 0 never does.",
)
@click.option(
    "--notice-days",
    type=click.IntRange(1),
    default=30,
    show_default=True,
    help="After so many days the page shows again in full what is kept, and asks.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    help="A name under which browsers may ask for the page, beside the address; may be repeated.",
)
@click.option(
    "--behind-tls",
    is_flag=True,
    help="A proxy with TLS stands before this server, on this machine: limits count the addresses that it names.",
)
def command(
    models: tuple[str, ...],
    host: str,
    port: int,
    public: bool,
    api_key_file: Path | None,
    rate_limit: int | None,
    single_turn: bool,
    max_rows: int,
    queue: int,
    timeout: float,
    page: bool,
    project: Path | None,
    behind_tls: bool,
    **of_page: Any,
) -> None:
    """Serve MODELS, each PATH or NAME=PATH, to OpenAI's clients: policies answer, reward models score.

    Example: alignloop serve demo/ppo_ptx reward=demo/reward --single-turn

    With a chat page: alignloop serve demo/ppo_ptx --single-turn --page --project mylab
    """
    from alignloop.serving.run import PageWanted, serve
    from alignloop.serving.service import Limits

    if not page and (project is not None or of_page["database"] is not None):
        raise click.UsageError("--project is where the chat page keeps things: say --page too")
    if not page and of_page["allowed_hosts"]:
        raise click.UsageError("--allow-host is of the chat page: say --page too")
    if project is None and of_page["database"] is not None:
        raise click.UsageError(
            "--database is of a project, and nothing is kept without one: say --project too"
        )
    status = serve(
        models,
        host=host,
        port=port,
        public=public,
        api_key_file=api_key_file,
        rate_limit=rate_limit,
        single_turn=single_turn,
        limits=Limits(max_rows=max_rows, queue=queue, timeout=timeout),
        behind_tls=behind_tls,
        page=PageWanted(project=project, **of_page) if page else None,
        say=click.echo,
    )
    sys.exit(status)
