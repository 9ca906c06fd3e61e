"""How every stage is called: the shared options, and the few lines that run a stage and say what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


def named_paths(pairs: Sequence[str], option: str, prefix: str = "") -> dict[str, Path]:
    """NAME=PATH words as names and paths; `prefix` goes before each name.

    Raises:
        click.BadParameter: a word is none, or a name is given twice.
    """
    named: dict[str, Path] = {}
    for pair in pairs:
        name, separator, path = pair.partition("=")
        if not separator or not name or not path:
            raise click.BadParameter(f"{pair}: write it as NAME=PATH", param_hint=option)
        if prefix + name in named:
            raise click.BadParameter(f"'{name}' is given twice", param_hint=option)
        named[prefix + name] = Path(path)
    return named


def listening_options(port: int) -> Callable[[F], F]:
    """--host, --port and --public, of a server."""
    options = (
        click.option(
            "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=port,
            show_default=True,
            help="Port to listen on; 0 takes a free one.",
        ),
        click.option(
            "--public",
            is_flag=True,
            help="Allow an address beyond this machine. Put a proxy with TLS before it.",
        ),
    )

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def config_options(function: F) -> F:
    """--config and --set."""
    options = (
        click.option(
            "--config",
            "config_path",
            type=PATH,
            help="TOML recipe, or a run's config.json to repeat that run. "
            "Without it: the defaults, the paper's where it has them.",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Override one config value, e.g. --set optimizer.learning_rate=1e-4. May be repeated.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def run_options(function: F) -> F:
    """--run, --config, --set and --resume."""
    function = click.option(
        "--resume",
        is_flag=True,
        help="Go on with the run in the folder from its last checkpoint.",
    )(function)
    return click.option(
        "--run",
        "run_folder",
        type=PATH,
        required=True,
        help="Folder of the run: made anew, or taken up with --resume.",
    )(config_options(function))


def path_option(name: str, text: str, *, required: bool = True) -> Callable[[F], F]:
    """An option that takes the path of an artefact or a file."""
    return click.option(name, type=PATH, required=required, help=text)


def project_options(function: F) -> F:
    """--project and --database."""
    function = click.option(
        "--database",
        help="URL of a PostgreSQL database, for a project that begins with it; SQLite in the folder without it.",
    )(function)
    return path_option("--project", "Folder of the project.")(function)


def longest_answer_option(default: int) -> Callable[[F], F]:
    """--max-new-tokens, of commands that draw answers without a config."""
    return click.option(
        "--max-new-tokens",
        type=click.IntRange(min=1),
        default=default,
        show_default=True,
        help="Longest answer.",
    )


def call_stage(
    stage: str,
    run_folder: Path,
    config_path: Path | None,
    overrides: tuple[str, ...],
    resume: bool,
    **inputs: Any,
) -> None:
    """Load the config, run the stage, print its facts on one line."""
    from alignloop.config import load_config
    from alignloop.workflow.stages import config_class, run_stage

    config = load_config(config_class(stage), config_path, overrides)
    artifact = run_stage(stage, run_folder, config, resume=resume, **inputs)
    if os.environ.get("RANK", "0") != "0":
        return  # of several ranks one speaks
    facts = ", ".join(
        f"{key} {_short(value)}" for key, value in artifact.facts.items() if key != "stage"
    )
    click.echo(f"{artifact.kind} in {run_folder}" + (f" ({facts})" if facts else ""))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "/".join(f"{key} {_short(inner)}" for key, inner in value.items())
    return f"[{len(value)}]" if isinstance(value, list) else str(value)
