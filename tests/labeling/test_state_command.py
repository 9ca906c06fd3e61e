"""`alignloop label state` and `status`: a campaign is opened, paused, opened again and closed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from alignloop.store import campaigns
from alignloop.store.project import open_project

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def label(tmp_path: Path, run_cli: Run) -> Run:
    """`alignloop label VERB` on a project that has the campaign "texts"."""

    def run(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_cli("label", verb, "--project", tmp_path / "lab", *arguments)

    made = run("campaign", "texts", "--form", "write", "--prompts", "2")
    assert made.returncode == 0, made.stderr
    return run


def test_there_and_back(label: Run, tmp_path: Path) -> None:
    for state in ("open", "paused", "open", "closed"):
        told = label("state", "texts", state)
        assert (told.returncode, told.stdout) == (0, f"'texts' is {state}\n"), told.stderr
        assert f" {state} " in label("status").stdout

    store = open_project(tmp_path / "lab").open(create=False)
    with store.read() as connection:
        found = campaigns.get_campaign(connection, name="texts")
    store.close()
    assert (found.state, found.is_paused) == ("closed", False)


def test_only_what_is_open_can_be_paused(label: Run) -> None:
    refused = label("state", "texts", "paused")
    assert refused.returncode == 2
    assert "'texts' cannot be paused: it is not open" in refused.stderr
