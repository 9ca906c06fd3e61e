"""Run folders: opened, checkpointed, interrupted, resumed and finished, with a full disk and a kill in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from alignloop.config import Config
from alignloop.errors import ArtifactError, Interrupted, NumericsError, RunError
from alignloop.files import write_bytes
from alignloop.models.loading import save_model
from alignloop.runs.artifact import open_artifact, write_artifact
from alignloop.runs.metrics import METRICS, MetricsLog
from alignloop.runs.run import Run
from alignloop.training.state import save_state
from tests.helpers import contents, full_disk, tiny_model, tiny_tokenizer


class Inner(Config):
    """A table of settings."""

    rate: float = 0.1
    """A number."""


class Settings(Config):
    """Settings of a test stage."""

    seed: int = 1
    """A number."""
    inner: Inner = Inner()
    """A table."""


def opened(folder: Path, *, resume: bool = False, **values: object) -> Run:
    return Run.open(folder, "sft", Settings.model_validate(values), resume=resume)


def manifest(folder: Path) -> dict[str, object]:
    return json.loads((folder / "manifest.json").read_text())


def save(run: Run, step: int) -> None:
    run.save_checkpoint(
        step, lambda folder: write_bytes(folder / "state", f"state {step}".encode())
    )


# --- opening ---


def test_a_new_run_records_what_repeats_it(tmp_path: Path) -> None:
    opened(tmp_path / "run", seed=7)

    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config == {"seed": 7, "inner": {"rate": 0.1}}
    found = manifest(tmp_path / "run")
    assert (found["stage"], found["status"], found["seed"]) == ("sft", "running", 7)
    assert {"version", "argv", "git", "packages", "python", "inputs", "started"} <= found.keys()


def test_an_existing_run_needs_resume(tmp_path: Path) -> None:
    opened(tmp_path)
    before = contents(tmp_path)

    with pytest.raises(RunError, match="already holds a run; go on with --resume"):
        opened(tmp_path)

    assert contents(tmp_path) == before


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    for resume in (False, True):
        with pytest.raises(RunError, match="not empty and holds no run"):
            opened(tmp_path, resume=resume)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_two_processes_cannot_share_a_folder_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    holding = (
        "import sys, time; from pathlib import Path; from alignloop.runs.run import Run;"
        "from tests.runs.test_run import Settings;"
        "run = Run.open(Path(sys.argv[1]), 'sft', Settings(), resume=False).__enter__();"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(RunError, match="in use by another process"),
            opened(tmp_path, resume=True),
        ):
            pass
        other.kill()

    with opened(tmp_path, resume=True) as run:
        assert not run.is_finished


def test_a_file_where_the_run_should_go_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")

    with pytest.raises(RunError, match="run"):
        opened(tmp_path / "run")


def test_a_run_killed_at_birth_can_be_born_again(tmp_path: Path) -> None:
    """Between config.json and manifest.json, with the aside file of either."""
    opened(tmp_path)
    (tmp_path / "manifest.json").rename(tmp_path / ".manifest.json.tmp")

    run = opened(tmp_path, resume=True)

    assert run.latest_checkpoint() is None
    assert manifest(tmp_path)["status"] == "running"


def test_resuming_with_another_config_says_which_key(tmp_path: Path) -> None:
    opened(tmp_path)

    with pytest.raises(
        RunError, match=r"\(inner\.rate: 0\.1 then, 0\.2 now, seed: 1 then, 5 now\)"
    ):
        opened(tmp_path, resume=True, seed=5, inner={"rate": 0.2})


def test_a_run_is_held_to_as_many_inputs_as_it_was_begun_with(tmp_path: Path) -> None:
    """Until something was made of them: a start that was refused binds nobody."""
    source = tmp_path / "words.txt"
    source.write_text("words")
    with opened(tmp_path / "run") as run:
        run.bind({"policy": 1, "reward_function": "mine"})
        run.input_file("reward_function", source)
    with opened(tmp_path / "run", resume=True) as run:
        run.bind({"policy": 1, "text": 1})
        assert run.parents() == [], "what the refused start was given is forgotten"
        run.save_checkpoint(1, lambda folder: (folder / "state").write_text("one"))

    with opened(tmp_path / "run", resume=True) as run:
        run.bind({"policy": 1, "text": 1})
        for other in ({"policy": 1}, {"policy": 1, "text": 2}, {"policy": 1, "text": 1, "gold": 1}):
            with pytest.raises(RunError, match=r"begun with other inputs \((text|gold): "):
                run.bind(other)


def test_a_run_from_before_inputs_were_counted_keeps_what_it_recorded(tmp_path: Path) -> None:
    source = tmp_path / "words.txt"
    source.write_text("words")
    with opened(tmp_path / "run") as run:
        run.input_file("text", source)
        run.save_checkpoint(1, lambda folder: (folder / "state").write_text("one"))
        before = run.parents()

    with opened(tmp_path / "run", resume=True) as run:
        run.bind({"text": 1})
        assert run.parents() == before


def test_resuming_with_another_stage_or_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path)

    with pytest.raises(RunError, match="holds a 'sft' run, not 'ppo'"):
        Run.open(tmp_path, "ppo", Settings(), resume=True)
    monkeypatch.setattr("alignloop.runs.run.__version__", "99.0")
    with pytest.raises(RunError, match=r"begun by alignloop .*, this is 99\.0"):
        opened(tmp_path, resume=True)


@pytest.mark.parametrize("content", ["", '{"stage": "sf', "[]", "{}"])
def test_a_damaged_manifest_is_an_error_of_ours(tmp_path: Path, content: str) -> None:
    opened(tmp_path)
    (tmp_path / "manifest.json").write_text(content)

    with pytest.raises(RunError, match="damaged"):
        opened(tmp_path, resume=True)


def test_a_resumed_run_is_running_again(tmp_path: Path) -> None:
    with pytest.raises(Interrupted), opened(tmp_path) as run:
        raise run.interrupt()
    assert manifest(tmp_path)["status"] == "interrupted"

    with pytest.raises(ValueError, match="bug"), opened(tmp_path, resume=True):
        assert manifest(tmp_path)["status"] == "running"
        raise ValueError("bug")

    assert manifest(tmp_path)["status"] == "failed", "not still interrupted"


# --- inputs ---


def test_an_input_is_recorded_once_and_must_not_change(tmp_path: Path) -> None:
    def prompts(content: str) -> None:
        write_artifact(
            tmp_path / "prompts",
            "prompts",
            lambda folder: write_bytes(folder / "x", content.encode()),
            parents=[],
            facts={},
        )

    prompts("one")
    run = opened(tmp_path / "run")
    run.input("prompts", tmp_path / "prompts", "prompts")
    run.input("prompts", tmp_path / "prompts", "prompts")
    sha256 = open_artifact(tmp_path / "prompts", "prompts").sha256
    assert run.parents() == [{"role": "prompts", "kind": "prompts", "sha256": sha256}]

    prompts("two")
    again = opened(tmp_path / "run", resume=True)
    again.input("prompts", tmp_path / "prompts", "prompts")  # nothing was made of the first one
    save(again, 1)
    prompts("three")
    with pytest.raises(ArtifactError, match=r"changed since .* was begun with it as 'prompts'"):
        again.input("prompts", tmp_path / "prompts", "prompts")


# --- checkpoints ---


def test_the_newest_whole_checkpoint_is_found_and_old_ones_go(tmp_path: Path) -> None:
    run = opened(tmp_path)
    assert run.latest_checkpoint() is None

    for step in (2, 4, 10, 100):
        save(run, step)

    assert run.latest_checkpoint() == (100, tmp_path / "checkpoints" / "step_000100")
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "step_000010",
        "step_000100",
    ]


def test_a_checkpoint_without_its_mark_does_not_count(tmp_path: Path) -> None:
    run = opened(tmp_path)
    save(run, 2)
    save(run, 4)
    (tmp_path / "checkpoints" / "step_000004" / "done").unlink()
    aside = tmp_path / "checkpoints" / ".step_000006.tmp"
    aside.mkdir()
    (aside / "done").touch()

    found = run.latest_checkpoint()
    assert found is not None
    assert found[0] == 2
    save(run, 4)
    save(run, 6)

    assert (tmp_path / "checkpoints" / "step_000006" / "state").read_bytes() == b"state 6"
    assert not aside.exists()


@pytest.mark.parametrize("by", ["plain", "safetensors"])
def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path: Path, by: str) -> None:
    """Whatever library writes: safetensors has an exception of its own."""
    run = opened(tmp_path)
    save(run, 2)
    save(run, 4)
    before = contents(tmp_path)

    def write(folder: Path) -> None:
        if by == "plain":
            write_bytes(folder / "state", b"x" * 10_000)
        else:
            save_state(folder, {"model": nn.Linear(100, 100)}, {})

    with (
        full_disk(2000),
        pytest.raises(RunError, match=r"step_000006 could not be saved .*before it is whole"),
    ):
        run.save_checkpoint(6, write)

    assert contents(tmp_path) == before
    save(run, 6)
    found = run.latest_checkpoint()
    assert found is not None
    assert found[0] == 6, "with space again it goes on"


def test_a_disk_that_fails_on_flush_leaves_the_checkpoint_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(tmp_path)
    save(run, 2)
    before = contents(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"could not be saved \(\[Errno 28\] No space left"):
        run.save_checkpoint(4, lambda folder: (folder / "state").touch())

    assert contents(tmp_path) == before


# --- finishing ---


def test_finishing_leaves_the_artefact_and_drops_the_checkpoints(tmp_path: Path) -> None:
    run = opened(tmp_path)
    save(run, 2)

    run.finish("prompts", lambda folder: write_bytes(folder / "x", b"1"), {"rows": 1})

    assert not (tmp_path / "checkpoints").exists()
    assert open_artifact(tmp_path, "prompts").facts == {"rows": 1}
    again = opened(tmp_path, resume=True)
    assert again.is_finished
    assert again.finished_kind() == "prompts"


@pytest.mark.parametrize("by", ["plain", "transformers"])
def test_a_full_disk_at_the_end_is_an_error_of_ours_and_nothing_is_lost(
    tmp_path: Path, by: str
) -> None:
    run = opened(tmp_path)
    save(run, 2)

    def write(folder: Path) -> None:
        if by == "plain":
            write_bytes(folder / "x", b"x" * 10_000)
        else:
            save_model(tiny_model(), tiny_tokenizer(), folder)

    with full_disk(5000), pytest.raises(ArtifactError, match="artifact could not be written"):
        run.finish("prompts", write, {})

    assert not run.is_finished
    assert run.latest_checkpoint() is not None
    run.finish("prompts", write, {})
    assert run.is_finished


def test_a_full_disk_while_logging_is_an_error_of_ours(tmp_path: Path) -> None:
    run = opened(tmp_path)

    with full_disk(10), pytest.raises(RunError, match=r"metrics\.jsonl"):
        run.log(1, {"loss": 0.5})


def test_a_full_disk_does_not_hide_what_went_wrong(tmp_path: Path) -> None:
    """The manifest cannot be written either, while the run ends for another reason."""
    with pytest.raises(ValueError, match="bug"), opened(tmp_path), full_disk(10):
        raise ValueError("bug")
    with (
        pytest.raises(RunError, match=r"manifest\.json could not be written"),
        full_disk(100),
    ):
        opened(tmp_path / "another")


# --- stopping ---


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_a_request_that_the_loop_sees(tmp_path: Path, number: int, code: int) -> None:
    before = signal.getsignal(number)

    with pytest.raises(Interrupted) as stopped, opened(tmp_path) as run:
        assert not run.stop_requested()
        os.kill(os.getpid(), number)
        assert run.stop_requested()
        raise run.interrupt()

    assert stopped.value.exit_code == code
    assert str(stopped.value).endswith("go on with: the same command with --resume")
    assert "\n" not in str(stopped.value)
    assert manifest(tmp_path)["status"] == "interrupted"
    assert signal.getsignal(number) is before, "and the signals are given back"


def test_a_signal_after_the_last_step_leaves_a_finished_run_and_stops_all_the_same(
    tmp_path: Path,
) -> None:
    with pytest.raises(Interrupted), opened(tmp_path) as run:
        os.kill(os.getpid(), signal.SIGINT)
        run.finish("prompts", lambda folder: write_bytes(folder / "x", b"x"), {})

    assert manifest(tmp_path)["status"] == "finished"


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stopped, opened(tmp_path):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    assert stopped.value.exit_code == 130
    assert manifest(tmp_path)["status"] == "interrupted"


def test_a_stage_that_raises_is_marked_failed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bug"), opened(tmp_path):
        raise ValueError("bug")

    assert manifest(tmp_path)["status"] == "failed"


# --- metrics ---


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_step_is_one_line_and_the_clock_goes_elsewhere(tmp_path: Path) -> None:
    run = opened(tmp_path)

    run.log(1, {"loss": 1 / 3, "tokens": 12})
    run.log(2, {"loss": 2.0}, host_seconds=0.5)

    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"step": 1, "loss": 0.3333333333, "tokens": 12}\n{"step": 2, "loss": 2.0}\n'
    )
    timings = lines(tmp_path / "timings.jsonl")
    assert [sorted(row) for row in timings] == [
        ["seconds", "step"],
        ["host_seconds", "seconds", "step"],
    ]
    assert run.metrics.read() == lines(tmp_path / "metrics.jsonl")


def test_what_was_logged_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    """As after a kill: steps 3 and 4 were logged and not saved, the last line was cut short."""
    run = opened(tmp_path)
    for step in (1, 2, 3, 4):
        run.log(step, {"loss": float(step)})
        if step == 2:
            save(run, step)
    for name in ("metrics.jsonl", "timings.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write('{"step": 5, "lo')

    again = opened(tmp_path, resume=True)
    assert again.latest_checkpoint() is not None

    for name in ("metrics.jsonl", "timings.jsonl"):
        assert [row["step"] for row in lines(tmp_path / name)] == [1, 2]
    again.log(3, {"loss": 3.0})
    assert [row["loss"] for row in lines(tmp_path / "metrics.jsonl")] == [1.0, 2.0, 3.0]


def test_without_a_checkpoint_everything_logged_is_forgotten(tmp_path: Path) -> None:
    run = opened(tmp_path)
    run.log(1, {"loss": 1.0})

    assert opened(tmp_path, resume=True).latest_checkpoint() is None

    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_an_unknown_metric_is_a_bug_of_ours(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)

    with pytest.raises(AssertionError, match=r"without a glossary entry.*'los'"):
        log.log(1, {"los": 1.0}, {})
    for bad in (float("nan"), float("inf")):
        with pytest.raises(NumericsError, match="step 1: loss is"):
            log.log(1, {"loss": bad}, {})
    assert not (tmp_path / "metrics.jsonl").exists()


def test_every_metric_has_a_meaning() -> None:
    assert all(meaning and not meaning.endswith(".") for meaning in METRICS.values())
