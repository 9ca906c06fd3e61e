"""With which settings the loop's stages run: recipes, what the loop sets, and what loop.toml says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignloop.errors import ConfigError
from alignloop.workflow.loop.act import config_of
from alignloop.workflow.loop.calls import Call, call_for
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


def called(step: Step, *, simulated: bool = False, **settings: Any) -> Call:
    call = call_for(step, LoopConfig.model_validate(settings), Path("lab"), simulated=simulated)
    assert call is not None
    return call


def test_what_is_compared() -> None:
    first = called(Step("compare", "judged-1", 1))
    later = called(Step("compare", "judged-2", 2), simulated=True)
    votes = called(Step("count votes", "comparison-2", 2))

    assert list(first.inputs["policies"]) == ["baseline", "ppo_ptx-1"]
    assert list(first.inputs["reward_models"]) == ["reward_model-reward-1"]
    assert "lexicon" not in first.inputs
    assert first.inputs["new_campaign"] == "lab:comparison, round 1"
    assert list(later.inputs["policies"]) == ["ppo_ptx-1", "ppo_ptx-2"]
    assert later.inputs["baseline"] == "ppo_ptx-1"
    assert later.inputs["lexicon"] == Path("lab/runs/lexicon")
    assert votes.inputs == {"campaign": "lab:comparison, round 2", "baseline": "ppo_ptx-1"}
    alone = called(Step("compare", "judged-1", 1), comparison={"by": "reward-model"})
    assert "new_campaign" not in alone.inputs


def test_the_control_differs_in_who_wrote_the_newest_samples_alone() -> None:
    """Prompts, seeds, settings and all that came before are the same in both arms."""
    ours = {
        action: called(Step(action, "x", 2), control=True)
        for action in ("sample", "export rankings", "reward model", "ppo")
    }
    theirs = {action: called(Step(action, "x", 2, "control"), control=True) for action in ours}

    def renamed(call: Call) -> str:
        return repr(call).replace("control-", "").replace("control ", "")

    for action in ("export rankings", "reward model", "ppo"):
        assert renamed(theirs[action]) == repr(ours[action]) != repr(theirs[action])
    assert theirs["sample"].inputs["model"] == Path("lab/runs/chosen")
    assert ours["sample"].inputs["model"] == Path("lab/runs/ppo_ptx-1")
    assert theirs["sample"].inputs["name"] == "sft"
    assert theirs["sample"].inputs["prompts"] == ours["sample"].inputs["prompts"]
    config = LoopConfig.model_validate({"control": True})
    assert config_of(theirs["sample"], config) == config_of(ours["sample"], config)
    assert theirs["export rankings"].values["campaigns"] == [
        "rankings, round 1",
        "control rankings, round 2",
    ]


def test_the_controls_comparison_has_both_arms_and_every_reward_model() -> None:
    call = called(Step("compare", "control-judged-2", 2, "control"), control=True)
    check = called(Step("check reward models", "control-check-2", 2, "control"), control=True)

    assert list(call.inputs["policies"]) == ["ppo_ptx-1", "ppo_ptx-2", "control-ppo_ptx-2"]
    assert [name.removeprefix("reward_model-") for name in call.inputs["reward_models"]] == [
        "reward-1",
        "reward-2",
        "control-reward-2",
    ]
    assert check.inputs == {
        "old": Path("lab/runs/reward-1"),
        "new": Path("lab/runs/reward-2"),
        "control": Path("lab/runs/control-reward-2"),
        "rankings": Path("lab/runs/new-rankings-2"),
    }
