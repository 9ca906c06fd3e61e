"""`alignloop demo`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alignloop.cli.options import PATH

if TYPE_CHECKING:
    from alignloop.config import Precision


@click.command("demo")
@click.option(
    "--out", type=PATH, default=Path("demo"), show_default=True, help="Folder of the demo."
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Seed of everything but the split and the base model.",
)
@click.option(
    "--smoke",
    is_flag=True,
    help="Every stage with tiny counts: shows that it runs, not that it works.",
)
@click.option(
    "--precision",
    type=click.Choice(["bfloat16", "float32"]),
    default="bfloat16",
    show_default=True,
    help="Arithmetic of the matrix products in training and drawing; float32 suits CPUs without bfloat16 instructions.",
)
def command(out: Path, seed: int, smoke: bool, precision: Precision) -> None:
    """Run the whole loop on the bundled children's stories; the target is under 18 minutes on two cores.

    SFT, K completions per prompt, rankings by simulated labelers, reward model, PPO and PPO-ptx,
    blind evaluation, and a report. Stop it at any time: the same command goes on.
    """
    from alignloop.workflow.demo import run_demo

    # The entry script of a checkout says by what name it was called.
    program = os.environ.get("ALIGNLOOP_PROGRAM", "alignloop")
    chat_command = f"{program} chat {out / 'ppo_ptx'} --single-turn"
    report = run_demo(
        out,
        seed=seed,
        smoke=smoke,
        precision=precision,
        say=click.echo,
        chat_command=chat_command,
    )
    click.echo(f"\nreport: {report}")
    click.echo(f"chat:   {chat_command}")
