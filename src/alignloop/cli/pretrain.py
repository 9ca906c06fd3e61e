"""`alignloop pretrain`."""

from __future__ import annotations

from typing import Any

import click

from alignloop.cli.options import call_stage, path_option, run_options


@click.command("pretrain")
@path_option(
    "--text",
    "A `pretraining-text` artefact, from `alignloop data stories`, or your own from `data import`.",
)
@run_options
def command(**arguments: Any) -> None:
    """Train a tokenizer and a Llama-type model from nothing; leaves a `policy` artefact.

    Example: alignloop pretrain --text runs/stories --run runs/base --config recipes/base/base.toml
    """
    call_stage("pretrain", **arguments)
