"""`alignloop evaluate tasks` and `evaluate published`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, call_stage, named_paths, path_option, run_options


@click.command("tasks")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    required=True,
    metavar="NAME=PATH",
    help="A policy to ask; may be repeated.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME[=FILE]",
    help="A task and its file; may be repeated. The bundled file where none is given; every bundled task without this.",
)
@click.option(
    "--before", help="Name of a policy: the others' signed differences from it, per task."
)
@path_option(
    "--cache",
    "Folder of answers that are never drawn again; `cache` in the run folder without it.",
    required=False,
)
@path_option(
    "--text",
    "A `pretraining-text` artefact: its test side is the task `text`, and FairytaleQA asks about its stories alone.",
    required=False,
)
@path_option(
    "--toxic-words", "Score continuations by a file of words, one a line: crude.", required=False
)
@path_option(
    "--toxicity-classifier",
    "Score continuations by a Hugging Face sequence classifier in a folder.",
    required=False,
)
@click.option("--toxicity-url", help="Score continuations by a service that takes and gives JSON.")
@run_options
def tasks(policies: tuple[str, ...], tasks: tuple[str, ...], **arguments: Any) -> None:
    """Ask policies public tasks from local files; leaves an `evaluation-report` artefact with a page."""
    from alignloop.evaluation.suite.files import bundled_tasks, task_files

    named = named_paths(policies, "--policy")
    wanted: dict[str, Path | None] = {}
    held_out = ["text"] if arguments["text"] is not None else []
    for one in tasks or [*bundled_tasks(), *held_out]:
        name, separator, path = one.partition("=")
        if name in wanted:
            raise click.BadParameter(f"'{name}' is given twice", param_hint="--task")
        wanted[name] = Path(path) if separator else None
    call_stage(
        "evaluate_tasks", policies=named, tasks=task_files(wanted, arguments["text"]), **arguments
    )


@click.command("published")
@click.argument("folder", metavar="PATH", type=PATH)
@click.option("--out", type=PATH, help="Write the figures to this JSON file as well.")
def published(folder: Path, out: Path | None) -> None:
    """Hold the metrics against the paper's printed table, on its released samples in a folder of CSV files."""
    from alignloop.evaluation.suite.published import check, told
    from alignloop.files import write_json

    found = check(folder)
    for line in told(found):
        click.echo(line)
    if out is not None:
        write_json(out, found)
