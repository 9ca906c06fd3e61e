"""The inputs of the benchmarks: both sides read the same tokens, in exactly the lengths that were asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt, Ranking
from alignloop.models.loading import load_causal_lm, load_tokenizer
from alignloop.models.reward_model import ScalarModel
from alignloop.training.rankings import encode_rankings
from benchmarks.job import Shape
from benchmarks.models import prepare
from tests.helpers import ARCHITECTURES

SHAPE = Shape(hidden=32, layers=1, heads=2, intermediate=48, vocabulary=64, context=64)


def test_rankings_have_the_lengths_that_were_asked_for_on_both_sides(tmp_path: Path) -> None:
    work = {"prompt": 9, "response": 5, "completions": 4}
    prepare("reward", tmp_path, SHAPE, work, count=3)

    formatter = Formatter.of(load_tokenizer(tmp_path / "model"))
    records = read_records(tmp_path / "rankings" / "train.jsonl.gz", Ranking)
    ours = encode_rankings(records, formatter, SHAPE.context)
    theirs = json.loads((tmp_path / "rows.json").read_text())
    assert [row.prompt for row in ours] == theirs["prompts"]
    assert [row.completions for row in ours] == theirs["responses"]
    assert [len(row.prompt) for row in ours] == [9, 9, 9]
    assert {len(c) for row in ours for c in row.completions} == {5}
    assert all(len(row.pairs) == 6 for row in ours)


def test_ppo_reads_one_trunk_for_all_its_models(tmp_path: Path) -> None:
    prepare("ppo", tmp_path, SHAPE, {"prompt": 6, "response": 4}, count=5)

    policy = load_causal_lm(tmp_path / "model")
    scorer = ScalarModel.load(tmp_path / "reward-model").model
    for name, weight in policy.base_model.state_dict().items():
        assert torch.equal(weight, scorer.base_model.state_dict()[name]), name
    formatter = Formatter.of(load_tokenizer(tmp_path / "model"))
    asked = read_records(tmp_path / "prompts" / "rl.jsonl.gz", Prompt)
    prompts = json.loads((tmp_path / "rows.json").read_text())["prompts"]
    assert [formatter.prompt(one) for one in asked] == prompts
    assert [len(prompt) for prompt in prompts] == [6] * 5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_is_the_same_twice(architecture: str, tmp_path: Path) -> None:
    shape = Shape(architecture, 32, 1, 2, 48, 64, 64)
    for name in ("one", "two"):
        prepare("rollout", tmp_path / name, shape, {"prompt": 6, "response": 4}, count=1)

    one, two = (load_causal_lm(tmp_path / name / "model") for name in ("one", "two"))
    assert one.config.model_type == architecture
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name]), name
