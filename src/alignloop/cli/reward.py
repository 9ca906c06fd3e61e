"""`alignloop reward`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, call_stage, path_option, run_options

_MODEL = (
    "The `policy` whose trunk the reward model starts from (the SFT model, in the paper), "
    "or a `reward-model` to go on from."
)
_DEMONSTRATIONS = "A `demonstrations` artefact: their mean score becomes 0."


class TrainByDefault(click.Group):
    """A group whose options without a verb are those of `train`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["train", *args]
        return super().parse_args(ctx, args)


@click.group("reward", cls=TrainByDefault)
def command() -> None:
    """Step 2: train the reward model on rankings; examine it.

    Without a verb it is `alignloop reward train`.
    """


@command.command("train")
@path_option("--model", _MODEL)
@path_option("--rankings", "A `rankings` artefact.")
@path_option("--demonstrations", _DEMONSTRATIONS)
@run_options
def train(**arguments: Any) -> None:
    """Train the reward model on rankings (step 2): Eq. 1 over all pairs of each prompt.

    Example: alignloop reward train --model runs/sft --rankings runs/rankings
    --demonstrations runs/demonstrations --run runs/reward
    """
    call_stage("reward", **arguments)


@command.command("report")
@click.option(
    "--model",
    "models",
    type=PATH,
    multiple=True,
    required=True,
    help="A `reward-model`; several are examined as one, with the mean of their scores.",
)
@path_option("--rankings", "A `rankings` artefact.")
@click.option(
    "--side",
    type=click.Choice(["train", "valid"]),
    default="valid",
    show_default=True,
    help="Which file of the rankings.",
)
@path_option(
    "--learned-from",
    "The `rankings` that the model learned from: their prompts are left out, their labelers are told from others, "
    "and a bag of words learns from them as a rival.",
    required=False,
)
@click.option(
    "--violated",
    "most_violated",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Violated pairs to show.",
)
@path_option("--out", "Folder for report.json and report.html.")
def report(models: tuple[Path, ...], rankings: Path, out: Path, **options: Any) -> None:
    """How often, how surely and where a reward model agrees with rankings; any Hugging Face one will do.

    Example: alignloop reward report --model runs/reward --rankings runs/rankings --out runs/reward-report
    """
    from alignloop.workflow.reward_report import reward_report

    found = reward_report(models, rankings, out, **options)
    for name in ("all", "own_labelers", "heldout_labelers"):
        if row := found.get(name):
            click.echo(
                f"{name.replace('_', ' '):<17}{row['accuracy']:>7.1%} of {row['pairs']} pairs right "
                f"(+- {row['standard_error']:.1%}), log loss {row['log_loss']:.3f}, "
                f"longer one {row['longer_wins']:.1%}"
            )
    click.echo(f"report in {out}")
