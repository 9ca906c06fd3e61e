"""Every shipped recipe loads, and the smoke overrides fit the recipes that they override."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from transformers import Qwen3Config

from alignloop.config import load_config
from alignloop.workflow import demo
from alignloop.workflow.doctor import memory
from alignloop.workflow.stages import config_class
from tests.docs.tables import ROOT

RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))
SMOKE = ROOT / "recipes/demo/smoke.toml"
BUDGET = ROOT / "recipes/demo/budget.toml"

STAGES_OF = {
    "base/base.toml": ("pretrain",),
    "base/base_small.toml": ("pretrain",),
    "base/base_medium.toml": ("pretrain",),
    "base/outside_judge.toml": ("pretrain",),
    "demo/tasks.toml": ("demonstrations", "prompts"),
    "demo/sft.toml": ("sft",),
    "demo/rl_init.toml": ("sft",),
    "demo/sft_more.toml": ("sft",),
    "demo/sample.toml": ("sample",),
    "demo/rank.toml": ("rank",),
    "demo/reward.toml": ("reward",),
    "demo/dpo.toml": ("dpo",),
    "demo/select.toml": ("select",),
    "demo/ppo.toml": ("ppo",),
    "demo/ppo_ptx.toml": ("ppo",),
    "demo/evaluate.toml": ("evaluate",),
    "studies/human_judgments.toml": ("reward",),
    **{
        f"one-gpu/{size}/{name}.toml": (stage,)
        for size in ("0.6b", "1.7b")
        for name, stage in {
            "sft": "sft",
            "rl_init": "sft",
            "sample": "sample",
            "reward": "reward",
            "ppo_ptx": "ppo",
        }.items()
    },
    **{
        f"paper/{size}/{name}.toml": (stage,)
        for size in ("1.3b", "6b", "175b")
        for name, stage in {
            "sft": "sft",
            "reward": "reward",
            "rl_init": "sft",
            "ppo_ptx": "ppo",
        }.items()
    },
}
"""Recipe -> the stages that read it; a new recipe needs a line here."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "recipes").as_posix()


@pytest.mark.parametrize("path", [p for p in RECIPES if p not in (SMOKE, BUDGET)], ids=name_of)
def test_a_recipe_loads(path: Path) -> None:
    stages = STAGES_OF[name_of(path)]

    for stage in stages:
        load_config(config_class(stage), path)


def test_no_recipe_of_the_list_is_missing() -> None:
    assert set(STAGES_OF) | {name_of(SMOKE), name_of(BUDGET)} == set(map(name_of, RECIPES))


@pytest.mark.parametrize("name", tomllib.loads(SMOKE.read_text(encoding="utf-8")))
def test_the_smoke_overrides_fit(name: str) -> None:
    path = ROOT / "recipes/demo" / f"{name}.toml"
    values = tomllib.loads(SMOKE.read_text(encoding="utf-8"))[name]
    stages = STAGES_OF[name_of(path)] if path.exists() else (name,)

    for stage in stages:
        config = load_config(
            config_class(stage), path if path.exists() else None, demo._smoke_overrides(name)
        )
        assert holds(config.model_dump(mode="json"), values)


def holds(whole: dict[str, Any], part: dict[str, Any]) -> bool:
    """Whether every value of `part`, tables and all, is that of `whole`."""
    return all(
        holds(whole[key], value) if isinstance(value, dict) else whole[key] == value
        for key, value in part.items()
    )


def test_the_stages_together_stay_within_the_promise() -> None:
    budget = tomllib.loads(BUDGET.read_text(encoding="utf-8"))

    assert all(seconds > 0 for seconds in budget.values())
    assert sum(budget.values()) < 18 * 60


def of_demo(name: str, stage: str) -> Any:
    return load_config(config_class(stage), ROOT / "recipes" / "demo" / f"{name}.toml")


@pytest.mark.parametrize("name", ["ppo", "ppo_ptx"])
def test_the_demos_rl_is_long_enough_for_its_warm_up_and_its_average(name: str) -> None:
    config = of_demo(name, "ppo")
    updates = config.iterations * config.updates_per_iteration

    assert updates >= 100
    assert config.warmup_iterations <= 0.1 * config.iterations
    assert config.ema_decay**updates <= 0.01
    assert config.ptx_coef == 0 or config.ptx_ratio == 1


def test_the_demos_two_policies_differ_in_the_pretraining_gradients_alone() -> None:
    plain, ptx = (of_demo(name, "ppo").model_dump() for name in ("ppo", "ppo_ptx"))

    differing = {key for key in plain if plain[key] != ptx[key]}
    assert differing == {"ptx_coef", "ptx_ratio", "ptx_tokens"}


def test_one_longest_answer_serves_all_of_the_demo() -> None:
    drawn = {of_demo(*where).sampling for where in (("sample", "sample"), ("ppo", "ppo"))}
    drawn |= {of_demo("ppo_ptx", "ppo").sampling, of_demo("evaluate", "evaluate").sampling}
    drawn.add(of_demo("select", "select").sampling)

    assert len(drawn) == 1
    assert drawn.pop().temperature == 1.0


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_a_recipe_says_why(path: Path) -> None:
    """Departures from the paper carry their reason."""
    if path.name in ("evaluate.toml", "rank.toml", "select.toml"):
        return  # nothing in them departs from the paper
    assert path.read_text(encoding="utf-8").startswith("# ")


# --- one GPU ---

ONE_GPU = ROOT / "recipes/one-gpu"
SIZES = {"0.6b": (1024, 3072), "1.7b": (2048, 6144)}
"""Hidden and intermediate size of Qwen3's two smallest models."""
LENGTH = 1024
"""Longest prompt and answer together for which the memory is reckoned."""


def qwen3(size: str) -> Qwen3Config:
    hidden, intermediate = SIZES[size]
    return Qwen3Config(
        vocab_size=151936,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    )


@pytest.mark.parametrize("size", SIZES)
def test_one_gpus_page_has_the_doctors_estimate_of_every_stage(size: str) -> None:
    def of(name: str, stage: str) -> Any:
        return load_config(config_class(stage), ONE_GPU / size / f"{name}.toml")

    ppo = of("ppo_ptx", "ppo")
    shape = memory.shape_of(qwen3(size), "bfloat16", ppo.adapters)
    peaks = {
        name: memory.training_memory(
            shape, of(name, stage).micro_batch_tokens, has_logits=stage == "sft"
        ).peak
        for name, stage in (("sft", "sft"), ("rl_init", "sft"), ("reward", "reward"))
    }
    drawing = memory.sampling_memory(
        "float32", shape, LENGTH, of("sample", "sample").sampling.batch_rows
    )
    peaks["sample"] = 4 * shape.parameters + drawing
    peaks["ppo_ptx"] = memory.ppo_memory(ppo, shape, [shape], LENGTH).peak
    page = (ONE_GPU / "README.md").read_text(encoding="utf-8")
    column = list(SIZES).index(size)

    for name, peak in peaks.items():
        row = re.search(rf"^\| `{name}` \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
        assert row, name
        assert int(row[1 + column]) == round(peak / memory.GIB), name


@pytest.mark.parametrize("size", SIZES)
def test_one_gpus_stages_fit_together(size: str) -> None:
    configs = {
        name: load_config(config_class(stage), ONE_GPU / size / f"{name}.toml").model_dump()
        for name, stage in (
            ("sft", "sft"),
            ("rl_init", "sft"),
            ("reward", "reward"),
            ("sample", "sample"),
            ("ppo_ptx", "ppo"),
        )
    }
    ppo = configs["ppo_ptx"]
    updates = ppo["episodes"] // ppo["minibatch_size"]

    assert len({str(c["adapters"]) for n, c in configs.items() if n != "sample"}) == 1
    assert configs["sample"]["sampling"] == ppo["sampling"]
    assert ppo["ema_decay"] ** updates < 0.05
    assert ppo["ptx_tokens"] < LENGTH


# --- the paper ---

PAPER = ROOT / "recipes/paper"
_CITED = re.compile(r"# (?:.*\b(?:App\. C|[CE]\.\d|3\.5|Eq\. \d|Table \d)|not printed)")


@pytest.mark.parametrize("path", sorted(PAPER.rglob("*.toml")), ids=name_of)
def test_every_value_of_the_paper_says_where_it_is_printed_or_that_it_is_not(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            assert _CITED.search(line), line


def of_paper(size: str, name: str) -> Any:
    (stage,) = STAGES_OF[f"paper/{size}/{name}.toml"]
    return load_config(config_class(stage), PAPER / size / f"{name}.toml")


@pytest.mark.parametrize("name", ["sft", "reward", "ppo_ptx"])
def test_the_papers_recipe_for_1_3b_is_the_stages_defaults(name: str) -> None:
    """But for lengths, which the paper's context gives, and for precision."""
    recipe = of_paper("1.3b", name)
    lengths = {"max_prompt_tokens", "ptx_tokens", "sampling", "precision"}

    assert recipe.model_dump(exclude=lengths) == type(recipe)().model_dump(exclude=lengths)


def test_the_papers_numbers_differ_between_sizes_where_it_says_so() -> None:
    """C.1, C.3, C.4: learning rates and batches; 500 iterations and 4,000 updates at every size."""
    sizes = ("1.3b", "6b", "175b")

    def rates(name: str, table: str = "optimizer") -> list[float]:
        return [getattr(of_paper(size, name), table).learning_rate for size in sizes]

    assert rates("sft") == [9.65e-6, 9.65e-6, 5.03e-6]
    assert rates("rl_init") == [5e-6, 1.04e-5, 2.45e-6]
    assert rates("reward") == [9e-6] * 3
    assert rates("ppo_ptx", "value_optimizer") == [9e-6, 9e-6, 5e-6]
    for size, batch in zip(sizes, (32, 32, 8), strict=True):
        assert of_paper(size, "sft").batch_size == of_paper(size, "rl_init").batch_size == batch
        ppo = of_paper(size, "ppo_ptx")
        assert (ppo.iterations, ppo.iterations * ppo.updates_per_iteration) == (500, 4000)
