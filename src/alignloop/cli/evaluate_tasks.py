"""`alignloop evaluate tasks`, `evaluate harness-tasks` and `evaluate published`."""

from __future__ import annotations

from collections.abc import Sequence
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
    held_out = ["text"] if arguments["text"] is not None else []
    files = task_files(_wanted(tasks or [*bundled_tasks(), *held_out]), arguments["text"])
    call_stage("evaluate_tasks", policies=named, tasks=files, **arguments)


@click.command("harness-tasks")
@path_option("--policy", "The policy that is to be asked; its tokenizer and context are read.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    required=True,
    metavar="NAME[=FILE]",
    help="A task with choices, and its file; may be repeated. The bundled file where none is given.",
)
@path_option("--out", "Folder for the tasks, to be given as the harness's --include_path.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["chat", "plain"]),
    default="chat",
    show_default=True,
    help="How the policy is asked, as in `evaluate tasks`.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses items and examples.")
@click.option("--limit", type=click.IntRange(min=1), help="Items of each task; all without it.")
def harness_tasks(
    policy: Path, tasks: tuple[str, ...], out: Path, form: str, seed: int, limit: int | None
) -> None:
    """Write choice tasks for EleutherAI's lm-evaluation-harness, as `evaluate tasks` asks them."""
    from alignloop.evaluation.suite.files import TASK_ROLE, task_files
    from alignloop.evaluation.suite.harness import write_harness_tasks
    from alignloop.evaluation.tasks.catalogue import task_called
    from alignloop.runs.artifact import open_artifact

    folder = open_artifact(policy, "policy").path
    for role, file in task_files(_wanted(tasks)).items():
        task = task_called(role.removeprefix(TASK_ROLE))
        for one in write_harness_tasks(task, file, folder, form, out, seed=seed, limit=limit):
            click.echo(
                f"{one.name}: {one.items} items"
                + (
                    f", of which the harness asks {one.differing} otherwise"
                    if one.differing
                    else ""
                )
            )
    click.echo(f"tokenizer: {folder}")


def _wanted(tasks: Sequence[str]) -> dict[str, Path | None]:
    """Names of tasks, each with its file or none."""
    wanted: dict[str, Path | None] = {}
    for one in tasks:
        name, separator, path = one.partition("=")
        if name in wanted:
            raise click.BadParameter(f"'{name}' is given twice", param_hint="--task")
        wanted[name] = Path(path) if separator else None
    return wanted


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
