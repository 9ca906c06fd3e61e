"""NaN in any term, a policy that runs away, a full disk: the run stops in a line, and what was saved stays good."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from alignloop.errors import NumericsError, RewardError, RunError
from alignloop.generation import native
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo import gradients, rollout
from alignloop.ppo.rewards import RewardModels
from alignloop.preference import train as preference_train
from alignloop.pretrain import train as pretrain_train
from alignloop.reward import train as reward_train
from alignloop.runs.artifact import open_artifact
from alignloop.sft import train as sft_train
from alignloop.tensors import Summed
from tests.helpers import (
    DPO,
    PPO,
    PRETRAIN,
    REWARD,
    SFT,
    full_disk,
    metrics,
    results,
    run,
    write_ppo_inputs,
)

CONFIGS: dict[str, dict[str, Any]] = {
    "pretrain": PRETRAIN,
    "sft": SFT,
    "reward": REWARD,
    "dpo": DPO,
    "ppo": PPO,
}


class Bench:
    """The inputs of every stage, and an undisturbed run of each, made when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ppo = write_ppo_inputs(folder)
        model, demonstrations = folder / "model", folder / "demos"
        self.inputs: dict[str, dict[str, Path]] = {
            "pretrain": {"text": ppo["text"]},
            "sft": {"model": model, "demonstrations": demonstrations, "text": ppo["text"]},
            "reward": {
                "model": model,
                "rankings": folder / "rankings",
                "demonstrations": demonstrations,
            },
            "dpo": {"model": model, "rankings": folder / "rankings"},
            "ppo": ppo,
        }

    def run(self, stage: str, folder: Path, *, resume: bool = False, **changes: Any) -> None:
        run(stage, folder, CONFIGS[stage] | changes, resume=resume, **self.inputs[stage])

    def whole(self, stage: str) -> dict[str, bytes]:
        folder = self.folder / f"whole-{stage}"
        if not folder.exists():
            self.run(stage, folder)
        return results(folder)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def going_bad(function: Callable[..., Any], after: int) -> Callable[..., Any]:
    """The same function, whose tensor or sum is NaN after so many calls."""
    calls = [0]

    def called(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        found = function(*arguments, **options)
        if calls[0] <= after:
            return found
        if isinstance(found, Summed):
            return replace(found, total=found.total * math.nan)
        return found * math.nan

    return called


def assert_finite(run_folder: Path) -> int:
    """Of everything that a run has saved; returns in how many checkpoints."""
    found = sorted((run_folder / "checkpoints").glob("step_*/state.safetensors"))
    for path in found:
        for name, tensor in load_file(path).items():
            assert bool(torch.isfinite(tensor).all()), f"{path}: {name}"
    return len(found)


@pytest.mark.parametrize(
    ("stage", "where", "name", "after", "said"),
    [
        ("pretrain", pretrain_train, "next_token_loss", 8, r"step 5: the pretraining loss is nan"),
        ("sft", sft_train, "response_loss", 12, r"step \d: the demonstration loss is nan"),
        ("sft", sft_train, "block_log_probs", 5, r"step 5: the pretraining loss is nan"),
        ("reward", reward_train, "ranking_loss", 6, r"step 5: the ranking loss is nan"),
        ("dpo", preference_train, "preference_loss", 4, r"step \d: the preference loss is nan"),
        ("ppo", gradients.objective, "policy_loss", 10, r"step \d+: the policy loss is nan"),
        ("ppo", gradients.objective, "value_loss", 10, r"step \d+: the value loss is nan"),
        ("ppo", gradients, "block_log_probs", 9, r"step \d+: the pretraining loss is nan"),
        ("ppo", native.Head, "logits", 25, r"a log-probability of the sampler is not finite"),
        ("ppo", ScalarModel, "values", 13, r"a value of the value function is not finite"),
        ("ppo", RewardModels, "score", 3, r"iteration 4: a score of the reward model is not"),
        ("ppo", rollout, "response_log_probs", 9, r"a log-probability of the reference is not"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)
def test_nan_in_any_term_is_named_and_the_run_goes_on_from_the_last_checkpoint(
    bench: Bench,
    stage: str,
    where: Any,
    name: str,
    after: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patched, pytest.raises(NumericsError, match=said) as stopped:
        patched.setattr(where, name, going_bad(getattr(where, name), after))
        bench.run(stage, folder)

    assert "the last checkpoint is good" in str(stopped.value)
    assert json.loads((folder / "manifest.json").read_text())["status"] == "failed"
    assert assert_finite(folder) > 0
    bench.run(stage, folder, resume=True)
    assert results(folder) == bench.whole(stage), "once it is mended, as if nothing had been"


@pytest.mark.parametrize("rate", [3.0, 30.0, 1e20, 1e38])
@pytest.mark.parametrize("ptx_coef", [0, 0.5])
def test_a_policy_that_runs_away_is_warned_of_or_stopped_and_never_saved_as_nan(
    bench: Bench, rate: float, ptx_coef: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning rate that no policy survives: the KL explodes."""
    fast = {
        "policy_optimizer": {"learning_rate": rate, "schedule": "constant"},
        "ptx_coef": ptx_coef,
        "warmup_iterations": 0,
        "checkpoint_every": 1,
        "episodes": 48,
    }
    inputs = (
        bench.inputs["ppo"]
        if ptx_coef
        else {name: path for name, path in bench.inputs["ppo"].items() if name != "text"}
    )
    stopped: NumericsError | None = None
    try:
        run("ppo", tmp_path / "run", PPO | fast, **inputs)
    except NumericsError as error:
        stopped = error

    rows = metrics(tmp_path / "run") if (tmp_path / "run" / "metrics.jsonl").exists() else []
    if stopped is None:
        assert max(row["kl_reference"] for row in rows) > 50
        assert "nats per sequence" in capsys.readouterr().err
        weights = load_file(open_artifact(tmp_path / "run", "policy").path / "model.safetensors")
        assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    else:
        assert str(stopped).startswith(("step ", "iteration "))
        assert "the last checkpoint is good" in str(stopped)
        assert assert_finite(tmp_path / "run") == min(len(rows), 2)


def test_a_plug_in_that_fails_later_on_costs_no_more_than_the_steps_since_the_checkpoint(
    bench: Bench, tmp_path: Path
) -> None:
    """Its file is an input of the run, so what is mended is what it reads, not the file."""
    switch = tmp_path / "broken"
    plug_in = tmp_path / "judge.py"
    plug_in.write_text(
        "from pathlib import Path\n"
        "calls = [0]\n"
        "def judge(prompts, responses):\n"
        "    calls[0] += 1\n"
        f"    if calls[0] > 3 and Path({str(switch)!r}).exists():\n"
        "        raise ValueError('the scoring server is down')\n"
        "    return [float(len(response)) for response in responses]\n"
    )
    inputs = {**bench.inputs["ppo"], "reward_function": f"{plug_in}:judge"}

    run("ppo", tmp_path / "whole", PPO, **inputs)  # type: ignore[arg-type]
    switch.touch()
    with pytest.raises(RewardError, match="the scoring server is down"):
        run("ppo", tmp_path / "run", PPO, **inputs)  # type: ignore[arg-type]
    assert assert_finite(tmp_path / "run") == 1
    switch.unlink()
    run("ppo", tmp_path / "run", PPO, resume=True, **inputs)  # type: ignore[arg-type]

    assert results(tmp_path / "run") == results(tmp_path / "whole")


@pytest.mark.parametrize("stage", ["pretrain", "sft", "reward", "dpo", "ppo"])
def test_a_full_disk_stops_a_stage_in_a_line_and_with_space_again_it_ends_with_the_same_bytes(
    bench: Bench, stage: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"

    with full_disk(12_000), pytest.raises(RunError, match=r"could not be saved .* free some space"):
        bench.run(stage, folder)
    bench.run(stage, folder, resume=True)

    assert results(folder) == bench.whole(stage)
