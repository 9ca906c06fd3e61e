"""`alignloop evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alignloop.cli.evaluate_tasks import published, tasks
from alignloop.cli.options import PATH, call_stage, path_option, run_options


@click.group("evaluate")
def command() -> None:
    """Blind comparison on held-out prompts; public tasks; bits per byte."""


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
    named: dict[str, Path] = {}
    for pair in policies:
        name, separator, path = pair.partition("=")
        if not separator:
            raise click.BadParameter(f"{pair}: write it as NAME=PATH", param_hint="--policy")
        if name in named:
            raise click.BadParameter(f"'{name}' is given twice", param_hint="--policy")
        named[name] = Path(path)
    call_stage("evaluate", policies=named, **arguments)


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
command.add_command(published)
