"""The command itself, killed at random moments: it goes on, labels nothing twice, and trains to the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alignloop.store import campaigns, events
from alignloop.store.project import open_project
from tests.helpers import results
from tests.workflow.loop.small import small_project, write_settings


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_killed_command_goes_on(
    tmp_path: Path, run_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = write_settings(whole, small_project(whole))
    small_project(killed)
    words = ["--config", str(settings), "--labelers", "simulated"]
    done = run_cli("loop", "--project", whole, *words)
    assert done.returncode == 0, done.stderr

    command = [sys.executable, "-P", "-m", "alignloop", "loop", "--project", str(killed), *words]
    moments = random.Random(os.environ.get("KILL_SEED", "3"))
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            wait, began = moments.uniform(3, 14), time.monotonic()
            while time.monotonic() - began < wait and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(number)
            code = process.wait()
        assert code in (0, -number, 128 + number), f"signal {number} gave exit code {code}"
    done = run_cli("loop", "--project", killed, *words)

    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout
    assert "ppo_ptx-1 against baseline\n   by " in done.stdout
    assert "by gold (SIMULATED)" in done.stdout
    for name in ("sft", "chosen", "samples-1", "rl_init"):
        assert results(killed / "runs" / name) == results(whole / "runs" / name)
    store = open_project(killed).open(create=False)
    with store.read() as connection:
        for one in campaigns.all_campaigns(connection):
            progress = campaigns.progress_of(connection, one)
            assert (progress.done, progress.leased, progress.surplus) == (progress.wanted, 0, 0)
        assert not events.audit(connection).findings
    store.close()
