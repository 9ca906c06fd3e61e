"""The page for TRL's users: its code runs, its recipe loads, and the names in its tables exist here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from alignloop.config import load_config
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.ppo.config import PPOConfig
from alignloop.training.optimizer import OptimizerConfig, learning_rate_at
from tests.docs.tables import DOCS
from tests.helpers import SENTENCES, tiny_tokenizer, write_classifier, write_model

PAGE = (DOCS / "from-trl.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def defined(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(block, "docs/from-trl.md", "exec"), names)
    return names


def test_tokenised_prompts_come_out_as_records(tmp_path: Path) -> None:
    tokenizer, path = tiny_tokenizer(), tmp_path / "prompts.jsonl"
    rows = [{"input_ids": [tokenizer.pad_token_id, *tokenizer(s)["input_ids"]]} for s in SENTENCES]

    defined(blocks("python")[0])["write_prompts"](rows, tokenizer, path)

    assert [record.text for record in read_records(path, Prompt)] == list(SENTENCES)
    assert json.loads(path.read_text().splitlines()[0]) == {"text": SENTENCES[0]}


def test_the_loop_runs_and_leaves_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "models/policy")
    write_classifier(tmp_path / "models/value")
    monkeypatch.chdir(tmp_path)

    found = defined(blocks("python")[1])

    assert found["iteration"] == 1
    assert found["episodes"].scores.tolist() == [
        -float(len(t)) for t in found["rollout"].answered.texts
    ]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "mine").config.model_type == "llama"


def test_every_code_block_is_run_or_checked() -> None:
    assert len(blocks("python")) == 2
    assert len(blocks("toml")) == 1
    assert PAGE.count("```") == 2 * (2 + 1 + len(blocks("sh")))


def test_the_recipe_near_trls_defaults_loads_and_is_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "trl.toml").write_text(blocks("toml")[0])

    config = load_config(PPOConfig, tmp_path / "trl.toml")

    assert (config.inner_epochs, config.updates_per_iteration) == (4, 4)
    rates = [learning_rate_at(step, 100, config.policy_optimizer) for step in (0, 50, 100)]
    assert rates == pytest.approx([5e-5, 2.5e-5, 0.0])


def test_the_defaults_in_the_table_are_ours() -> None:
    defaults = {**PPOConfig().model_dump(), **OptimizerConfig().model_dump()}
    for name, told in re.findall(r"^\| .*? \| .*? \| `([a-z_.]+)` \| ([\d.,e-]+) \|", PAGE, re.M):
        value: Any = defaults
        for part in name.split("."):
            value = value[part]
        assert float(told.replace(",", "")) == value, name
    assert re.findall(r"`(gae_lambda|inner_epochs|sampling.temperature)` \| ", PAGE)
