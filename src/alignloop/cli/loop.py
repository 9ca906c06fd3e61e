"""`alignloop loop`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH, path_option


@click.command("loop")
@path_option("--project", "Folder of the project.")
@click.option(
    "--config",
    "settings",
    type=PATH,
    help="TOML file of the loop's settings; `loop.toml` in the project without it, or the defaults.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one of them, e.g. --set demonstrations.train=50. May be repeated.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="Rounds of rankings, reward model, PPO and evaluation; as the settings say without it.",
)
@click.option(
    "--control",
    is_flag=True,
    help="From the second round on, also spend as many labels on answers of the SFT model, train alike, and compare.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1, max=10),
    help="Repeat all of it under so many seeds, on the bundled stories and by simulated labelers alone.",
)
@click.option(
    "--labelers",
    type=click.Choice(["people", "simulated"]),
    default="people",
    show_default=True,
    help="Who ranks and votes. Simulated labelers are code: a first look, and no evidence.",
)
def command(
    project: Path,
    settings: Path | None,
    overrides: tuple[str, ...],
    rounds: int | None,
    control: bool,
    seeds: int | None,
    labelers: str,
) -> None:
    """Take a project from whatever there is to the next stage that needs a person, and say what it waits for.

    Call it again when labels have arrived, or after an interruption: nothing is done twice.

    Example: alignloop loop --project mylab --rounds 2
    """
    from alignloop.store.project import open_project
    from alignloop.workflow.loop import names
    from alignloop.workflow.loop.config import read_config
    from alignloop.workflow.loop.drive import LOUD, loop
    from alignloop.workflow.loop.seeds import loop_seeds
    from alignloop.workflow.loop.steps import Wait, arm_of
    from alignloop.workflow.loop.view import result_lines, seed_lines

    simulated = labelers == "simulated"
    if seeds and not simulated:
        raise click.UsageError("--seeds needs --labelers simulated: people label once")
    sets = (*overrides, "control=true") if control else overrides
    config = read_config(project, settings, sets)
    last = rounds or config.rounds
    if config.control and last < 2:
        raise click.UsageError(
            "a control begins with the second round, since the first samples from the SFT model anyway: --rounds 2"
        )
    opened = open_project(project)
    if simulated:
        click.echo(LOUD)
    if seeds:
        end = loop_seeds(opened, config, rounds=last, seeds=seeds, say=click.echo)
    else:
        end = loop(opened, config, rounds=last, simulated=simulated, say=click.echo)
    if isinstance(end, Wait):
        for line in end.told(project):
            click.echo(line)
        asked = {"--config": settings, "--rounds": rounds, "--seeds": seeds}
        flags = ["--control"] if control else []
        flags += ["--labelers", labelers] if simulated else []
        click.echo(f"then call again: {_again(project, asked, overrides, flags)}")
        return
    arm = arm_of(config, last)
    click.echo(f"done: round {last} has its evaluation")
    if seeds:
        _tell(opened.folder / "runs" / names.seeds(last, seeds, arm), seed_lines)
    else:
        _tell(opened.folder / "runs" / names.rounds(last, arm), result_lines)
    click.echo(f"the project on one screen: alignloop status --project {project}")
    if simulated:
        click.echo(LOUD)


def _tell(run: Path, lines: Callable[[dict[str, Any]], Iterable[str]]) -> None:
    from alignloop.workflow.overview.runs import json_at

    for line in lines(json_at(run / "artifact" / "report.json")):
        click.echo(line)
    click.echo(f"all figures on a page: {run / 'artifact' / 'report.html'}")


def _again(
    project: Path, asked: dict[str, Any], overrides: tuple[str, ...], flags: list[str]
) -> str:
    import shlex

    words = ["alignloop", "loop", "--project", str(project)]
    words += [str(word) for pair in asked.items() if pair[1] is not None for word in pair]
    words += [word for override in overrides for word in ("--set", override)]
    return shlex.join([*words, *flags])
