"""`alignloop evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alignloop.cli.evaluate_tasks import harness_tasks, published, tasks
from alignloop.cli.options import PATH, call_stage, named_paths, path_option, run_options


@click.group("evaluate")
def command() -> None:
    """Win rates on held-out prompts; public tasks; bits per byte."""


@command.command("policies")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    required=True,
    metavar="NAME=PATH",
    help="A policy to compare; may be repeated. `sft` (the baseline) and `rl_init` (the reference) "
    "are needed; `base` is asked by templates.",
)
@path_option("--reward-model", "A `reward-model` artefact.")
@path_option("--prompts", "A `prompts` artefact; its `test` file is opened.")
@path_option(
    "--rankings",
    "The `rankings` that the reward model learned from, by `alignloop label simulate`.",
)
@path_option("--lexicon", "A `lexicon` artefact.")
@path_option("--text", "A `pretraining-text` artefact, for the loss on held-out titles.")
@path_option("--outside-judge", "A language model on other titles, which no labeler uses.")
@run_options
def policies(policies: tuple[str, ...], **arguments: Any) -> None:
    """Compare policies blind on held-out prompts; leaves an `evaluation-report` artefact."""
    call_stage("evaluate", policies=named_paths(policies, "--policy"), **arguments)


@command.command("win-rate")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME=PATH",
    help="A policy to compare; may be repeated.",
)
@click.option(
    "--baseline",
    required=True,
    metavar="NAME",
    help="The policy that all others are compared with.",
)
@path_option("--prompts", "A `prompts` artefact; its `test` file is opened.", required=False)
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="NAME=TEXT",
    help="How a model that knows no instructions is asked: a text with {prompt} or {context}, or "
    "NAME=@FILE. The chat format without it.",
)
@click.option(
    "--few-shot",
    "few_shot",
    multiple=True,
    metavar="NAME=FILE",
    help="Demonstrations that a policy is shown before each prompt, as JSON Lines.",
)
@click.option(
    "--stop",
    "stops",
    multiple=True,
    metavar="NAME=TEXT",
    help="What a policy writes from this text on is left out.",
)
@click.option(
    "--best-of",
    multiple=True,
    metavar="NAME=N",
    help="A policy answers N times, and --chooser keeps one answer.",
)
@path_option("--chooser", "The `reward-model` that chooses the best of n.", required=False)
@path_option(
    "--lexicon",
    "A `lexicon` artefact: the simulated labelers and gold judge by it.",
    required=False,
)
@click.option(
    "--reward-model",
    "reward_models",
    multiple=True,
    metavar="NAME=PATH",
    help="A `reward-model` that judges; may be repeated.",
)
@click.option(
    "--judge-url", help="Address of an OpenAI-style endpoint, up to /v1, whose model judges."
)
@click.option("--judge-model", help="Name of that model.")
@click.option(
    "--judge-key-env", metavar="VARIABLE", help="Environment variable that holds the key for it."
)
@click.option(
    "--campaign",
    metavar="PROJECT:NAME",
    help="A closed blind evaluation of a project: its answers, judged by its labelers. In place of policies.",
)
@click.option(
    "--make-campaign",
    "new_campaign",
    metavar="PROJECT:NAME",
    help="Put the answers into a project, as a blind campaign for people.",
)
@path_option(
    "--cache",
    "Folder of answers and judges' replies that runs share, so that nothing is drawn or asked "
    "twice; one in the run's folder without it.",
    required=False,
)
@run_options
def win_rate(
    policies: tuple[str, ...],
    templates: tuple[str, ...],
    few_shot: tuple[str, ...],
    reward_models: tuple[str, ...],
    **arguments: Any,
) -> None:
    """Win rates of any policies against a baseline and one another; leaves an `evaluation-report` artefact.

    Judges: simulated labelers, reward models, a model behind an endpoint, people. Name one or more.
    """
    files = tuple(pair for pair in templates if pair.partition("=")[2].startswith("@"))
    call_stage(
        "win_rate",
        policies=named_paths(policies, "--policy"),
        templates=[pair for pair in templates if pair not in files],
        template_files=named_paths(
            tuple(pair.replace("=@", "=", 1) for pair in files), "--template", "template-"
        ),
        few_shot=named_paths(few_shot, "--few-shot", "few_shot-"),
        reward_models=named_paths(reward_models, "--reward-model", "reward_model-"),
        **arguments,
    )


@command.command("select-prefix")
@path_option("--model", "A `policy` that knows no instructions.")
@path_option("--reward-model", "The `reward-model` that decides.")
@path_option("--prompts", "A `prompts` artefact; its `valid` file is used.")
@click.option(
    "--candidate",
    "candidates",
    type=PATH,
    multiple=True,
    required=True,
    metavar="FILE",
    help="A text file, a template with {prompt} or {context} in it; two or more.",
)
@path_option("--cache", "Folder of answers that runs share.", required=False)
@run_options
def select_prefix(**arguments: Any) -> None:
    """Find the way to ask a base model whose answers the reward model likes best, on validation prompts.

    Leaves an `evaluation-report` with `template.txt`, which win-rate takes as --template NAME=@FILE.
    """
    call_stage("select_prefix", **arguments)


@command.command("select")
@click.option(
    "--candidate",
    "candidates",
    type=PATH,
    multiple=True,
    required=True,
    help="A policy; may be repeated.",
)
@path_option("--reward-model", "A `reward-model` artefact.")
@path_option("--prompts", "A `prompts` artefact; its `valid` file is used.")
@run_options
def select(**arguments: Any) -> None:
    """Leave the candidate whose answers the reward model likes best: how SFT epochs are chosen."""
    call_stage("select", **arguments)


@command.command("epochs")
@path_option("--sft", "The whole run folder of a finished `alignloop sft`.")
@path_option(
    "--reward-model", "A `reward-model` artefact: scores every epoch's answers.", required=False
)
@path_option("--prompts", "A `prompts` artefact; its `valid` file is used.", required=False)
@run_options
def epochs(**arguments: Any) -> None:
    """Leave the best epoch of an SFT run, and the curves of loss and reward-model score over its epochs.

    By reward-model score, as in the paper; before there is a reward model: --set select_by=last, or loss.
    """
    call_stage("epochs", **arguments)


@command.command("text")
@path_option("--model", "A `policy` artefact.")
@path_option("--text", "A `pretraining-text` artefact.")
@click.option("--out", type=PATH, help="Write the figures to this JSON file as well.")
def text(model: Path, text: Path, out: Path | None) -> None:
    """Bits per byte on held-out titles, beside a 5-gram model and gzip on the same bytes."""
    from alignloop.data.jsonl import read_records
    from alignloop.data.records import Text
    from alignloop.evaluation.language_model import bits_per_byte
    from alignloop.files import write_json
    from alignloop.models.loading import load_causal_lm, load_tokenizer
    from alignloop.runs.artifact import open_artifact

    policy, source = open_artifact(model, "policy"), open_artifact(text, "pretraining-text")
    found = bits_per_byte(
        load_causal_lm(policy.path),
        load_tokenizer(policy.path),
        read_records(source.file("train.jsonl.gz"), Text),
        read_records(source.file("test.jsonl.gz"), Text),
    )
    click.echo(f"{'source':<16}{'bytes':>10}{'model':>8}{'5-gram':>8}{'gzip':>8}")
    for name, row in [*found["by_source"].items(), ("all", found)]:
        click.echo(
            f"{name:<16}{row['bytes']:>10}{row['model']:>8.3f}{row['five_gram']:>8.3f}{row['gzip']:>8.3f}"
        )
    if out is not None:
        write_json(out, found)


command.add_command(tasks)
command.add_command(harness_tasks)
command.add_command(published)
