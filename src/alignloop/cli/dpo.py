"""`alignloop dpo`."""

from __future__ import annotations

from typing import Any

import click

from alignloop.cli.options import call_stage, path_option, run_options


@click.command("dpo")
@path_option("--model", "The `policy` to start from; the frozen reference is the same.")
@path_option("--rankings", "A `rankings` artefact.")
@run_options
def command(**arguments: Any) -> None:
    """Train a policy on rankings by DPO: all pairs of each prompt, one forward pass per completion.

    Example: alignloop dpo --model runs/rl_init --rankings runs/rankings --run runs/dpo
    """
    call_stage("dpo", **arguments)
