"""Two ranks learn what one learns, repeat to the same bytes, stop together, and resume to the same bytes.

Real processes under `torch.distributed.run`, with gloo and FSDP2. Batches are uneven on purpose: some ranks have fewer
micro-batches than others, and sometimes no row at all.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.equivalence.ranks_driver import perform
from tests.helpers import (
    DPO,
    PPO,
    PRETRAIN,
    REWARD,
    SFT,
    metrics,
    results,
    write_inputs,
)

CONFIGS: dict[str, dict[str, Any]] = {
    "pretrain": PRETRAIN | {"batch_size": 3, "micro_batch_size": 1, "tokens": 32 * 3 * 6},
    # Dropout draws per forward pass, so one rank and two draw differently, as micro-batches do.
    "sft": SFT | {"residual_dropout": 0.0},
    "reward": REWARD | {"batch_size": 3, "micro_batch_tokens": 1},
    "dpo": DPO | {"batch_size": 3, "micro_batch_tokens": 1},
    "ppo": PPO
    | {"batch_size": 6, "minibatch_size": 3, "micro_batch_tokens": 1, "samples_every": 1},
}
STAGES = tuple(CONFIGS)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "sft-packed": ("sft", {"packing": "packed", "loss_on_prompt": True}),
    "reward-best": ("reward", {"loss": "best_of_k"}),
    "reward-pairs": ("reward", {"loss": "shuffled_pairs"}),
    "reward-half": ("reward", {"ties": "half", "margin": 0.1, "divisor": "all_pairs"}),
    "dpo-ipo": ("dpo", {"loss": "ipo", "label_smoothing": 0.0, "length_normalised": True}),
    "ppo-exact": ("ppo", {"kl_estimator": "exact", "policy_optimizer": {"clip_norm": 0.5}}),
    "ppo-shared": (
        "ppo",
        {"value_network": "shared", "ptx_coef": 0.0, "kl_stop": 0.5}
        | {"adaptive_kl": {"target": 0.1, "horizon": 8}},
    ),
}
"""What a stage's config does not switch on; with two reward models, one of them watched as well."""


class Bench:
    """The inputs of every stage, a run of each on one rank, and what one launch of two ranks made of the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = write_inputs(folder / "inputs", trained=folder / "one", prompts=8)
        for place in ("one", "two", "again", "stopped"):
            (folder / place).mkdir()
        whole = [*STAGES, *VARIANTS]
        for name in whole:
            perform(self.job(name, "one"))
        jobs = [self.job(name, "two") for name in whole]
        jobs += [self.job(name, "again") for name in STAGES]
        for number, name in enumerate(STAGES):
            stop = {"stop_at": 3, "stop_rank": number % 2}
            jobs += [self.job(name, "stopped") | stop, self.job(name, "stopped") | {"resume": True}]
        (folder / "jobs.json").write_text(json.dumps(jobs))
        driver = ROOT / "tests" / "equivalence" / "ranks_driver.py"
        self.launched = launch(str(driver), str(folder / "jobs.json"))
        self.said = self.launched.communicate(timeout=280)[0]

    def job(self, name: str, place: str) -> dict[str, Any]:
        stage, changes = VARIANTS.get(name, (name, {}))
        inputs: dict[str, Any] = {role: str(path) for role, path in self.inputs[stage].items()}
        if name == "ppo-exact":
            judge = inputs["reward_model"]
            inputs |= {"more_reward_models": [judge], "heldout_reward_model": judge}
        if name == "ppo-shared":
            del inputs["text"]
        folder = str(self.folder / place / name)
        return {
            "stage": stage,
            "folder": folder,
            "config": CONFIGS[stage] | changes,
            "inputs": inputs,
        }

    def command(self, stage: str, folder: Path, *more: str, **changes: Any) -> list[str]:
        """The arguments of `torch.distributed.run` that run a stage through the command line."""
        config = folder.with_suffix(".json")
        config.write_text(json.dumps(CONFIGS[stage] | changes))
        arguments = ["-m", "--", "alignloop", stage, "--run", str(folder), "--config", str(config)]
        for name, path in self.inputs[stage].items():
            arguments += [f"--{name.replace('_', '-')}", str(path)]
        return [*arguments, *more]


def launch(*arguments: str) -> subprocess.Popen[str]:
    """Start two ranks, as a user would with torchrun, in a process group that can be killed."""
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return Bench(tmp_path_factory.mktemp("ranks"))
    finally:
        torch.set_num_threads(threads)


def test_both_ranks_end_well(bench: Bench) -> None:
    assert bench.launched.returncode == 0, bench.said


@pytest.mark.parametrize("name", [*STAGES, *VARIANTS])
def test_two_ranks_log_what_one_logs(bench: Bench, name: str) -> None:
    """Losses, norms, rewards: sums over all rows of a batch, whoever passes them through the model."""
    one, two = (metrics(bench.folder / place / name) for place in ("one", "two"))

    assert len(one) == len(two) > 3
    for mine, theirs in zip(one, two, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-4, abs=1e-5)


def first_gradients(
    folder: Path, optimizer: int, like: dict[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """Gradients of an optimizer's first step, put together from all ranks' shards where there are shards."""
    ranks = [load_file(path) for path in sorted(folder.glob(f"*-{optimizer}.safetensors"))]
    if like is None:
        [found] = ranks
        return found
    assert len(ranks) == 2
    joined: dict[str, torch.Tensor] = {}
    for key, expected in like.items():
        shards = [rank[key] for rank in ranks]
        is_whole = not expected.ndim or sum(map(len, shards)) != len(expected)
        joined[key] = shards[0] if is_whole else torch.cat(shards)
        if is_whole:
            assert torch.equal(shards[0], shards[1]), "not sharded, so the same on both"
    return joined


@pytest.mark.parametrize("name", [*STAGES, *VARIANTS])
def test_the_first_gradients_of_two_ranks_are_those_of_one(bench: Bench, name: str) -> None:
    places = [bench.folder / place / f"{name}.gradients" for place in ("one", "two")]
    optimizers = 2 if name in ("ppo", "ppo-exact") else 1
    assert len(list(places[0].iterdir())) == optimizers
    for number in range(optimizers):
        one = first_gradients(places[0], number)
        two = first_gradients(places[1], number, one)
        length = sum(float((g.double() ** 2).sum()) for g in one.values()) ** 0.5
        for key, gradient in one.items():
            assert two[key].shape == gradient.shape
            assert float((two[key] - gradient).norm()) < 1e-5 * length, key


@pytest.mark.parametrize("stage", STAGES)
def test_each_rank_holds_about_half(bench: Bench, stage: str) -> None:
    """Of the gradients, and so of the weights, the moments and the checkpoint, which go with them."""
    whole = first_gradients(bench.folder / "one" / f"{stage}.gradients", 0)
    held = load_file(bench.folder / "two" / f"{stage}.gradients" / "0-0.safetensors")

    sizes = [sum(gradient.numel() for gradient in found.values()) for found in (whole, held)]
    assert 0.45 < sizes[1] / sizes[0] < 0.55


@pytest.mark.parametrize("name", [*STAGES, *VARIANTS])
def test_two_ranks_leave_the_weights_that_one_leaves(bench: Bench, name: str) -> None:
    one, two = (
        load_file(bench.folder / place / name / "artifact" / "model.safetensors")
        for place in ("one", "two")
    )

    assert one.keys() == two.keys()
    for key, weight in one.items():
        difference = float((two[key].float() - weight.float()).norm())
        assert difference < 1e-3 * float(weight.float().norm()), key


def test_two_ranks_draw_the_answers_that_one_draws(bench: Bench) -> None:
    """Seeds belong to rows of the batch, not to ranks."""
    drawn = {}
    for place in ("one", "two"):
        file = bench.folder / place / "ppo" / "samples" / "step_000001.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        drawn[place] = [(row["prompt_id"], row["response"], row["finished"]) for row in rows]

    assert len(drawn["one"]) == 6
    assert drawn["two"] == drawn["one"]


def differing(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    return sorted(
        name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
    )


@pytest.mark.parametrize("stage", STAGES)
def test_two_ranks_repeat_to_the_same_bytes(bench: Bench, stage: str) -> None:
    expected = results(bench.folder / "two" / stage)

    assert "artifact/model.safetensors" in expected
    assert not differing(results(bench.folder / "again" / stage), expected)


@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_to_one_rank_stops_both_and_they_resume_to_the_same_bytes(
    bench: Bench, stage: str
) -> None:
    """The driver saw both ranks stop; SIGTERM came in the third step, which ends first."""
    expected = results(bench.folder / "two" / stage)

    assert not differing(results(bench.folder / "stopped" / stage), expected)


# --- the command line ---


def logged(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(folder: Path, steps: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and logged(folder) < steps:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[0]


def status_of(folder: Path) -> str:
    return json.loads((folder / "manifest.json").read_text())["status"]


def test_sigterm_to_the_launcher_saves_and_says_how_to_go_on(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = launch(*bench.command("sft", folder, epochs=10_000))
    wait_for(folder, 2, process)

    process.terminate()
    said, _ = process.communicate(timeout=120)

    assert process.returncode != 0
    assert said.count("the same command with --resume") >= 1, said
    assert status_of(folder) == "interrupted"
    saved = folder / "checkpoints" / f"step_{logged(folder):06d}"
    shards = [f"state-0000{n}-of-00002.safetensors" for n in (1, 2)]
    assert sorted(path.name for path in saved.iterdir()) == sorted(
        ["done", "state.json", *shards]
    ), "each rank wrote its shards where it stopped"


def test_an_error_on_one_rank_ends_all_and_says_why(bench: Bench, tmp_path: Path) -> None:
    """A reward function is called on rank 0 alone; rank 1 waits for it, and must not wait for ever."""
    (tmp_path / "reward.py").write_text(
        "def score(prompts, texts):\n    raise ValueError('no such judge')\n"
    )
    folder = tmp_path / "run"
    judge = f"{tmp_path / 'reward.py'}:score"
    process = launch(*bench.command("ppo", folder, "--reward-function", judge))

    said, _ = process.communicate(timeout=120)

    assert process.returncode != 0
    assert "alignloop: rank 0: the reward function" in said
    assert "no such judge" in said
    assert "rank 1: another rank ended before this one; what it said is the reason" in said
    assert status_of(folder) == "failed"


@pytest.mark.full  # every day, `tests/models/test_compilation.py` asks the function that refuses
def test_compilation_is_refused(bench: Bench, tmp_path: Path) -> None:
    process = launch(*bench.command("pretrain", tmp_path / "run", compile=True))

    said, _ = process.communicate(timeout=120)

    assert process.returncode != 0
    assert "compile = true works in one process" in said


@pytest.mark.parametrize(
    ("stage", "rank", "moment"),
    [
        ("ppo", 1, "half a shard"),
        pytest.param("sft", 1, "a shard", marks=pytest.mark.full),
        pytest.param("reward", 0, "all shards", marks=pytest.mark.full),
        pytest.param("dpo", 0, "the last mark", marks=pytest.mark.full),
    ],
)
def test_killed_in_a_save_after(
    bench: Bench, tmp_path: Path, stage: str, rank: int, moment: str
) -> None:
    """SIGKILL to one of two ranks at a chosen moment of its second checkpoint; then both go on to the same bytes."""
    job = bench.job(stage, "two")
    job |= {"folder": str(tmp_path / "run"), "config": job["config"] | {"checkpoint_every": 1}}
    driver = str(ROOT / "tests" / "equivalence" / "ranks_driver.py")
    (tmp_path / "die.json").write_text(json.dumps([job | {"dies_after": moment, "rank": rank}]))
    (tmp_path / "go_on.json").write_text(json.dumps([job | {"resume": True}]))

    killed = launch(driver, str(tmp_path / "die.json"))
    said, _ = killed.communicate(timeout=240)
    assert killed.returncode != 0, said
    saved = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("step_*/done"))
    assert len(saved) == (2 if moment == "the last mark" else 1)
    resumed = launch(driver, str(tmp_path / "go_on.json"))
    said, _ = resumed.communicate(timeout=240)

    assert resumed.returncode == 0, said
    found, expected = results(tmp_path / "run"), results(bench.folder / "two" / stage)
    for files in (found, expected):
        del files["config.json"]
    assert not differing(found, expected)


@pytest.mark.full
@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_resumed_gives_the_same_bytes(bench: Bench, stage: str, tmp_path: Path) -> None:
    """kill -9 to launcher and ranks, in the middle of whatever they do, while they save too."""
    folder = tmp_path / "run"
    steps = len(metrics(bench.folder / "two" / stage))
    process = launch(*bench.command(stage, folder, checkpoint_every=1))
    enough, delay = random.randint(1, steps - 1), random.uniform(0, 0.1)
    wait_for(folder, enough, process)
    time.sleep(delay)
    for child in children_of(process.pid):
        os.kill(child, signal.SIGKILL)
    process.kill()
    process.communicate()

    resumed = launch(*bench.command(stage, folder, "--resume", checkpoint_every=1))
    said, _ = resumed.communicate(timeout=240)

    assert resumed.returncode == 0, said
    found, expected = results(folder), results(bench.folder / "two" / stage)
    for files in (found, expected):
        del files["config.json"]
    assert not differing(found, expected), f"killed {delay:.3f} s after step {enough}"


def children_of(process: int) -> list[int]:
    """The ranks that a launcher started; each leads a session of its own."""
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(number) for number in path.read_text().split()]
