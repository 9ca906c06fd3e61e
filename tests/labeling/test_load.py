"""Loads on the real server, for seconds: nothing lost, nothing doubled, no 5xx. Times are measured in benchmarks/."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.labeling.check import check
from benchmarks.labeling.lab import make_lab
from benchmarks.labeling.people import work
from benchmarks.labeling.server import killed_again_and_again, serving
from tests import postgres

BRIEF = pytest.param(2.5, 12, 0, id="2.5 seconds")
SHORT = pytest.param(5.0, 12, 2, id="5 seconds")  # time for a server to start twice
LONG = pytest.param(60.0, 50, 10, id="a minute", marks=pytest.mark.full)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """None for SQLite in the project's folder, or the URL of a server of its own."""
    if request.param == "sqlite":
        yield None
        return
    if postgres.programs() is None:
        pytest.skip(postgres.NOT_INSTALLED)
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with postgres.server(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(("seconds", "people", "kills"), [BRIEF, LONG])
def test_people_at_work_lose_nothing(
    tmp_path: Path, database: str | None, seconds: float, people: int, kills: int
) -> None:
    del kills
    tasks = int(seconds * 6) + 10
    lab = make_lab(tmp_path, people_count=people, tasks=tasks, database=database)
    with serving(tmp_path) as server:
        log = work(lab, server.url, seconds=seconds, thought=0.1)

    assert log.server_errors == []
    assert log.surprises == []
    assert log.acknowledged
    verdict = check(lab, log)
    assert verdict.is_clean, verdict


@pytest.mark.parametrize(("seconds", "people", "kills"), [SHORT, LONG])
def test_people_at_work_lose_nothing_when_the_server_is_killed(
    tmp_path: Path, database: str | None, seconds: float, people: int, kills: int
) -> None:
    lab = make_lab(tmp_path, people_count=people, tasks=int(seconds * 6) + 10, database=database)
    with serving(tmp_path) as server, killed_again_and_again(server, kills, seconds) as killed:
        log = work(lab, server.url, seconds=seconds, thought=0.2, patient=True)

    assert killed
    assert log.dropped > 0
    assert log.server_errors == []
    assert log.surprises == []
    verdict = check(lab, log)
    assert verdict.is_clean, verdict
    assert verdict.submissions >= len(log.acknowledged) > 0
