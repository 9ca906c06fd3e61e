"""`alignloop reward`."""

from __future__ import annotations

from typing import Any

import click

from alignloop.cli.options import call_stage, path_option, run_options


@click.command("reward")
@path_option(
    "--model",
    "The `policy` whose trunk the reward model starts from (the SFT model, in the paper), "
    "or a `reward-model` to go on from.",
)
@path_option("--rankings", "A `rankings` artefact.")
@path_option("--demonstrations", "A `demonstrations` artefact: their mean score becomes 0.")
@run_options
def command(**arguments: Any) -> None:
    """Train the reward model on rankings (step 2): Eq. 1 over all pairs of each prompt.

    Example: alignloop reward --model runs/sft --rankings runs/rankings
    --demonstrations runs/demonstrations --run runs/reward
    """
    call_stage("reward", **arguments)
