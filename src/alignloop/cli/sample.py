"""`alignloop sample`."""

from __future__ import annotations

from typing import Any

import click

from alignloop.cli.options import call_stage, path_option, run_options


@click.command("sample")
@path_option("--model", "The `policy` that answers.")
@path_option("--prompts", "A `prompts` artefact.")
@click.option(
    "--file",
    "files",
    multiple=True,
    default=("rankings", "valid"),
    show_default=True,
    help="Which of its files, without suffix; may be repeated.",
)
@click.option(
    "--name", default="policy", show_default=True, help="What the completions call the model."
)
@run_options
def command(**arguments: Any) -> None:
    """Draw K = 4 to 9 distinct completions per prompt, to be ranked; leaves a `completions` artefact.

    Example: alignloop sample --model runs/sft --prompts runs/prompts --run runs/completions
    """
    call_stage("sample", **arguments)
