"""`alignloop study`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, longest_answer_option, path_option
from alignloop.workflow.studies.registry import STUDIES


@click.group("study")
def command() -> None:
    """Longer experiments: many runs, and what they say of one setting or method."""


_OUT = click.Option(
    ["--out"],
    type=PATH,
    default=Path("studies"),
    show_default=True,
    help="Folder of all studies; what is there already is passed over.",
)
_OPTIONS: tuple[click.Option, ...] = (
    _OUT,
    click.Option(
        ["--seeds"],
        type=click.IntRange(1, 20),
        default=3,
        show_default=True,
        help="Seeds, from 1 on; each has its own data, trainings and answers.",
    ),
    click.Option(
        ["--base"],
        type=click.Choice(["small", "medium", "demo"]),
        help="Another base model than the study's own; not for a study that compares them.",
    ),
    click.Option(
        ["--quick"], is_flag=True, help="One seed, and a smaller base where there is one."
    ),
    click.Option(
        ["--demo"], type=PATH, help="A finished demo, to build on for its seed and the demo's base."
    ),
    click.Option(
        ["--precision"],
        type=click.Choice(["bfloat16", "float32"]),
        default="bfloat16",
        show_default=True,
        help="Arithmetic of the matrix products in training and drawing.",
    ),
    click.Option(
        ["--jobs"],
        type=click.IntRange(1, 64),
        help="Processes at once, each with its share of the cores. Without it one per core, at most 4.",
    ),
    click.Option(
        ["--smoke"],
        is_flag=True,
        help="Tiny counts: shows that it runs; its verdicts mean nothing.",
    ),
)


def _run(names: Sequence[str], out: Path, **options: Any) -> None:
    """Run studies, and write the page."""
    from alignloop.workflow.studies.foundation import Ground
    from alignloop.workflow.studies.page import write_page
    from alignloop.workflow.studies.registry import study_of
    from alignloop.workflow.studies.run import Asked, run_studies
    from alignloop.workflow.studies.workers import usual_jobs

    ground = Ground(
        out, options["precision"], options["smoke"], click.echo, finished=options["demo"]
    )
    asked = Asked(ground, options["seeds"], options["quick"], options.get("base"))
    studies = [study_of(name) for name in names]
    jobs = options["jobs"] or usual_jobs()
    run_studies(studies, asked, click.echo, after=lambda: write_page(out), jobs=jobs)
    click.echo(f"page: {out / 'studies.html'}")


def _add(
    name: str, names: Sequence[str], text: str, options: Sequence[click.Option] = _OPTIONS
) -> None:
    def run(**given: Any) -> None:
        _run(names, **given)

    command.add_command(click.Command(name, callback=run, params=list(options), help=text))


for _name, _entry in STUDIES.items():
    _add(_name, [_name], _entry.help)
# Some of them compare the bases, so all together have none to choose.
_FOR_ALL = [option for option in _OPTIONS if option.name != "base"]
_add("all", list(STUDIES), "Every study of one page, one after another.", _FOR_ALL)


@command.command("page", params=[_OUT])
def page(out: Path) -> None:
    """Write the page of all finished studies again."""
    from alignloop.workflow.studies.page import write_page

    click.echo(f"page: {write_page(out)}")


@command.command("learning-rate")
@path_option(
    "--model", "A `policy` artefact, its run folder, or any Hugging Face causal LM folder."
)
@path_option("--demonstrations", "A `demonstrations` artefact.")
@path_option("--text", "A `pretraining-text` artefact, for pretraining_mix > 0.", required=False)
@path_option(
    "--reward-model", "A `reward-model` artefact, to choose by its scores.", required=False
)
@path_option("--prompts", "A `prompts` artefact; its `valid` file is used.", required=False)
@path_option("--out", "Folder of the study; the same command goes on in it.")
@click.option("--config", "recipe", type=PATH, help="TOML recipe of `alignloop sft`.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of the SFT config.",
)
@click.option(
    "--count", type=click.IntRange(min=2), default=7, show_default=True, help="How many rates."
)
@click.option(
    "--factor",
    type=click.FloatRange(min=1.1),
    default=2.0,
    show_default=True,
    help="How many times the rate before each rate is.",
)
@longest_answer_option(96)
def learning_rate(
    out: Path,
    recipe: Path | None,
    overrides: tuple[str, ...],
    count: int,
    factor: float,
    max_new_tokens: int,
    model: Path,
    demonstrations: Path,
    text: Path | None,
    reward_model: Path | None,
    prompts: Path | None,
) -> None:
    """SFT at several learning rates around the config's, of each the best epoch, and of those the best rate.

    By reward-model score on validation prompts, or without a reward model by validation loss.
    """
    from alignloop.config import load_config
    from alignloop.evaluation.config import EpochsConfig
    from alignloop.generation.engine import SamplingConfig
    from alignloop.sft.config import SFTConfig
    from alignloop.workflow.studies.learning_rate import learning_rate_sweep
    from alignloop.workflow.studies.sweep import refuse_varied

    refuse_varied("optimizer.learning_rate", overrides)
    config = load_config(SFTConfig, recipe, overrides)
    if (reward_model is None) != (prompts is None):
        raise click.UsageError("--reward-model and --prompts go together")
    inputs = {"model": model, "demonstrations": demonstrations, "text": text}
    judge = {"reward_model": reward_model, "prompts": prompts}
    result = learning_rate_sweep(
        out,
        click.echo,
        config,
        EpochsConfig(sampling=SamplingConfig(max_new_tokens=max_new_tokens)),
        inputs={name: path for name, path in inputs.items() if path is not None},
        judge={name: path for name, path in judge.items() if path is not None},
        factor=factor,
        count=count,
    )
    click.echo(
        f"chosen by {result['by']}: {result['chosen']:g}"
        + (", at the end of the grid: a better one may lie beyond" if result["at_edge"] else "")
    )


@command.command("human-judgments")
@path_option("--out", "Folder of the study; the same command goes on in it.")
@path_option(
    "--model",
    "A `policy` artefact, its run folder, or any Hugging Face causal LM folder; the shipped base model without it.",
    required=False,
)
@click.option(
    "--config",
    "recipe",
    type=PATH,
    help="TOML recipe of `alignloop reward`; `recipes/studies/human_judgments.toml` without it.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of the recipe.",
)
@click.option(
    "--only",
    "sets",
    multiple=True,
    metavar="DATA_SET",
    help="One of the five data sets; may be repeated. All of them without it.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Reward models per data set, from the recipe's seed on.",
)
@click.option("--together", is_flag=True, help="One more, of one seed, trained on all data sets.")
def human_judgments(
    out: Path,
    model: Path | None,
    recipe: Path | None,
    overrides: tuple[str, ...],
    sets: tuple[str, ...],
    seeds: int,
    together: bool,
) -> None:
    """Reward models on five bundled sets of people's judgments, beside "longer wins" and a bag of bigrams.

    Tested on held-out prompts, with intervals. Stop it at any time: the same command goes on.
    """
    from alignloop import resources
    from alignloop.config import load_config
    from alignloop.data.human_judgments import JUDGMENTS
    from alignloop.reward.config import RewardConfig
    from alignloop.workflow.studies import human_judgments as study

    place = recipe or resources.recipe("studies", "human_judgments.toml")
    settings = study.Settings(
        model=model or resources.asset("base"),
        reward=load_config(RewardConfig, place, overrides),
        sets=sets or tuple(JUDGMENTS),
        seeds=seeds,
        together=together,
    )
    study.human_judgments(settings, out, click.echo)
    click.echo(f"figures: {out / 'human_judgments.json'}\npage:    {out / 'human_judgments.html'}")
