"""The yardstick against sums by hand, expert iteration and the study of DPO and PPO on tiny models."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from alignloop.config import load_config
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.errors import ConfigError, Interrupted
from alignloop.files import write_json
from alignloop.generation.answers import answer
from alignloop.generation.engine import SamplingConfig
from alignloop.models.loading import load_causal_lm
from alignloop.runs.run import Run
from alignloop.workflow.expert_iteration import ExpertIterationConfig, expert_iteration
from alignloop.workflow.measure import Yardstick
from tests.docs.tables import ROOT
from tests.helpers import (
    PPO,
    REWARD,
    SFT,
    contents,
    metrics,
    results,
    run,
    signal_at,
    tiny_tokenizer,
    write_demonstrations,
    write_model,
    write_prompts,
    write_rankings,
    write_text,
)

SAMPLING = SamplingConfig(max_new_tokens=10)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the demo leaves it, as far as the study reads it, made of tiny models."""
    folder = tmp_path_factory.mktemp("demo")
    write_text(folder / "stories")
    write_prompts(folder / "prompts")
    write_rankings(folder / "rankings")
    write_demonstrations(folder / "demonstrations")
    base = write_model(folder / "base")
    short = {"epochs": 1, "checkpoint_every": 100}
    demonstrations = {"demonstrations": folder / "demonstrations"}
    run("lexicon", folder / "lexicon", {}, text=folder / "stories")
    run(
        "sft",
        folder / "rl_init",
        SFT | short,
        model=base,
        text=folder / "stories",
        **demonstrations,
    )
    plain = SFT | short | {"pretraining_mix": 0.0}
    run("sft", folder / "baseline", plain, model=base, **demonstrations)
    inputs = {"rankings": folder / "rankings", **demonstrations}
    run("reward", folder / "reward", REWARD | short, model=folder / "baseline", **inputs)
    for method, coef in (("ppo", 0.0), ("ppo_ptx", 0.5)):
        run(
            "ppo",
            folder / method,
            PPO | {"ptx_coef": coef, "kl_coef": 0.03, "episodes": 8},
            policy=folder / "rl_init",
            reward_model=folder / "reward",
            prompts=folder / "prompts",
            text=folder / "stories",
        )
    write_json(folder / "demo.json", {"seed": 3, "smoke": False, "precision": "float32"})
    write_json(folder / "report.json", {})
    return folder


def yardstick(demo: Path, folder: Path, **changes: Any) -> Yardstick:
    given = {
        "prompts": demo / "prompts",
        "reward_model": demo / "reward",
        "reference": demo / "rl_init",
        "lexicon": demo / "lexicon",
        "baseline": demo / "baseline",
        "sampling": SAMPLING,
        "seed": 3,
        "copies": 3,
    }
    return Yardstick(folder, **(given | changes))


# --- measuring ---


def test_the_kl_is_the_mean_log_ratio_of_the_policys_own_answers(
    demo: Path, tmp_path: Path
) -> None:
    """Token by token from the logits of both models, without our log-probabilities."""
    found = yardstick(demo, tmp_path).measure(demo / "ppo", "ppo")

    policy, reference = (load_causal_lm(demo / name / "artifact") for name in ("ppo", "rl_init"))
    formatter = Formatter.of(tiny_tokenizer())
    prompts = read_records(demo / "prompts" / "valid.jsonl.gz", Prompt)
    groups = answer(policy, formatter, prompts, SAMPLING, 3, "ppo", copies=3)
    ratios: list[float] = []
    for prompt, group in zip(prompts, groups, strict=True):
        asked = formatter.prompt(prompt)
        for one in group:
            tokens = torch.tensor([[*asked, *one.tokens]])
            at = torch.arange(len(one.tokens))
            with torch.no_grad():
                ours, theirs = (
                    torch.log_softmax(model(tokens).logits[0, len(asked) - 1 : -1].double(), -1)[
                        at, tokens[0, len(asked) :]
                    ].sum()
                    for model in (policy, reference)
                )
            ratios.append(float(ours - theirs))
    assert len(ratios) == 12
    assert found["kl"] == pytest.approx(sum(ratios) / 12, abs=1e-4)
    assert abs(found["kl"]) > 0.001


def test_the_reference_is_at_kl_zero_and_the_baseline_wins_half_against_itself(
    demo: Path, tmp_path: Path
) -> None:
    measured = yardstick(demo, tmp_path)

    assert measured.measure(demo / "rl_init", "reference")["kl"] == pytest.approx(0, abs=1e-4)
    # The same name draws the same answers, and every answer meets all of them.
    assert measured.measure(demo / "baseline", "baseline")["win_rate"] == pytest.approx(0.5)


def test_best_of_one_is_the_reference_and_more_score_higher_at_the_bound(
    demo: Path, tmp_path: Path
) -> None:
    measured = yardstick(demo, tmp_path, copies=8)

    rows = measured.measure_best_of([1, 2, 8], "reference")
    alone = yardstick(demo, tmp_path / "alone", copies=8).measure(demo / "rl_init", "reference")

    for key in ("score", "gold", "win_rate", "length", "eos_rate"):
        assert rows[0][key] == pytest.approx(alone[key], abs=1e-5), key
    assert rows[0]["score"] < rows[1]["score"] < rows[2]["score"]
    assert [row["kl"] for row in rows] == pytest.approx([0, math.log(2) - 0.5, math.log(8) - 7 / 8])


def test_what_was_measured_is_read_again_until_policy_or_yardstick_change(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    draw = Yardstick._answers
    monkeypatch.setattr(
        Yardstick, "_answers", lambda self, *a: (asked.append(a[1]), draw(self, *a))[1]
    )
    plain = {"lexicon": None, "baseline": None}

    first = yardstick(demo, tmp_path, **plain).measure(demo / "ppo", "x")
    again = yardstick(demo, tmp_path, **plain).measure(demo / "ppo", "x")
    assert (first, asked) == (again, ["x"])
    assert yardstick(demo, tmp_path, **plain).has("x")
    assert not yardstick(demo, tmp_path, **plain, seed=4).has("x")
    yardstick(demo, tmp_path, **plain).measure(demo / "ppo_ptx", "x")
    yardstick(demo, tmp_path, **plain, seed=4).measure(demo / "ppo_ptx", "x")

    assert asked == ["x", "x", "x"]
    assert "gold" not in first


# --- expert iteration ---

EXPERT = ExpertIterationConfig.model_validate(
    {
        "rounds": 2,
        "rejection": {"n": 8, "seed": 3, "sampling": {"max_new_tokens": 10}},
        "sft": SFT | {"pretraining_mix": 0.0, "checkpoint_every": 1, "epochs": 4},
        "copies": 4,
    }
)


def experts(demo: Path, out: Path, config: ExpertIterationConfig = EXPERT) -> list[dict[str, Any]]:
    said: list[str] = []
    inputs = {
        "model": demo / "rl_init",
        "reward_model": demo / "reward",
        "prompts": demo / "prompts",
    }
    result = expert_iteration(out, config, said.append, file="rl", **inputs)
    assert len(said) == len(result["rows"]) == config.rounds + 1
    assert json.loads((out / "rounds.json").read_text()) == result
    return result["rows"]


def comparable(folder: Path) -> dict[str, bytes]:
    """All that a repeat must reproduce."""
    runs = [path.parent for path in folder.rglob("manifest.json")]
    found = {f"{run.relative_to(folder)}/{k}": v for run in runs for k, v in results(run).items()}
    return found | contents(folder, lambda path: path.parent.name in (folder.name, "measured"))


def test_expert_iteration_learns_the_answers_that_it_kept(demo: Path, tmp_path: Path) -> None:
    rows = experts(demo, tmp_path / "run")

    assert [row["round"] for row in rows] == [0, 1, 2]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert rows[2]["kl"] > rows[1]["kl"] > 0.1
    assert rows[1]["kept_score"] > rows[0]["score"]
    for number in (1, 2):
        losses = [row["loss"] for row in metrics(tmp_path / f"run/round_0{number}/sft")]
        assert losses[-1] < losses[0]
    lineage = json.loads((tmp_path / "run/round_02/kept/artifact/artifact.json").read_text())
    assert [parent["role"] for parent in lineage["parents"]] == ["model", "reward_model", "prompts"]


def test_expert_iteration_stopped_in_its_second_round_goes_on_with_the_same_bytes(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = signal_at(2)

    def in_round_two(self: Run, at: int, *arguments: Any, **timings: Any) -> None:
        (log if self.folder.parent.name == "round_02" else plain)(self, at, *arguments, **timings)

    plain = Run.log
    with monkeypatch.context() as patched, pytest.raises(Interrupted, match="same command") as stop:
        patched.setattr(Run, "log", in_round_two)
        experts(demo, tmp_path / "run")
    assert stop.value.exit_code == 143

    experts(demo, tmp_path / "run")
    experts(demo, tmp_path / "whole")

    assert comparable(tmp_path / "run") == comparable(tmp_path / "whole")


def test_expert_iteration_has_no_text_to_mix_in(demo: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pretraining_mix is not for expert iteration"):
        experts(demo, tmp_path, ExpertIterationConfig.model_validate({"sft": SFT}))


def test_the_command_in_the_docs_sets_what_there_is() -> None:
    page = (ROOT / "docs" / "sampling.md").read_text()
    [shown] = re.findall(r"alignloop sample expert-iteration .*?```", page, re.DOTALL)

    settings = load_config(ExpertIterationConfig, None, re.findall(r"--set (\S+)", shown))

    assert (settings.rounds, settings.rejection.limit, settings.sft.epochs) == (3, 300, 1)
