"""Which step may be done beside which."""

from __future__ import annotations

from pathlib import Path

from alignloop.workflow.studies.foundation import BaseName
from alignloop.workflow.studies.steps import Step, next_step


def stage(name: str, seed: int = 1, base: BaseName = "medium") -> Step:
    return step(f"{base}_{seed}: {name}", base, seed, stage=name)


def cell(name: str, seed: int = 1, base: BaseName = "medium", judge: str | None = None) -> Step:
    label = f"{base}_{seed}: {name}"
    return step(label, base, seed, cell=f"{base}_{name}_{seed}", judge=judge)


def step(
    label: str, base: BaseName, seed: int, stage: str = "", cell: str = "", judge: str | None = None
) -> Step:
    places = [f"{base}_{seed}", *([] if judge is None else [f"{judge}_{seed}"])]
    return Step("study", base, seed, stage, cell, label, 1.0, label, frozenset(map(Path, places)))


def test_what_all_foundations_share_comes_before_everything() -> None:
    stories, sft, other = stage("stories"), stage("sft"), stage("sft", seed=2)

    assert next_step([stories, sft, other], []) is stories
    assert next_step([sft, other], [stories]) is None


def test_stages_of_one_foundation_go_one_by_one_beside_those_of_another() -> None:
    sft, reward, other = stage("sft"), stage("reward"), stage("sft", seed=2)

    assert next_step([reward, other], [sft]) is other
    assert next_step([reward], [sft, other]) is None
    assert next_step([reward], [other]) is reward


def test_cells_wait_for_their_foundation_and_their_judges() -> None:
    sft, judged = stage("reward", base="demo"), cell("ppo", judge="demo")

    assert next_step([judged], [sft]) is None
    assert next_step([sft, judged], []) is sft
    assert next_step([cell("ppo")], [sft]).label == "medium_1: ppo"  # type: ignore[union-attr]


def test_cells_stand_side_by_side_but_for_those_of_one_name() -> None:
    """Two studies may have the same policy: it is trained once."""
    one, same, other = cell("ppo_kl_0"), cell("ppo_kl_0"), cell("ppo_kl_2")

    assert next_step([same, other], [one]) is other
    assert next_step([other], [one]) is other


def test_nothing_is_left() -> None:
    assert next_step([], [stage("sft")]) is None
