"""The studies of step 3 over tiny models, from cells to the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignloop.ppo.config import PPOConfig
from alignloop.runs.run import Run
from alignloop.workflow.measure import Yardstick
from alignloop.workflow.studies import page
from alignloop.workflow.studies.policies import Policies
from alignloop.workflow.studies.registry import study_of
from alignloop.workflow.studies.run import Asked, run_studies
from tests.helpers import signal_at
from tests.workflow.studies.laid import tiny_ground
from tests.workflow.studies.laid_for_step_3 import lay_for_step_3

STEP_3 = ("sizes", "ptx-coef", "kl-coef", "over-optimisation", "best-of-n", "dpo-vs-ppo")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_for_step_3(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def best(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Best of n against PPO, one seed, and where it lies."""
    out = tmp_path_factory.mktemp("studies")
    [result] = run_studies([study_of("best-of-n")], asked(out, finished), lambda _: None)
    return out, result


def asked(folder: Path, finished: Path, seeds: int = 1) -> Asked:
    return Asked(tiny_ground(folder, finished), seeds)


def policies(finished: Path, folder: Path) -> Policies:
    return Policies(tiny_ground(folder, finished).foundation("medium", 1))


def test_a_study_trains_measures_judges_and_is_shown(
    best: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, result = best

    assert [claim["key"] for claim in result["claims"]] == ["best-of-4-gold", "best-of-n-per-nat"]
    assert all(claim["low"] <= claim["mean"] <= claim["high"] for claim in result["claims"])
    assert {claim["seeds"][0]["n"] for claim in result["claims"]} == {4}
    rl = out / "foundations" / "medium_seed_1" / "rl"
    assert sorted(run.name for run in rl.iterdir()) == ["ppo_kl_0.1", "ppo_kl_0.3"]
    monkeypatch.setattr(page, "STUDIES", {"best-of-n": page.STUDIES["best-of-n"]})
    shown = page.write_page(out).read_text(encoding="utf-8")
    assert "Best of n against PPO" in shown
    assert "simulated labelers" in shown
    assert shown.count('<svg class="plot"') >= 2


def test_what_one_study_trained_and_measured_another_takes(
    best: tuple[Path, dict[str, Any]], finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policies of coefficients 0.03, 0.1 and 0.3 and the start are there: of a KL sweep 0 and 2 are left."""
    trained: list[str] = []
    drawn: list[str] = []
    log, draw = Run.log, Yardstick._answers
    monkeypatch.setattr(
        Run, "log", lambda self, *a, **k: (trained.append(self.folder.name), log(self, *a, **k))[1]
    )
    monkeypatch.setattr(
        Yardstick, "_answers", lambda self, *a: (drawn.append(a[1]), draw(self, *a))[1]
    )

    [result] = run_studies([study_of("kl-coef")], asked(best[0], finished), lambda _: None)

    assert set(trained) == {"ppo_kl_0", "ppo_kl_2"}
    assert drawn == ["ppo_kl_0", "baseline", "ppo_kl_2"]
    assert len(result["cells"]) == 6
    assert {claim["verdict"] for claim in result["claims"]} <= {"held", "not held", "undecided"}


def test_the_usual_policies_are_those_of_the_foundation(finished: Path, tmp_path: Path) -> None:
    one = policies(finished, tmp_path)
    usual = one.usual("ppo_ptx")
    asked_for: list[str] = []

    class Told(Policies):
        def train_ppo(self, folder: Path, *overrides: str, recipe: str = "ppo") -> Path:
            asked_for.append(f"{folder.name} {recipe} {' '.join(overrides)}")
            return folder

    told = Told(one.foundation)
    told.ppo(usual.kl_coef, 3.0)
    told.ppo(0.5)
    judged = Told(one.foundation, judge=tiny_ground(tmp_path, finished).foundation("demo", 1))
    judged.ppo(usual.kl_coef)

    assert asked_for == [
        "ppo_ptx_3_kl_0.03 ppo_ptx kl_coef=0.03 ptx_coef=3.0",
        "ppo_kl_0.5 ppo kl_coef=0.5 ptx_coef=0.0",
        "ppo_kl_0.03 ppo kl_coef=0.03 ptx_coef=0.0",
    ]
    assert judged.folder.name == "judged_by_demo"
    assert isinstance(usual, PPOConfig)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", STEP_3)
def test_every_study_over_two_seeds(finished: Path, tmp_path: Path, name: str) -> None:
    [result] = run_studies([study_of(name)], asked(tmp_path, finished, seeds=2), lambda _: None)

    assert result["seeds"] == [1, 2]
    assert {claim["interval_over"] for claim in result["claims"]} == {"seeds"}
    kept = json.loads((tmp_path / name / "study.json").read_text(encoding="utf-8"))
    assert kept["claims"] == json.loads(json.dumps(result["claims"]))
    assert f'id="{name}"' in page.write_page(tmp_path).read_text(encoding="utf-8")


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_stopped_study_goes_on_to_the_same_claims(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alignloop.errors import Interrupted

    study = study_of("over-optimisation")
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(Run, "log", signal_at(3))
        run_studies([study], asked(tmp_path / "a", finished), lambda _: None)
    [again] = run_studies([study], asked(tmp_path / "a", finished), lambda _: None)
    [whole] = run_studies([study], asked(tmp_path / "b", finished), lambda _: None)

    assert again["claims"] == whole["claims"]
