"""A run that was stopped, killed or repeated ends with the same bytes as one that was left alone.

Pretraining, SFT with dropout and a pretraining mix, the reward model, DPO, PPO with ptx: metrics, artefacts, kept
epochs and samples are compared byte by byte; only what a clock decides (manifest, timings, TensorBoard) is left out.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from glob import glob
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from alignloop.errors import Interrupted, RunError
from alignloop.runs.run import Run
from alignloop.training import state
from tests.helpers import (
    DPO,
    PPO,
    PRETRAIN,
    REWARD,
    SFT,
    metrics,
    results,
    run,
    signal_at,
    write_inputs,
)

STAGES = ("pretrain", "sft", "reward", "dpo", "ppo")
CONFIGS: dict[str, dict[str, Any]] = {
    "pretrain": PRETRAIN,
    "sft": SFT,
    "reward": REWARD,
    "dpo": DPO,
    "ppo": PPO,
}
STEPS = {"pretrain": 6, "sft": 8, "reward": 8, "dpo": 8, "ppo": 6}
"""Updates, or iterations, that each config makes."""


class Bench:
    """The inputs of every stage, and a finished, undisturbed run of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = write_inputs(folder / "inputs", trained=folder)
        self.whole = {stage: self._undisturbed(stage) for stage in STAGES}

    def _undisturbed(self, stage: str) -> dict[str, bytes]:
        self.run(stage, self.folder / stage)
        return results(self.folder / stage)

    def run(self, stage: str, folder: Path, *, resume: bool = False, **changes: Any) -> None:
        """Run a stage in this process."""
        run(stage, folder, CONFIGS[stage] | changes, resume=resume, **self.inputs[stage])

    def start(
        self, stage: str, folder: Path, preloaded: str = "", **changes: Any
    ) -> subprocess.Popen[str]:
        """Run a stage through the command line, in a process that can be killed."""
        config = folder.with_suffix(".json")
        config.write_text(json.dumps(CONFIGS[stage] | changes))
        arguments = [stage, "--run", str(folder), "--config", str(config)]
        for name, path in self.inputs[stage].items():
            arguments += [f"--{name.replace('_', '-')}", str(path)]
        if stage == "ppo":
            arguments.append("--no-doctor")  # it would only delay what is to be killed
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "alignloop", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=environment() | {"LD_PRELOAD": preloaded},
        )


def environment() -> dict[str, str]:
    """As many threads as here: sums over threads round by how many they are."""
    return os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


TCMALLOC = next(iter(glob("/usr/lib/*/libtcmalloc_minimal.so.4")), "")


@pytest.mark.skipif(not TCMALLOC, reason="tcmalloc is not installed")
@pytest.mark.parametrize("stage", [pytest.param("sft", marks=pytest.mark.full), "ppo"])
def test_another_allocator_changes_no_byte(bench: Bench, stage: str, tmp_path: Path) -> None:
    process = bench.start(stage, tmp_path / "run", TCMALLOC)
    assert process.communicate() and process.returncode == 0
    assert differing(results(tmp_path / "run"), bench.whole[stage]) == []
    assert json.loads((tmp_path / "run/manifest.json").read_text())["preloaded"] == TCMALLOC


def logged(folder: Path) -> int:
    """How many steps a run has logged so far."""
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def differing(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    return sorted(
        name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
    )


@pytest.mark.parametrize("stage", STAGES)
def test_the_runs_are_what_the_comparison_needs(bench: Bench, stage: str) -> None:
    files = bench.whole[stage]

    assert files["metrics.jsonl"].count(b"\n") == STEPS[stage]
    assert "artifact/model.safetensors" in files
    assert not any(".tmp" in name or name.startswith("checkpoints") for name in files)
    if stage == "sft":
        assert "epochs/epoch_01/model.safetensors" in files
    if stage == "ppo":
        assert "samples/step_000003.jsonl" in files


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    bench: Bench, stage: str, tmp_path: Path
) -> None:
    bench.run(stage, tmp_path / "same")
    bench.run(stage, tmp_path / "other", seed=4)

    assert not differing(results(tmp_path / "same"), bench.whole[stage])
    assert "artifact/model.safetensors" in differing(
        results(tmp_path / "other"), bench.whole[stage]
    )


@pytest.mark.parametrize("step", [1, 3, 4, "last"])
@pytest.mark.parametrize("stage", STAGES)
def test_stopped_and_resumed_gives_the_same_bytes(
    bench: Bench, stage: str, step: int | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM between checkpoints, in the middle of an epoch, at its end, and after the last step."""
    folder, at = tmp_path / "run", STEPS[stage] if step == "last" else int(step)
    with monkeypatch.context() as patched:
        patched.setattr(Run, "log", signal_at(at))
        with pytest.raises(Interrupted) as stopped:
            bench.run(stage, folder)
    assert stopped.value.exit_code == 143
    assert logged(folder) == at

    bench.run(stage, folder, resume=True)

    assert not differing(results(folder), bench.whole[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_crashed_after_logging_a_step_that_was_not_saved(
    bench: Bench, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill: no request, no saving, the metrics are ahead of the last checkpoint; and this twice."""

    def crash_at(step: int) -> Callable[..., None]:
        log = Run.log

        def logging(run: Run, at: int, *arguments: Any, **timings: Any) -> None:
            log(run, at, *arguments, **timings)
            if at == step:
                raise KeyError("power")

        return logging

    folder = tmp_path / "run"
    for attempt, step in enumerate((3, 5)):
        with monkeypatch.context() as patched, pytest.raises(KeyError):
            patched.setattr(Run, "log", crash_at(step))
            bench.run(stage, folder, resume=attempt > 0)

    bench.run(stage, folder, resume=True)

    assert not differing(results(folder), bench.whole[stage])


@pytest.mark.parametrize(
    ("figure", "changes"),
    [
        ("kl_coef", {"adaptive_kl": {"target": 0.001, "horizon": 8}}),
        (
            "updates",
            {
                "kl_stop": 3e-4,
                "inner_epochs": 3,
                "whiten_rewards": True,
                "policy_optimizer": {"learning_rate": 2e-3, "adam_style": "tensorflow"},
            },
        ),
        (
            "kl_exact",
            {
                "value_network": "shared",
                "kl_estimator": "exact",
                "whiten_advantages": "batch",
                "ptx_reduction": "sequence",
            },
        ),
    ],
    ids=["adaptive KL", "early stop", "shared trunk"],
)
def test_every_switch_of_ppo_goes_on_where_it_was(
    bench: Bench,
    figure: str,
    changes: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a switch changes is state of the run, as weights are."""
    bench.run("ppo", tmp_path / "whole", **changes)
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(Run, "log", signal_at(3))
        bench.run("ppo", tmp_path / "run", **changes)
    bench.run("ppo", tmp_path / "run", resume=True, **changes)

    assert not differing(results(tmp_path / "run"), results(tmp_path / "whole"))
    figures = [row[figure] for row in metrics(tmp_path / "whole")]
    assert len(set(figures)) > 1, "the switch shows"


class Killed(BaseException):
    """What no handler survives."""


def mortal(patched: pytest.MonkeyPatch, operations: int) -> list[int]:
    """From here on the process dies at its next change of the disk after so many: no clean-up changes anything more."""
    made = [0]

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def operate(*arguments: Any, **options: Any) -> Any:
            made[0] += 1
            if made[0] > operations:
                raise Killed
            return operation(*arguments, **options)

        return operate

    def torn(tensors: dict[str, torch.Tensor], path: Path) -> None:
        """Of the one large file of a checkpoint half is there when the process dies."""
        save_file(tensors, path)
        made[0] += 1
        if made[0] > operations:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise Killed

    for name in ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir"):
        patched.setattr(os, name, counted(getattr(os, name)))
    patched.setattr(state, "save_file", torn)
    return made


def resumed_after_death(
    bench: Bench, stage: str, folder: Path, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    """Kill a short run at every `share`-th of its changes of the disk, resume it, and compare."""
    short = {
        "pretrain": {"tokens": 32 * 4 * 2, "valid_every": 2, "checkpoint_every": 1},
        "sft": {"epochs": 1, "batch_size": 5, "checkpoint_every": 1},
        "reward": {"epochs": 1, "batch_size": 4, "checkpoint_every": 1},
        "dpo": {"epochs": 1, "batch_size": 4, "checkpoint_every": 1},
        "ppo": {"episodes": 8, "checkpoint_every": 1, "samples_every": 1},
    }[stage]
    with monkeypatch.context() as patched:
        made = mortal(patched, 1_000_000)
        bench.run(stage, folder / "whole", **short)
    whole, operations = results(folder / "whole"), made[0]
    assert operations > 20
    for at in range(operations % share, operations, share):
        dying = folder / str(at)
        with monkeypatch.context() as patched, pytest.raises(Killed):
            mortal(patched, at)
            bench.run(stage, dying, **short)

        bench.run(stage, dying, resume=True, **short)

        assert not differing(results(dying), whole), f"killed before operation {at} of {operations}"


@pytest.mark.parametrize("stage", STAGES)
def test_killed_between_two_changes_of_the_disk(
    bench: Bench, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed_after_death(bench, stage, tmp_path, monkeypatch, share=7)


@pytest.mark.full
@pytest.mark.parametrize("stage", STAGES)
def test_killed_between_any_two_changes_of_the_disk(
    bench: Bench, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed_after_death(bench, stage, tmp_path, monkeypatch, share=1)


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(stage, marks=() if stage in ("sft", "ppo") else pytest.mark.full)
        for stage in STAGES
    ],
)
def test_killed_at_a_random_moment_and_resumed_gives_the_same_bytes(
    bench: Bench, stage: str, tmp_path: Path
) -> None:
    """kill -9 in the middle of whatever it does, from the first step to the writing of the artefact.

    Every day all stages die between two changes of the disk, above; here a real process of two of them.
    """
    folder = tmp_path / "run"
    process = bench.start(stage, folder)
    enough, delay = random.randint(0, STEPS[stage]), random.uniform(0, 0.08)
    while process.poll() is None and (not folder.exists() or logged(folder) < enough):
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    _, said = process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0), said

    bench.run(stage, folder, resume=True)

    found = results(folder)
    assert not differing(found, bench.whole[stage]), f"killed {delay:.3f} s after step {enough}"


# --- a checkpoint that is not what was written ---


def stopped_at(
    bench: Bench, stage: str, folder: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> list[Path]:
    """A run that was stopped after a step, and its two checkpoints."""
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(Run, "log", signal_at(step))
        bench.run(stage, folder)
    return sorted((folder / "checkpoints").iterdir())


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flipped(path: Path) -> None:
    """One bit, in the middle: the file still opens, with another number in it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("stage", "harm", "name"),
    [
        ("sft", truncated, "state.safetensors"),
        ("ppo", flipped, "state.safetensors"),
        *itertools.product(
            ["reward"],
            [truncated, flipped, Path.unlink],
            ["state.safetensors", "state.json", "done"],
        ),
    ],
)
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_it_taken(
    bench: Bench,
    stage: str,
    harm: Callable[[Path], None],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    before, last = stopped_at(bench, stage, folder, 5, monkeypatch)
    assert (before.name, last.name) == ("step_000004", "step_000005")
    harm(last / name)
    capsys.readouterr()

    bench.run(stage, folder, resume=True)

    said = capsys.readouterr().err
    if name == "done" and harm is Path.unlink:
        assert "damaged" not in said, "it was never finished, as after a kill"
    else:
        what = "" if name == "done" else f"{name} is "
        assert f"{last} is damaged ({what}" in said
        assert f"goes on from {before}" in said
        assert "damaged" in (folder / "log.txt").read_text()
    assert not differing(results(folder), bench.whole[stage])


def test_without_one_whole_checkpoint_a_run_says_so_and_changes_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To begin anew is for the user to decide."""
    folder = tmp_path / "run"
    for checkpoint in stopped_at(bench, "reward", folder, 5, monkeypatch):
        truncated(checkpoint / "state.safetensors")
    there = results(folder)

    for _ in range(2):
        with pytest.raises(RunError, match=r"no checkpoint is whole \(step_000005: state\.safeten"):
            bench.run("reward", folder, resume=True)
        assert results(folder) == there

    shutil.rmtree(folder / "checkpoints")
    bench.run("reward", folder, resume=True)
    assert not differing(results(folder), bench.whole["reward"])


# --- stopped from outside ---


@pytest.mark.parametrize(
    ("stage", "number", "code"),
    [
        pytest.param("sft", signal.SIGTERM, 143, marks=pytest.mark.full),
        pytest.param("reward", signal.SIGTERM, 143, marks=pytest.mark.full),
        ("ppo", signal.SIGTERM, 143),
        ("sft", signal.SIGINT, 130),
    ],
)
def test_a_signal_to_the_command_saves_prints_the_command_that_goes_on_and_exits(
    bench: Bench, stage: str, number: int, code: int, tmp_path: Path
) -> None:
    """A real process with a blank in its path; what it prints is given to a shell, and ends with the same bytes."""
    long = {"sft": {"epochs": 12}, "reward": {"epochs": 12}, "ppo": {"episodes": 60}}[stage]
    folder = tmp_path / "a run"
    process = bench.start(stage, folder, **long)
    while process.poll() is None and logged(folder) < 1:
        time.sleep(0.002)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)

    assert process.returncode == code, said
    *warnings, last = said.strip().splitlines()
    assert all(line.startswith("alignloop: warning: ") for line in warnings)
    before, _, command = last.partition("; go on with: ")
    assert before == f"alignloop: {folder} was interrupted"
    assert command.endswith(" --resume")
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    step = logged(folder)
    assert (folder / "checkpoints" / f"step_{step:06d}" / "done").exists(), "saved where it stopped"

    subprocess.run(command, shell=True, check=True, env=environment(), capture_output=True)

    bench.run(stage, tmp_path / "whole", **long)
    assert not differing(results(folder), results(tmp_path / "whole"))


def test_a_finished_run_is_not_run_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a step was made")

    monkeypatch.setattr(Run, "log", never)
    bench.run("reward", bench.folder / "reward", resume=True)

    assert not differing(results(bench.folder / "reward"), bench.whole["reward"])
