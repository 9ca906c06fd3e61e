"""With which settings the loop's stages run: recipes, what the loop sets, and what loop.toml says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignloop.errors import ConfigError
from alignloop.workflow.loop.act import config_of
from alignloop.workflow.loop.calls import call_for
from alignloop.workflow.loop.config import LoopConfig
from alignloop.workflow.loop.steps import Step


def made(step: Step, **settings: Any) -> dict[str, Any]:
    config = LoopConfig.model_validate(settings)
    call = call_for(step, config, Path("lab"))
    assert call is not None
    return config_of(call, config).model_dump()


def test_the_bundled_model_goes_by_the_demos_recipes() -> None:
    assert made(Step("sft", "sft"))["max_prompt_tokens"] == 112
    assert made(Step("ppo", "ppo_ptx-1", 1))["ptx_coef"] == 0.3
    assert made(Step("ppo", "ppo-1", 1), ptx=False)["ptx_coef"] == 0.0
    assert made(Step("rl_init", "rl_init", 1))["pretraining_mix"] == 0.1


def test_another_model_goes_by_the_stages_defaults() -> None:
    base = {"base": "mine", "text": "text"}

    assert made(Step("sft", "sft"), **base)["epochs"] == 16
    assert made(Step("ppo", "ppo_ptx-1", 1), **base)["ptx_coef"] == 27.8
    assert made(Step("ppo", "ppo-1", 1), **base, ptx=False)["ptx_coef"] == 0.0
    found = made(Step("rl_init", "rl_init", 1), **base)
    assert (found["pretraining_mix"], found["epochs"]) == (0.1, 2)


def test_a_folder_of_recipes_may_lack_some(tmp_path: Path) -> None:
    (tmp_path / "sft.toml").write_text("epochs = 7\n")

    assert made(Step("sft", "sft"), recipes=tmp_path)["epochs"] == 7
    assert made(Step("sample", "samples-1", 1), recipes=tmp_path)["k_max"] == 9


def test_settings_have_the_last_word_and_tables_keep_the_rest() -> None:
    learning = {"settings": {"sft": {"epochs": 3, "optimizer": {"learning_rate": 1e-5}}}}
    found = made(Step("sft", "sft"), seed=5, **learning)

    assert (found["seed"], found["epochs"]) == (5, 3)
    assert found["optimizer"]["learning_rate"] == 1e-5
    assert found["optimizer"]["schedule"] == "cosine"
    limited = {"rankings": {"prompts": 30}, "settings": {"samples": {"limit": 20, "k_min": 5}}}
    found = made(Step("sample", "samples-1", 1), **limited)
    assert (found["limit"], found["k_min"]) == (20, 5)
    with pytest.raises(ConfigError, match="epoch"):
        made(Step("sft", "sft"), settings={"sft": {"epoch": 3}})


def test_later_rounds_draw_with_seeds_of_their_own() -> None:
    seeds = [made(Step("sample", f"samples-{n}", n), seed=5)["seed"] for n in (1, 2, 3)]

    assert seeds[0] == 5
    assert len(set(seeds)) == 3


def test_what_is_compared() -> None:
    config = LoopConfig()
    answers = call_for(Step("answer old", "answers-1-old", 1), config, Path("lab"))
    votes = call_for(Step("count votes", "comparison-2", 2), config, Path("lab"))

    assert answers is not None and votes is not None
    assert (answers.inputs["name"], answers.inputs["files"]) == ("baseline", ("test",))
    assert answers.values["k_min"] == answers.values["k_max"] == 2
    assert votes.inputs["challenger_name"] == "ppo_ptx-2"
    assert votes.inputs["against_name"] == "ppo_ptx-1"
    assert votes.inputs["campaign"] == "comparison, round 2"
