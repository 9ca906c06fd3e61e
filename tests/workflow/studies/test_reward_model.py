"""Cross-validation: nobody and nothing on both sides, the arithmetic of its means; and both studies, end to end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Ranking
from alignloop.errors import ConfigError, DataError, Interrupted
from alignloop.evaluation.reward_metrics import judged_pairs, mean_scores, summary
from alignloop.evaluation.reward_scores import score_rankings
from alignloop.reward.config import RewardConfig
from alignloop.runs.artifact import open_artifact, write_artifact
from alignloop.runs.run import Run
from alignloop.workflow.studies.reward_model import (
    Inputs,
    balanced,
    cross_validate,
    divide,
    over_folds,
    sweep,
)
from tests.helpers import (
    REWARD,
    contents,
    metrics,
    ranking,
    signal_at,
    write_demonstrations,
    write_model,
)

LABELERS = ("ann", "bob", "cy", "dee", "eve")


def by(labeler: str, number: int) -> Ranking:
    return ranking(number, [(1, 2, 2, 3), (2, 1, 3)][number % 2]).model_copy(
        update={"labeler": labeler}
    )


ROWS = [by(LABELERS[(n + turn) % 5], n) for n in range(24) for turn in range(3)]
"""Each of 24 prompts ranked by three of five labelers, so that labelers share prompts."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")

    def write(inside: Path) -> None:
        write_records(inside / "train.jsonl.gz", ROWS[:60])
        write_records(inside / "valid.jsonl.gz", ROWS[60:])

    write_artifact(folder / "rankings", "rankings", write, parents=[], facts={})
    return Inputs(
        write_model(folder / "model"),
        folder / "rankings",
        write_demonstrations(folder / "demonstrations"),
    )


CONFIG = RewardConfig.model_validate(REWARD | {"epochs": 1, "batch_size": 8})


# --- the division ---


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_no_labeler_and_no_prompt_is_on_both_sides(folds: int) -> None:
    divided = divide(ROWS, folds)

    assert sorted(name for fold in divided for name in fold.labelers) == sorted(LABELERS)
    for fold in divided:
        trained = {r.prompt.group for r in fold.train}
        tested = {r.prompt.group for r in [*fold.own, *fold.heldout]}
        assert not trained & tested
        assert {r.labeler for r in fold.heldout} <= set(fold.labelers)
        assert not {r.labeler for r in [*fold.train, *fold.own]} & set(fold.labelers)
    tested = Counter(r.prompt.id for fold in divided for r in [*fold.own, *fold.heldout])
    assert tested == Counter(r.prompt.id for r in ROWS), "every ranking is tested on once"


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 50), min_size=5, max_size=30))
def test_parts_differ_by_at_most_the_largest_count(counts: dict[str, int]) -> None:
    parts = balanced(counts, 5)

    totals = [sum(counts[name] for name in part) for part in parts]
    assert sorted(name for part in parts for name in part) == sorted(counts)
    assert max(totals) - min(totals) <= max(counts.values())
    assert balanced(dict(reversed(counts.items())), 5) == parts


def test_prompts_of_one_group_stay_together() -> None:
    rows = [
        row.model_copy(update={"prompt": row.prompt.model_copy(update={"group": f"user-{n % 6}"})})
        for n, row in enumerate(ROWS)
    ]

    for fold in divide(rows, 3):
        trained = {r.prompt.group for r in fold.train}
        assert not trained & {r.prompt.group for r in [*fold.own, *fold.heldout]}


def test_too_few_labelers_or_rankings_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"6 folds need as many labelers; these rankings have 5"):
        divide(ROWS, 6)
    with pytest.raises(ConfigError, match="at least two folds"):
        divide(ROWS, 1)
    with pytest.raises(DataError, match="give more rankings, or a smaller --folds"):
        divide(ROWS[:6], 4)


# --- the arithmetic ---


def test_means_over_seeds_then_over_folds_with_the_error_over_folds() -> None:
    """Own 0.7 and 0.8 by fold, held out 0.6 and 0.6: standard errors 0.05 and 0, of the difference 0.05."""
    rows = [
        {
            "own_labelers": [{"accuracy": own - 0.1}, {"accuracy": own + 0.1}],
            "heldout_labelers": [{"accuracy": 0.5}, {"accuracy": 0.7}],
            "own_labelers_ensemble": {"accuracy": 0.9},
            "heldout_labelers_ensemble": {"accuracy": 0.65},
        }
        for own in (0.7, 0.8)
    ]

    found = over_folds(rows)

    assert found["own_labelers"] == pytest.approx({"mean": 0.75, "standard_error": 0.05})
    assert found["heldout_labelers"] == pytest.approx({"mean": 0.6, "standard_error": 0.0})
    assert found["difference"] == pytest.approx({"mean": 0.15, "standard_error": 0.05})
    assert found["own_labelers_ensemble"]["mean"] == pytest.approx(0.9)


# --- end to end ---


def test_cross_validation_tests_its_models_on_what_they_did_not_learn(
    inputs: Inputs, tmp_path: Path
) -> None:
    said: list[str] = []

    found = cross_validate(CONFIG, inputs, tmp_path, said.append, folds=2, seeds=2)

    assert len(said) == 4
    assert json.loads((tmp_path / "cross_validation.json").read_text()) == found
    for number, row in enumerate(found["folds"], start=1):
        folder = tmp_path / f"fold_{number}"
        rankings = open_artifact(folder / "rankings", "rankings")
        assert rankings.facts["heldout_labelers"] == row["labelers"]
        for name, file in (("own_labelers", "valid"), ("heldout_labelers", "heldout")):
            test = read_records(rankings.file(f"{file}.jsonl.gz"), Ranking)
            scores = [score_rankings(folder / f"seed_{s}" / "artifact", test) for s in (3, 4)]
            assert row[name] == [summary(judged_pairs(test, one)) for one in scores]
            assert row[f"{name}_ensemble"] == summary(judged_pairs(test, mean_scores(scores)))
        assert metrics(folder / "seed_3") != metrics(folder / "seed_4")


def test_a_stopped_cross_validation_goes_on_to_the_same_result(
    inputs: Inputs, tmp_path: Path
) -> None:
    def study(folder: Path) -> bytes:
        cross_validate(CONFIG, inputs, folder, lambda _: None, folds=2, seeds=1)
        return (folder / "cross_validation.json").read_bytes()

    whole = study(tmp_path / "whole")
    with patch.object(Run, "log", signal_at(2)), pytest.raises(Interrupted):
        study(tmp_path / "stopped")

    assert study(tmp_path / "stopped") == whole
    assert study(tmp_path / "stopped") == whole, "and a finished one is taken up as it is"


def test_a_sweep_varies_the_learning_rate_and_nothing_else(inputs: Inputs, tmp_path: Path) -> None:
    found = sweep(CONFIG, inputs, tmp_path, lambda _: None, seeds=2)

    assert [(row["factor"], row["seed"]) for row in found["rows"]] == [
        (factor, seed) for factor in (0.5, 1.0, 1.5) for seed in (3, 4)
    ]
    assert json.loads((tmp_path / "sweep.json").read_text()) == found
    for row in found["rows"]:
        logged = metrics(tmp_path / row["run"])
        assert logged[0]["learning_rate"] == pytest.approx(1e-3 * row["factor"])
        assert logged[-1]["valid_loss"] == row["valid_loss"]
    first = {row["factor"]: metrics(tmp_path / row["run"])[0] for row in found["rows"][::2]}
    assert first[0.5]["loss"] == first[1.5]["loss"], "one seed: the same head, the same order"
    assert len({row["valid_loss"] for row in found["rows"]}) == 6


@pytest.mark.full
def test_the_members_of_a_sweep_over_seeds_are_reported_on_together(
    inputs: Inputs, tmp_path: Path, run_cli
) -> None:
    given = (
        *("--model", inputs.model, "--rankings", inputs.rankings),
        *("--demonstrations", inputs.demonstrations, "--set", "normalise=gain_and_bias"),
        *("--set", "optimizer.learning_rate=1e-3", "--set", "batch_size=8"),
    )
    swept = run_cli("reward", "sweep", *given, "--out", tmp_path, "--factor", 1, "--seeds", 2)
    assert swept.returncode == 0, swept.stderr
    members = [x for seed in (1, 2) for x in ("--model", tmp_path / f"lr_x1_seed_{seed}")]

    done = run_cli(
        *("reward", "report", *members, "--rankings", inputs.rankings, "--out", tmp_path / "report")
    )

    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert len(found["models"]) == 2
    assert found["disagreement"]["score_deviation"] > 0

    folds = run_cli(
        *("reward", "cross-validate", *given, "--out", tmp_path / "cv", "--folds", 2, "--seeds", 1)
    )
    assert folds.returncode == 0, folds.stderr
    assert "72.4 +- 0.4 %" in folds.stdout and "69.6 +- 0.9 %" in folds.stdout
    again = contents(tmp_path / "cv", lambda path: path.name == "cross_validation.json")
    assert len(again) == 1
