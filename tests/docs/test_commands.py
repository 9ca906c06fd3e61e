"""Every command that the docs show can be given: the verbs, options, recipes and config keys in it exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from alignloop.cli.main import app
from alignloop.config import load_config
from alignloop.errors import ConfigError
from alignloop.workflow.stages import config_class
from tests.docs.tables import ROOT, commands
from tests.docs.test_pages import PAGES, id_of

_BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
PROGRAMS = ("alignloop", "./alignloop")


def shown_commands(text: str) -> list[list[str]]:
    """The words of every alignloop command in the shell blocks of a page."""
    found: list[list[str]] = []
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and _ASSIGNMENT.match(words[0]):
                words = words[1:]
            if words[:1] == ["python3"] and words[1:2] == ["alignloop"]:
                words = words[1:]
            if words and words[0] in PROGRAMS:
                found.append(words)
    return found


def check(words: list[str]) -> None:
    """Parse a command as the program would, then load its config; run nothing.

    Raises:
        click.ClickException: there is no such verb or option, or one that is needed is missing.
        ConfigError: a recipe or `--set` that cannot be used.
    """
    program, arguments = words[0], words[1:]
    if program == "./alignloop" and arguments[:1] == ["test"]:
        return  # a verb of the entry script; the rest is for pytest
    command: click.Command = app
    context = app.make_context("alignloop", list(arguments), resilient_parsing=not arguments)
    while isinstance(command, click.Group):
        if "--version" in arguments:
            return
        rest = [*context._protected_args, *context.args]
        name, inner, rest = command.resolve_command(context, rest)
        assert inner is not None and name is not None
        command, context = inner, inner.make_context(name, rest, parent=context)
    if command.name == "doctor":  # it reads the config of another command, and runs no stage
        recipe, overrides = (context.params[name] for name in ("config_path", "overrides"))
        load_config(config_class("ppo"), None if recipe is None else ROOT / recipe, overrides)
    elif "config_path" in context.params:
        load_what_it_configures(command, context.params)


def load_what_it_configures(command: click.Command, params: dict[str, Any]) -> None:
    """Load the config that a command would load: its callback is called with `call_stage` replaced."""
    asked: list[tuple[str, Path | None, tuple[str, ...]]] = []

    def note(stage: str, *, config_path: Path | None, overrides: tuple[str, ...], **_: Any) -> None:
        asked.append((stage, config_path, overrides))

    callback = command.callback
    assert callback is not None
    names = callback.__globals__
    before = names["call_stage"]
    names["call_stage"] = note
    try:
        callback(**params)
    finally:
        names["call_stage"] = before
    ((stage, recipe, overrides),) = asked
    load_config(config_class(stage), None if recipe is None else ROOT / recipe, overrides)


def every_shown_command() -> list[tuple[str, list[str]]]:
    return [
        (f"{id_of(page)}: {' '.join(words)[:70]}", words)
        for page in PAGES
        for words in shown_commands(page.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(
    "words", [w for _, w in every_shown_command()], ids=lambda w: " ".join(w)[:60]
)
def test_a_command_in_the_docs_can_be_given(words: list[str]) -> None:
    try:
        check(words)
    except click.exceptions.Exit:  # --help, --version
        pass
    except click.ClickException as error:
        pytest.fail(f"{' '.join(words)}: {error.format_message()}")


def test_the_docs_show_every_command() -> None:
    shown = [" ".join(words[1:]) for _, words in every_shown_command()]

    for words in commands():
        assert any(line.startswith(" ".join(words)) for line in shown), f"{words} is never shown"


@pytest.mark.parametrize(
    "line",
    [
        "alignloop nonsense",
        "alignloop data nonsense",
        "alignloop sft --model m --run r --demonstrations d --no-such-option",
        "alignloop sft --model m --run r",
        "alignloop chat",
        "alignloop sft --model m --demonstrations d --run r --set no_such_key=1",
        "alignloop sft --model m --demonstrations d --run r --config recipes/demo/no_such.toml",
        "alignloop sft --model m --demonstrations d --run r --config recipes/demo/ppo.toml",
    ],
)
def test_a_command_that_cannot_be_given_is_found(line: str) -> None:
    ((words),) = shown_commands(f"```sh\n{line}\n```\n")

    with pytest.raises((click.ClickException, ConfigError)):
        check(words)
