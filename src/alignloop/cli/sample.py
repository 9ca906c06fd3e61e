"""`alignloop sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, call_stage, path_option, run_options

_UNNAMED = "completions"


class SampleGroup(click.Group):
    """Without a verb, `alignloop sample --model ...` is `alignloop sample completions --model ...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("--help", "-h"):
            args = [_UNNAMED, *args]
        return super().parse_args(ctx, args)


@click.group("sample", cls=SampleGroup)
def command() -> None:
    """Draw completions from a policy: to be ranked, or for a reward model to choose from.

    Without a verb it is `completions`.
    """


_name = click.option(
    "--name", default="policy", show_default=True, help="What the completions call the model."
)


@command.command("completions")
@path_option("--model", "The `policy` that answers.")
@path_option(
    "--prompts", "A `prompts` artefact; or `demonstrations`, whose prompts are asked once more."
)
@click.option(
    "--file",
    "files",
    multiple=True,
    default=("rankings", "valid"),
    show_default=True,
    help="Which of its files, without suffix; may be repeated.",
)
@_name
@click.option(
    "--to-campaign",
    help="Also make tasks of a ranking campaign from them, which is made where it is not there.",
)
@path_option(
    "--project",
    "Project of that campaign; without a campaign, one that keeps them for later ones.",
    required=False,
)
@run_options
def completions(to_campaign: str | None, project: Path | None, **arguments: Any) -> None:
    """Draw K = 4 to 9 distinct completions per prompt, to be ranked; leaves a `completions` artefact.

    Example: alignloop sample --model runs/sft --prompts runs/prompts --run runs/completions

    And on to people: ... --to-campaign "first rankings" --project mylab
    """
    if to_campaign is not None and project is None:
        raise click.UsageError("--to-campaign needs the --project that it belongs to")
    call_stage("sample", **arguments)
    if project is not None:
        from alignloop.labeling.filling import fill_campaign, keep_completions

        drawn = (arguments["run_folder"], arguments["files"])
        if to_campaign is None:
            click.echo(keep_completions(project, *drawn))
        else:
            click.echo(fill_campaign(project, to_campaign, *drawn))


@command.command("best-of-n")
@path_option("--model", "The `policy` that answers.")
@path_option("--reward-model", "The `reward-model` that chooses.")
@path_option("--prompts", "A `prompts` artefact.")
@click.option(
    "--file",
    "files",
    multiple=True,
    default=("valid",),
    show_default=True,
    help="Which of its files, without suffix; may be repeated.",
)
@_name
@run_options
def best_of_n(**arguments: Any) -> None:
    """Keep the best of n answers to each prompt; leaves a `completions` artefact, one per prompt.

    Example: alignloop sample best-of-n --model runs/sft --reward-model runs/reward
    --prompts runs/prompts --run runs/best
    """
    call_stage("best_of_n", **arguments)


@command.command("rejection")
@path_option("--model", "The `policy` that answers.")
@path_option("--reward-model", "The `reward-model` that chooses.")
@path_option("--prompts", "A `prompts` artefact; its `valid` file gives the validation side.")
@click.option(
    "--file",
    default="rl",
    show_default=True,
    help="Which of its files, without suffix, gives the train side.",
)
@click.option("--name", default="policy", show_default=True, help="The demonstrations' `labeler`.")
@run_options
def rejection(**arguments: Any) -> None:
    """Keep the best answers as `demonstrations`, for `alignloop sft` to learn from.

    Example: alignloop sample rejection --model runs/sft --reward-model runs/reward
    --prompts runs/prompts --run runs/kept
    """
    call_stage("reject", **arguments)


@command.command("expert-iteration")
@path_option("--model", "The `policy` to start from.")
@path_option("--reward-model", "The `reward-model` that chooses.")
@path_option("--prompts", "A `prompts` artefact; policies are measured on its `valid` file.")
@click.option(
    "--file",
    default="rl",
    show_default=True,
    help="Which of its files, without suffix, is answered in every round.",
)
@click.option(
    "--out",
    type=PATH,
    required=True,
    help="Folder of the rounds; the same command goes on where it was.",
)
@click.option(
    "--config",
    "settings",
    type=PATH,
    help="TOML: `rounds`, `copies`, and the tables `rejection` and `sft`.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one value, e.g. --set rejection.n=8. May be repeated.",
)
def expert_iteration(
    out: Path, settings: Path | None, overrides: tuple[str, ...], **inputs: Any
) -> None:
    """Rounds of rejection sampling and SFT, each from the policy of the round before.

    Example: alignloop sample expert-iteration --model runs/sft --reward-model runs/reward
    --prompts runs/prompts --out runs/expert --set rounds=3
    """
    from alignloop.config import load_config
    from alignloop.workflow.expert_iteration import ExpertIterationConfig, expert_iteration

    config = load_config(ExpertIterationConfig, settings, overrides)
    result = expert_iteration(out, config, click.echo, **inputs)
    click.echo(f"policy in {out}/round_{result['rows'][-1]['round']:02d}/sft")
