"""`alignloop data`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, call_stage, path_option, run_options


@click.group("data")
def command() -> None:
    """Collect and split: the bundled stories, prompts, demonstrations."""


@command.command("stories")
@run_options
def stories(**arguments: Any) -> None:
    """Split the bundled children's stories by title; leaves a `pretraining-text` artefact."""
    call_stage("stories", **arguments)


@command.command("demonstrations")
@path_option("--text", "The `pretraining-text` artefact whose split is obeyed.")
@run_options
def demonstrations(**arguments: Any) -> None:
    """Story tasks and questions with human answers; leaves a `demonstrations` artefact."""
    call_stage("demonstrations", **arguments)


@command.command("prompts")
@path_option("--text", "The `pretraining-text` artefact whose split is obeyed.")
@run_options
def prompts(**arguments: Any) -> None:
    """Story prompts for rankings, RL, validation and test; leaves a `prompts` artefact."""
    call_stage("prompts", **arguments)


@command.command("multitask")
@click.option(
    "--hold-out",
    "hold_out",
    multiple=True,
    metavar="CLUSTER",
    help="A cluster of tasks to learn nothing from; may be repeated.",
)
@path_option(
    "--text",
    "A `pretraining-text` artefact: FairytaleQA's questions join, each on its story's side.",
    required=False,
)
@click.option("--rows", multiple=True, type=PATH, help="A file of more tasks; may be repeated.")
@run_options
def multitask(
    hold_out: tuple[str, ...], rows: tuple[Path, ...], overrides: tuple[str, ...], **arguments: Any
) -> None:
    """Public tasks under instructions, without whole clusters (FLAN); leaves a `demonstrations` artefact.

    Example: alignloop data multitask --hold-out sentiment --run runs/multitask
    """
    given = (f"hold_out={json.dumps(hold_out)}",) if hold_out else ()
    call_stage("multitask", overrides=(*given, *overrides), rows=rows, **arguments)


@command.command("import")
@click.argument("source", type=PATH)
@click.option(
    "--kind",
    type=click.Choice(["pretraining-text", "demonstrations", "prompts", "rankings"]),
    required=True,
    help="What the file holds; docs/file-formats.md has the records.",
)
@run_options
def import_(kind: str, overrides: tuple[str, ...], **arguments: Any) -> None:
    """Your own records from a JSON Lines file SOURCE, split by group; leaves an artefact of that kind.

    Example: alignloop data import mine.jsonl --kind demonstrations --run runs/demonstrations
    """
    call_stage("import", overrides=(f'kind="{kind}"', *overrides), **arguments)
