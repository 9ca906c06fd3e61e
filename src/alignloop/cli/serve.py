"""`alignloop serve`."""

from __future__ import annotations

import sys
from pathlib import Path

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
) -> None:
    """Serve MODELS, each PATH or NAME=PATH, to OpenAI's clients: policies answer, reward models score.

    Example: alignloop serve demo/ppo_ptx reward=demo/reward --single-turn
    """
    from alignloop.serving.run import serve
    from alignloop.serving.service import Limits

    status = serve(
        models,
        host=host,
        port=port,
        public=public,
        api_key_file=api_key_file,
        rate_limit=rate_limit,
        single_turn=single_turn,
        limits=Limits(max_rows=max_rows, queue=queue, timeout=timeout),
        say=click.echo,
    )
    sys.exit(status)
