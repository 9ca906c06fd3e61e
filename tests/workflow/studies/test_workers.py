"""Studies in several processes: the same rows, and nothing lost or left when something is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignloop.errors import ArtifactError
from alignloop.workflow.studies import workers
from alignloop.workflow.studies.registry import study_of
from alignloop.workflow.studies.run import Asked, run_studies
from tests.workflow.studies.laid import tiny_ground

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("reward-epochs", "reward-best-of-4")


@pytest.fixture(scope="module")
def whole(laid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both studies over two seeds, in this process."""
    out = tmp_path_factory.mktemp("whole")
    asked = Asked(tiny_ground(out, laid), seeds=2)
    run_studies([study_of(name) for name in NAMES], asked, lambda _: None)
    return out


def cells(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/cells/*.json")
    }


def started(folder: Path, laid: Path) -> subprocess.Popen[str]:
    program = str(Path(__file__).with_name("worked.py"))
    return subprocess.Popen(
        [sys.executable, program, str(folder), str(laid), *NAMES],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def descendants(session: int) -> list[int]:
    """Living processes of a session but for its leader: spawned ones, and what tracks their semaphores."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        state, its_session = fields[0], int(fields[3])
        if its_session == session and state != "Z" and int(entry.name) != session:
            found.append(int(entry.name))
    return found


def working(folder: Path) -> Iterator[Path]:
    """Runs of cells that have a checkpoint, and are not finished."""
    for path in folder.glob("*/cells/*/reward/checkpoints/*"):
        if not (path.parents[1] / "artifact").exists():
            yield path.parents[1]


def until(true: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def test_two_processes_leave_the_rows_that_one_leaves(
    whole: Path, laid: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = Asked(tiny_ground(tmp_path, laid), seeds=2)
    said: list[str] = []

    run_studies([study_of(name) for name in NAMES], asked, said.append, jobs=2)

    assert cells(tmp_path) == cells(whole)
    for name in NAMES:
        written = (tmp_path / name / "study.json").read_bytes()
        assert written == (whole / name / "study.json").read_bytes()
    assert ", 2 at once with " in said[0]
    assert said[0].count("12 of them to do") == 1
    steps = [line for line in said if line.startswith("[")]
    assert [line.split("]")[0] for line in steps] == [f"[{n}/12" for n in range(1, 13)]
    assert "Traceback" not in capfd.readouterr().err


def test_asked_to_stop_both_save_and_the_same_command_goes_on(
    whole: Path, laid: Path, tmp_path: Path
) -> None:
    with started(tmp_path, laid) as studies:
        until(lambda: len(list(working(tmp_path))) >= 2)
        begun = set(working(tmp_path))
        studies.send_signal(signal.SIGTERM)
        said, _ = studies.communicate(timeout=60)
        assert studies.returncode == 128 + signal.SIGTERM
        assert "the studies were interrupted; go on with: the same command" in said
        assert "Traceback" not in said
        until(lambda: not descendants(studies.pid))
    for run in begun:
        assert '"status": "interrupted"' in (run / "manifest.json").read_text()

    with started(tmp_path, laid) as studies:
        said, _ = studies.communicate(timeout=120)
        assert studies.returncode == 0, said
    assert cells(tmp_path) == cells(whole)


def test_killed_it_leaves_no_process_behind(laid: Path, tmp_path: Path) -> None:
    with started(tmp_path, laid) as studies:
        until(lambda: len(list(working(tmp_path))) >= 2)
        assert len(descendants(studies.pid)) >= 2
        studies.kill()
        until(lambda: not descendants(studies.pid))


def test_a_process_that_dies_is_told_of(laid: Path, tmp_path: Path) -> None:
    with started(tmp_path, laid) as studies:
        until(lambda: len(list(working(tmp_path))) >= 2)
        os.kill(max(descendants(studies.pid)), signal.SIGKILL)
        said, _ = studies.communicate(timeout=60)
    assert studies.returncode == 2
    assert "ended before its time while 'reward-" in said
    assert "--jobs 1" in said


def test_what_a_step_refuses_is_said_here(laid: Path, tmp_path: Path) -> None:
    broken = tmp_path / "laid"
    broken.mkdir()
    for entry in laid.iterdir():
        (broken / entry.name).symlink_to(entry)
    (broken / "rankings_k9").unlink()
    (broken / "rankings_k9" / "artifact").mkdir(parents=True)
    (broken / "rankings_k9" / "artifact" / "artifact.json").write_text("{}")
    asked = Asked(tiny_ground(tmp_path / "out", broken), seeds=1)

    with pytest.raises(ArtifactError, match="rankings_k9"):
        run_studies([study_of("reward-best-of-4")], asked, lambda _: None, jobs=2)


@pytest.mark.parametrize(("said", "jobs", "threads"), [("", 2, 4), ("", 16, 1), ("3", 2, 3)])
def test_threads_are_a_share_of_the_cores(
    said: str, jobs: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", said)

    assert workers.threads_of(jobs) == threads
    assert workers.usual_jobs() == 4
