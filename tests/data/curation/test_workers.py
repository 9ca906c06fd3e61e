"""Processes that look at rows: what they import, how they end, and what becomes of their errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.outcomes import Dropped, Kept
from alignloop.errors import ConfigError, DataError
from alignloop.machine import cores
from tests.data.curation import detectors
from tests.data.curation.test_curate import candidate, run

ROOT = Path(__file__).resolve().parents[3]
MANY = [candidate(f"Number {i} of the fox", i, user=f"u{i}") for i in range(1100)]
CONFIG = CurationConfig(prefix_characters=None)

SCRIPT = """
import signal

# A job in the background starts with this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
import subprocess, sys, tempfile
from pathlib import Path

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.curate import curate
from alignloop.data.incoming import Candidate, Place

start = subprocess.Popen.__init__
def tell(self, *args, **options):
    start(self, *args, **options)
    print(self.pid, flush=True)
subprocess.Popen.__init__ = tell

rows = (Candidate(Place("a", i), f"Number {i}") for i in range(10**9))
for number, _ in enumerate(curate(rows, CurationConfig(), scratch=Path(sys.argv[1]), workers=2)):
    if number == 2000:
        print("under way", flush=True)
"""


def test_they_import_no_torch() -> None:
    found = run(MANY, CONFIG, workers=2, detector=detectors.torch_is_loaded)

    assert len(found) == len(MANY)
    assert not any(isinstance(o, Dropped) or o.pii for o in found)


def test_what_a_detector_prints_does_no_harm(capfd: pytest.CaptureFixture[str]) -> None:
    found = run(MANY, CONFIG, workers=2, detector=detectors.prints)

    assert all(isinstance(o, Kept) for o in found)
    out, err = capfd.readouterr()
    assert out == "" and "found nothing in Number 7 of the fox" in err


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_user_comes_through(workers: int) -> None:
    with pytest.raises(DataError, match="the detector's word list is missing"):
        run(MANY, CONFIG, workers=workers, detector=detectors.refuses)


def test_a_config_that_cannot_be_used_is_refused_by_processes_too() -> None:
    with pytest.raises(ConfigError, match="never detected"):
        run(MANY, CurationConfig(languages=("qq",)), workers=2)


def test_a_bug_shows_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)in raises.*a detector's own mistake"):
        run(MANY, CONFIG, workers=2, detector=detectors.raises)


def test_a_process_that_dies_is_an_error_not_a_wait() -> None:
    with pytest.raises(DataError, match=r"exit code -9.*use fewer workers"):
        run(MANY, CONFIG, workers=2, detector=detectors.dies)


def test_a_detector_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ConfigError, match="define it in a module, or use one worker"):
        run(MANY, CONFIG, workers=2, detector=lambda text: [])
    assert len(run(MANY, CONFIG, workers=1, detector=lambda text: [])) == len(MANY)


def test_few_rows_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)

    assert len(run(MANY[:500], CONFIG, workers=8)) == 500


def test_a_process_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = subprocess.Popen, list[subprocess.Popen[bytes]]()

    def popen(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(start(*args, **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(DataError, match=r"Resource temporarily unavailable\); use fewer workers"):
        run(MANY, CONFIG, workers=3)
    assert started[0].returncode is not None


def is_running(pid: int) -> bool:
    """Whether a process still does anything; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_they_end_with_the_process_that_started_them(tmp_path: Path, asked: signal.Signals) -> None:
    script, scratch = tmp_path / "script.py", tmp_path / "scratch"
    script.write_text(SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, script, scratch],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    with parent:
        assert parent.stdout is not None and parent.stderr is not None
        children = [int(parent.stdout.readline()) for _ in range(2)]
        assert parent.stdout.readline() == "under way\n"
        assert all(map(is_running, children))

        parent.send_signal(asked)
        errors = parent.stderr.read()
        parent.wait()

    end = time.monotonic() + 30
    while any(map(is_running, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_running, children))
    if asked == signal.SIGINT:
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert errors.count("Traceback") == 1
        assert list(scratch.iterdir()) == []
    else:
        assert errors == ""


def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    """A process started by copying the main module would start the script again."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("10**9", "2100"))

    done = subprocess.run(
        [sys.executable, script, tmp_path / "scratch"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("under way") == 1


def test_there_is_a_core() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
