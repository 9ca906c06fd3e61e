"""An import that was killed at any moment, and started again, leaves what an undisturbed one leaves.

Real processes, ended by SIGKILL: at points between any two things that an import does, and at moments by the clock.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from alignloop.store.project import open_project
from tests.workflow.prompts.helpers import everything, imported, rows, some, write

DRIVER = """
import os, signal, sys
from alignloop.data.curation import examine
from alignloop.store import bulk, events, prompts
from alignloop.workflow.prompts import folder, intake, report, spool

class Und:
    check = lambda self, codes: None
    __call__ = lambda self, text: "und"

examine.LanguageDetector = Und  # reading the real one takes a second
prompts._BLOCK = 20

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def at_call(owner, name, number, then=die):
    '''Before the call of that number, from 1.'''
    before, calls = getattr(owner, name), []
    def patched(*given, **named):
        calls.append(1)
        if len(calls) == number:
            then(*given, **named)
        return before(*given, **named)
    setattr(owner, name, patched)

def half(lines, file, *_):
    content = lines.read()
    file.write(content[: len(content) // 2])
    file.flush()
    die()

owner, name, then = {
    "opened": (folder, "finish_earlier", die),
    "kept": (spool.Spool, "add", die),
    "kept all": (folder.Staging, "seal", die),
    "sealing": (folder, "write_bytes", die),
    "sealed": (bulk, "large_write", die),
    "block": (prompts, "_add", die),
    "noted": (events, "append", die),
    "committed": (bulk, "shrink_log", die),
    "appending": (folder.shutil, "copyfileobj", half),
    "appended": (folder, "sync", die),
    "published": (folder, "_remove", die),
    "unmarked": (folder.shutil, "rmtree", die),
    "reporting": (report, "write_report", die),
    "report": (report, "render", die),
}[sys.argv[1]]
at_call(owner, name, int(sys.argv[2]), then)
intake.write_report = lambda *given: report.write_report(*given)

from alignloop.cli.main import app
app(["prompts", "import", *sys.argv[3:], "--workers", "1"], standalone_mode=False)
"""
# Each with a number: the second file's import is killed, but for those of which there is one.
POINTS = [("sealed", 2), ("block", 7), ("committed", 2), ("appending", 7)]
MORE_POINTS = [
    *[("opened", 1), ("kept", 70), ("kept all", 2), ("sealing", 2), ("block", 5), ("noted", 2)],
    *[("committed", 1), ("appended", 8), ("published", 2), ("unmarked", 4)],
    *[("reporting", 1), ("report", 1)],
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    return [
        write(folder / "a.jsonl", some(120)),
        write(folder / "b.jsonl", some(150, start=60, users=9)),
    ]


def undetermined(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same languages here as in the driver."""
    from alignloop.data.curation import examine

    class Und:
        def check(self, codes: Any) -> None: ...
        def __call__(self, text: str) -> str:
            return "und"

    monkeypatch.setattr(examine, "LanguageDetector", Und)


def killed_at(point: str, number: int, folder: Path, files: list[Path]) -> None:
    command = [sys.executable, "-P", "-c", DRIVER, point, str(number), *map(str, files)]
    command += ["--project", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, f"it never came to that: {done.stderr}"


def is_sound(folder: Path) -> bool:
    store = open_project(folder).open()
    try:
        with store.read() as connection:
            return connection.exec_driver_sql("pragma integrity_check").scalar_one() == "ok"
    finally:
        store.close()


def check_killed(point: str, number: int, tmp_path: Path, files: list[Path]) -> None:
    imported(tmp_path / "whole", *files)
    killed_at(point, number, tmp_path / "lab", files)

    assert is_sound(tmp_path / "lab")
    there = rows(tmp_path / "lab")
    whole = rows(tmp_path / "whole")
    count = len(there["imports"])
    assert there["imports"] == whole["imports"][:count]
    kept = sum(row["counts"]["kept"] for row in there["imports"])
    assert there["prompts"] == whole["prompts"][:kept]

    imported(tmp_path / "lab", *files)

    assert everything(tmp_path / "lab") == everything(tmp_path / "whole")


@pytest.mark.parametrize(("point", "number"), POINTS)
def test_a_killed_import_goes_on(
    point: str, number: int, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    undetermined(monkeypatch)
    check_killed(point, number, tmp_path, files)


@pytest.mark.full
@pytest.mark.parametrize(("point", "number"), MORE_POINTS)
def test_a_killed_import_goes_on_wherever_it_was(
    point: str, number: int, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    undetermined(monkeypatch)
    check_killed(point, number, tmp_path, files)


def test_killed_again_and_again_it_goes_on(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    undetermined(monkeypatch)
    imported(tmp_path / "whole", *files)

    for point in ("committed", "sealed", "appending"):  # the first file's import, then the second's
        killed_at(point, 1, tmp_path / "lab", files)

    imported(tmp_path / "lab", *files)
    assert everything(tmp_path / "lab") == everything(tmp_path / "whole")


def by_the_clock(tmp_path: Path, moments: list[float], count: int) -> None:
    """Kill the whole command, processes that it started and all, after so many seconds each time."""
    file = write(tmp_path / "a.jsonl", some(count))
    other = write(tmp_path / "b.jsonl", some(count // 2, start=count - 50, users=5))
    command = [sys.executable, "-P", "-m", "alignloop", "prompts", "import", str(file), str(other)]
    command += ["--workers", "2", "--project"]
    for number, moment in enumerate(moments):
        folder = tmp_path / f"lab {number}"
        process = subprocess.Popen(
            [*command, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (folder / "alignloop.db").exists() or is_sound(folder)
        imported(folder, file, other)
    imported(tmp_path / "whole", file, other)
    expected = everything(tmp_path / "whole")
    for number in range(len(moments)):
        assert everything(tmp_path / f"lab {number}") == expected


def test_killed_by_the_clock_it_goes_on(tmp_path: Path) -> None:
    by_the_clock(tmp_path, [1.0, 2.5], count=1500)


@pytest.mark.full
def test_killed_by_the_clock_at_many_moments_it_goes_on(tmp_path: Path) -> None:
    draw = random.Random(7)
    by_the_clock(tmp_path, [draw.uniform(0.5, 8.0) for _ in range(25)], count=4000)
