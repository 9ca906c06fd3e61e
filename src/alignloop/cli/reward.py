"""`alignloop reward`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, F, call_stage, path_option, run_options

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


@command.command("score")
@path_option("--model", "A `reward-model`, or any Hugging Face folder of one.")
@path_option("--answers", "JSON Lines of a `prompt` and a `response`, or of `messages`.")
@path_option("--out", "JSON Lines of the same with a `score`.")
def score(model: Path, answers: Path, out: Path) -> None:
    """Score answers to prompts; any Hugging Face reward model will do.

    Example: alignloop reward score --model runs/reward --answers answers.jsonl --out scores.jsonl
    """
    from alignloop.workflow.reward_score import score_answers

    scores = score_answers(model, answers, out)
    click.echo(f"{len(scores)} answers scored {sum(scores) / len(scores):.3f} on average; in {out}")


def study_options(function: F) -> F:
    """What both studies are given: the inputs of `train`, a folder that they take up again, a config."""
    options = (
        path_option("--model", _MODEL),
        path_option("--rankings", "A `rankings` artefact."),
        path_option("--demonstrations", _DEMONSTRATIONS),
        path_option("--out", "Folder of the study; what is finished there is taken up again."),
        click.option("--config", "recipe_path", type=PATH, help="TOML recipe of `reward train`."),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Override one config value. May be repeated.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command.command("cross-validate")
@study_options
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="Groups of labelers, and parts of the prompts.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Reward models per fold, from the config's seed on.",
)
def cross_validate(
    recipe_path: Path | None,
    overrides: tuple[str, ...],
    out: Path,
    folds: int,
    seeds: int,
    **inputs: Path,
) -> None:
    """Own labelers against a held-out group, on held-out prompts, beside the paper's 72.4 and 69.6 %.

    Example: alignloop reward cross-validate --model runs/sft --rankings runs/rankings
    --demonstrations runs/demonstrations --out runs/folds
    """
    from alignloop.config import load_config
    from alignloop.reward.config import RewardConfig
    from alignloop.workflow.studies import reward_model as studies

    config = load_config(RewardConfig, recipe_path, overrides)
    found = studies.cross_validate(
        config, studies.Inputs(**inputs), out, click.echo, folds=folds, seeds=seeds
    )
    click.echo(f"{'':<28}{'ours':>16}{'the paper':>16}")
    for name, text in (
        ("own_labelers", "own labelers"),
        ("heldout_labelers", "a held-out group"),
        ("difference", "difference"),
        ("own_labelers_ensemble", f"own, mean of {seeds} scores"),
        ("heldout_labelers_ensemble", f"held out, mean of {seeds} scores"),
    ):
        click.echo(f"{text:<28}{_percent(found[name]):>16}{_percent(found['paper'].get(name)):>16}")
    click.echo(
        "ours: means over folds, of means over seeds, and standard errors over folds, on prompts that were not trained "
        "on. The paper has 40 labelers, 33,000 prompts and a 6B model, and does not say over what its errors are taken."
    )


@command.command("sweep")
@study_options
@click.option(
    "--factor",
    "factors",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(0.5, 1.0, 1.5),
    show_default=True,
    help="Multiple of the config's learning rate; may be repeated.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Reward models per factor, from the config's seed on.",
)
def sweep(
    recipe_path: Path | None,
    overrides: tuple[str, ...],
    out: Path,
    factors: tuple[float, ...],
    seeds: int,
    **inputs: Path,
) -> None:
    """The learning rate times 0.5, 1 and 1.5: does it matter? Several seeds make the members of an ensemble.

    Example: alignloop reward sweep --model runs/sft --rankings runs/rankings
    --demonstrations runs/demonstrations --out runs/sweep
    """
    from alignloop.config import load_config
    from alignloop.reward.config import RewardConfig
    from alignloop.workflow.studies import reward_model as studies

    config = load_config(RewardConfig, recipe_path, overrides)
    studies.sweep(config, studies.Inputs(**inputs), out, click.echo, factors=factors, seeds=seeds)
    click.echo(f"table in {out / 'sweep.json'}")


def _percent(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return ""
    return f"{100 * estimate['mean']:.1f} +- {100 * estimate['standard_error']:.1f} %"
