"""The foundation: three bases with one tokenizer, stages made once, a demo that serves, and what is refused."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.jsonl import write_records
from alignloop.errors import ArtifactError, ConfigError
from alignloop.files import write_json
from alignloop.models.loading import check_same_tokens
from alignloop.ppo.config import PPOConfig
from alignloop.resources import asset
from alignloop.reward.config import RewardConfig
from alignloop.runs.artifact import Kind, open_artifact, write_artifact
from alignloop.workflow.studies.foundation import BASES, STAGES, BaseName, Ground, base_model
from alignloop.workflow.studies.registry import study_of
from alignloop.workflow.studies.run import Asked, run_studies
from tests.docs.tables import DOCS
from tests.helpers import contents, prompt

SMALLER: tuple[BaseName, ...] = ("small", "medium")


def ground(folder: Path, demo: Path | None = None, **flags: Any) -> Ground:
    given = {"precision": "float32", "smoke": True, "say": print, "finished": demo} | flags
    return Ground(folder, **given)


def made(folder: Path, name: str, kind: Kind = "prompts") -> Path:
    """A finished stage, whatever is in it."""

    def write(inside: Path) -> None:
        write_records(inside / "valid.jsonl.gz", [prompt(1)])

    return write_artifact(folder / name / "artifact", kind, write, parents=[], facts={}).path


# --- bases ---


@pytest.mark.parametrize("name", SMALLER)
def test_a_smaller_base_is_put_together_whole(name: BaseName, tmp_path: Path) -> None:
    whole = base_model(name, tmp_path)

    assert open_artifact(whole, "policy").facts["stage"] == "pretrain"
    check_same_tokens(asset("base"), whole)
    shipped = contents(asset(BASES[name].asset))
    assert "tokenizer.json" not in shipped
    assert contents(whole) == shipped | {
        "tokenizer.json": (asset("base") / "tokenizer.json").read_bytes()
    }


def test_two_studies_that_begin_in_one_folder_share_a_base(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: base_model("small", tmp_path), range(8)))

    assert set(made) == {tmp_path / "small"}
    open_artifact(made[0], "policy")


@pytest.mark.parametrize("name", SMALLER)
def test_a_smaller_base_learned_from_the_same_text(name: BaseName) -> None:
    """Whose split a test of the demo's base checks."""
    own, theirs = (
        json.loads((asset(base) / "artifact.json").read_text(encoding="utf-8"))["facts"]
        for base in (BASES[name].asset, "base")
    )

    assert own == theirs, "text, and number of tokens"


def test_the_bases_have_the_sizes_that_the_docs_say(tmp_path: Path) -> None:
    from alignloop.models.loading import load_causal_lm

    page = (DOCS / "studies.md").read_text(encoding="utf-8")

    for name in BASES:
        count = sum(p.numel() for p in load_causal_lm(base_model(name, tmp_path)).parameters())
        said = re.search(rf"^\| `{name}` \| ([\d.]+) million \|", page, re.MULTILINE)
        assert said
        assert float(said[1]) == pytest.approx(count / 1e6, rel=0.03)


def test_the_bases_together_are_small() -> None:
    files = [path for one in BASES.values() for path in asset(one.asset).iterdir()]

    assert sum(path.stat().st_size for path in files) < 15_000_000


def test_their_bits_per_byte_are_those_that_were_measured() -> None:
    page = (DOCS / "pretrain.md").read_text(encoding="utf-8")

    for name in SMALLER:
        found = json.loads(asset(f"bits_per_byte_{name}.json").read_text(encoding="utf-8"))
        assert f"| `base_{name}` | {found['model']:.3f} |" in page


def test_a_base_of_another_tokenizer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "base_small"
    other.mkdir()
    write_json(other / "artifact.json", {"files": {"tokenizer.json": "0" * 64}})
    monkeypatch.setattr(
        "alignloop.workflow.studies.foundation.asset",
        lambda name: other if name == "base_small" else asset(name),
    )

    with pytest.raises(ArtifactError, match="another tokenizer"):
        base_model("small", tmp_path / "bases")


def test_a_base_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignloop.workflow.studies.foundation.asset", lambda name: tmp_path / name)

    with pytest.raises(ArtifactError, match="came without this base model"):
        base_model("medium", tmp_path / "bases")


# --- stages ---


def test_every_stage_is_made_after_what_it_needs(tmp_path: Path) -> None:
    order = ground(tmp_path).foundation("demo", 1).missing(list(STAGES))

    assert sorted(order) == sorted(STAGES)
    for name, stage in STAGES.items():
        for source in stage.inputs.values():
            assert source == "base" or order.index(source) < order.index(name), (source, name)
    assert order.index("sft") < order.index("baseline"), "its epochs are the candidates"


def test_only_what_is_needed_is_made(tmp_path: Path) -> None:
    foundation = ground(tmp_path).foundation("demo", 1)

    assert foundation.missing(["base"]) == []
    assert foundation.missing(["sft"]) == ["demonstrations", "stories", "sft"] or (
        foundation.missing(["sft"]) == ["stories", "demonstrations", "sft"]
    )


def test_seeds_have_folders_of_their_own_and_share_the_stories(tmp_path: Path) -> None:
    first, second = (ground(tmp_path).foundation("demo", seed) for seed in (1, 2))
    made(tmp_path / "foundations" / "shared", "stories", "pretraining-text")
    made(tmp_path / "foundations" / "demo_seed_1", "prompts")

    assert first.path("prompts") == tmp_path / "foundations/demo_seed_1/prompts/artifact"
    assert first.missing(["prompts"]) == []
    assert second.missing(["prompts"]) == ["prompts"], "the stories are there for both"


def test_learning_rates_are_those_of_the_base(tmp_path: Path) -> None:
    rates: dict[str, tuple[float, float]] = {}
    for base in BASES:
        foundation = ground(tmp_path).foundation(base, 3)
        reward = foundation.config("reward", "reward", "epochs=2")
        ppo = foundation.config("ppo", "ppo_ptx")
        assert isinstance(reward, RewardConfig)
        assert isinstance(ppo, PPOConfig)
        assert (reward.seed, reward.epochs, reward.precision) == (3, 2, "float32")
        assert ppo.value_optimizer.learning_rate == pytest.approx(
            2.5 * ppo.policy_optimizer.learning_rate
        )
        rates[base] = (reward.optimizer.learning_rate, ppo.policy_optimizer.learning_rate)

    assert rates["demo"] == pytest.approx((6e-4, 4e-4)), "the recipes'"
    assert rates["medium"] == pytest.approx((12e-4, 8e-4))
    assert rates["small"] == pytest.approx((18e-4, 12e-4))


def test_what_is_overridden_comes_last(tmp_path: Path) -> None:
    config = (
        ground(tmp_path)
        .foundation("small", 1)
        .config("reward", "reward", "optimizer.learning_rate=0.5", "batch_size=3")
    )

    assert isinstance(config, RewardConfig)
    assert (config.optimizer.learning_rate, config.batch_size) == (0.5, 3)


# --- flags, and a demo that is given ---


def test_one_folder_holds_one_precision(tmp_path: Path) -> None:
    ground(tmp_path).foundation("demo", 1)

    with pytest.raises(ArtifactError, match="made with --precision float32 --smoke"):
        ground(tmp_path, precision="bfloat16").foundation("demo", 1)


def demo_of(folder: Path, seed: int = 2, **flags: Any) -> Path:
    made(folder, "prompts")
    write_json(folder / "demo.json", {"seed": seed, "smoke": True, "precision": "float32"} | flags)
    write_json(folder / "report.json", {})
    started = {"role": "model", "sha256": open_artifact(asset("base"), "policy").sha256}
    write_json(folder / "sft" / "manifest.json", {"inputs": [started]})
    return folder


def test_a_finished_demo_serves_as_its_seed(tmp_path: Path) -> None:
    demo = demo_of(tmp_path / "demo")
    studies = ground(tmp_path / "studies", demo)

    assert studies.foundation("demo", 2).path("prompts") == demo / "prompts" / "artifact"
    assert studies.foundation("demo", 1).missing(["prompts"]) == ["stories", "prompts"]
    assert studies.foundation("small", 2).missing(["prompts"]) == ["stories", "prompts"]
    assert studies.foundation("demo", 2).place("rankings_k9").is_relative_to(tmp_path / "studies")


@pytest.mark.parametrize(("base", "seeds"), [(None, 3), ("demo", 1)], ids=["base", "seed"])
def test_a_demo_that_would_serve_nothing_is_refused(
    base: BaseName | None, seeds: int, tmp_path: Path
) -> None:
    studies = ground(tmp_path / "studies", demo_of(tmp_path / "demo"))

    with pytest.raises(ConfigError, match=r"would not be used: .* leave --demo out"):
        run_studies([study_of("ptx-coef")], Asked(studies, seeds, base=base), lambda _: None)


def test_a_demo_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    unfinished = tmp_path / "none"
    unfinished.mkdir()
    with pytest.raises(ArtifactError, match="no finished demo"):
        ground(tmp_path / "studies", unfinished).foundation("demo", 2)
    other = demo_of(tmp_path / "other", precision="bfloat16")
    with pytest.raises(ArtifactError, match="made with precision bfloat16, as a smoke run"):
        ground(tmp_path / "studies", other).foundation("demo", 2)
    foreign = demo_of(tmp_path / "foreign")
    write_json(foreign / "sft/manifest.json", {"inputs": [{"role": "model", "sha256": "1"}]})
    with pytest.raises(ArtifactError, match="another base model"):
        ground(tmp_path / "studies", foreign).foundation("demo", 2)
