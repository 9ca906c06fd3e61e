"""The demo as users get it: from a wheel, in another folder; killed again and again, it ends with the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest

from alignloop.resources import asset
from alignloop.runs.artifact import open_artifact
from tests.wheel import build_wheel

ROOT = Path(__file__).parents[2]
CLOCKWORK = {
    "manifest.json",
    "timings.jsonl",
    "timings.json",
    "log.txt",
    "report.html",
    "alignloop.db",  # when each label was given; what is exported from it must repeat
}
"""What a clock or a machine decides; everything else must repeat byte for byte."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel alone, that sees the test environment's packages; returns its command."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = build_wheel(folder)
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    # By the pip of the test environment: one of its own would take longer to install than the wheel.
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    # Folders named in a .pth file are searched, but their own .pth files are not: the editable install stays out.
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin" / "alignloop"


@pytest.fixture(scope="module")
def demo(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smoke demo made by the installed package, in a folder of its own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(
        [str(installed), "demo", "--smoke", "--out", "mine"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "alignloop chat mine/ppo_ptx" in done.stdout
    return folder / "mine"


def test_the_wheel_holds_the_package_that_runs(installed: Path) -> None:
    where = subprocess.run(
        [str(installed.with_name("python")), "-c", "import alignloop; print(alignloop.__file__)"],
        cwd=installed.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(installed.parents[1])


def test_the_report_says_what_the_documentation_promises(demo: Path) -> None:
    report = json.loads((demo / "report.json").read_text())
    assert report["rm"]["pair_accuracy"].keys() >= {
        "train_labelers",
        "heldout_labelers",
        "ceiling",
        "longer_wins",
        "bag_of_words",
    }
    assert 0 <= report["labelers"]["agreement"] <= 1
    for model in ("base", "rl_init", "sft_more", "best_of_n", "ppo", "ppo_ptx"):
        for judge in ("gold", "heldout_labelers", "outside_judge"):
            estimate = report["win_rate"][model][judge]
            assert estimate["low"] <= estimate["mean"] <= estimate["high"]
            assert estimate["n"] == report["counts"]["test_prompts"]
    assert report["pretrain_loss"].keys() >= {"base", "sft", "rl_init", "ppo", "ppo_ptx"}
    assert report["kl"]["rl_init"]["reference"] == 0
    assert set(report["eos_rate"]) >= {"sft", "ppo", "ppo_ptx"}
    assert report["smoke"] is True
    assert "simulated labelers" in (demo / "report.html").read_text()


def test_every_stage_has_a_time_and_a_budget(demo: Path) -> None:
    from alignloop.workflow.demo import stage_budget

    assert json.loads((demo / "timings.json").read_text()).keys() == stage_budget().keys()


def test_artefacts_open_in_plain_transformers(demo: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    policy = demo / "ppo_ptx" / "artifact"
    tokens = AutoTokenizer.from_pretrained(policy)("Once upon a time", return_tensors="pt")
    assert AutoModelForCausalLM.from_pretrained(policy)(**tokens).logits.isfinite().all()
    scorer = AutoModelForSequenceClassification.from_pretrained(demo / "reward" / "artifact")
    assert scorer.config.num_labels == 1
    assert isinstance(scorer.config.reward_bias, float)


def test_one_can_chat_with_the_result(installed: Path, demo: Path) -> None:
    done = subprocess.run(
        [str(installed), "chat", "mine/ppo_ptx", "--seed", "3"],
        cwd=demo.parent,
        input='Write the beginning of a story called "The Fox".\n\n',
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split(">")[1].strip()) > 5


def test_a_smoke_demo_trains_on_some_titles_and_is_judged_on_all_that_are_held_out(
    demo: Path,
) -> None:
    facts = open_artifact(demo / "stories", "pretraining-text").facts

    assert facts["titles"]["train"] == 50
    assert facts["titles"]["valid"] > 50
    assert facts["titles"]["test"] > 100
    learned_from = open_artifact(asset("base"), "policy").facts["train_text_sha256"]
    assert facts["train_text_sha256"] == learned_from, "the base model learned from all of them"


def test_a_demo_that_is_killed_goes_on_and_ends_with_the_same_bytes(
    demo: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The wheel's run was never interrupted; this one, from the source tree, is killed at random moments.

    Twice every day, four times with --full.
    """
    command = [
        sys.executable,
        "-m",
        "alignloop",
        "demo",
        "--smoke",
        "--out",
        str(tmp_path / "mine"),
    ]
    moments = random.Random(os.environ.get("KILL_SEED", "7"))
    kills = [signal.SIGKILL, signal.SIGTERM]
    if request.config.getoption("full"):
        kills += [signal.SIGKILL, signal.SIGINT]
    for number in kills:
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            wait = moments.uniform(2, 18)
            began = time.monotonic()
            while time.monotonic() - began < wait and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(number)
            code = process.wait()
        assert code in (0, -number, 128 + number), f"signal {number} gave exit code {code}"
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "mine") == contents(demo)


@pytest.mark.full
@pytest.mark.timeout(900)  # five policies are trained, and seven judged on every validation prompt
def test_a_study_builds_on_a_finished_demo(installed: Path, demo: Path) -> None:
    """Nothing of the demo is made again, and nothing is written into its folder."""
    before = contents(demo)
    command = [str(installed), "study", "ptx-coef", "--demo", "mine", "--base", "demo"]
    command += ["--seeds", "1", "--smoke", "--out", "over_mine"]
    done = subprocess.run(command, cwd=demo.parent, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    out = demo.parent / "over_mine"
    found = json.loads((out / "ptx-coef" / "study.json").read_text())
    assert [one["key"] for one in found["claims"]] == [
        "ptx-0-loss",
        "ptx-27.8-loss",
        "ptx-27.8-score",
    ]
    trained = {path.parent.name for path in (out / "foundations").rglob("manifest.json")}
    assert trained == {f"ppo_ptx_{coef:g}_kl_0.03" for coef in (1, 3, 10, 27.8)}
    assert contents(demo) == before


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file that must repeat, by its path in the demo folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in CLOCKWORK and "tensorboard" not in path.parts
    }
