"""`alignloop loop`."""

from __future__ import annotations

from pathlib import Path

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
    labelers: str,
) -> None:
    """Take a project from whatever there is to the next stage that needs a person, and say what it waits for.

    Call it again when labels have arrived, or after an interruption: nothing is done twice.

    Example: alignloop loop --project mylab --rounds 2
    """
    from alignloop.store.project import open_project
    from alignloop.workflow.loop.config import read_config
    from alignloop.workflow.loop.drive import LOUD, loop
    from alignloop.workflow.loop.names import rounds as rounds_run
    from alignloop.workflow.loop.steps import Wait, arm_of
    from alignloop.workflow.loop.view import result_lines
    from alignloop.workflow.overview.runs import json_at

    simulated = labelers == "simulated"
    sets = (*overrides, "control=true") if control else overrides
    config = read_config(project, settings, sets)
    opened = open_project(project)
    if simulated:
        click.echo(LOUD)
    end = loop(opened, config, rounds=rounds or config.rounds, simulated=simulated, say=click.echo)
    if isinstance(end, Wait):
        for line in end.told(project):
            click.echo(line)
        click.echo(
            f"then call again: {_again(project, settings, overrides, rounds, control, labelers)}"
        )
        return
    click.echo(f"done: round {end.rounds} has its evaluation")
    report = opened.folder / "runs" / rounds_run(end.rounds, arm_of(config, end.rounds))
    for line in result_lines(json_at(report / "artifact" / "report.json")):
        click.echo(line)
    click.echo(f"the rounds on a page: {report / 'artifact' / 'report.html'}")
    click.echo(f"the project on one screen: alignloop status --project {project}")
    if simulated:
        click.echo(LOUD)


def _again(
    project: Path,
    settings: Path | None,
    overrides: tuple[str, ...],
    rounds: int | None,
    control: bool,
    labelers: str,
) -> str:
    import shlex

    words = ["alignloop", "loop", "--project", str(project)]
    words += ["--config", str(settings)] if settings else []
    words += [word for override in overrides for word in ("--set", override)]
    words += ["--rounds", str(rounds)] if rounds else []
    words += ["--control"] if control else []
    words += ["--labelers", labelers] if labelers != "people" else []
    return shlex.join(words)
