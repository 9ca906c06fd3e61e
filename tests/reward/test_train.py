"""The reward model's loop: every loss resumes to the same bytes, what it can start from, its scale, its epochs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Demonstration, Ranking
from alignloop.errors import ArtifactError, ConfigError, Interrupted
from alignloop.models.loading import load_tokenizer, scalar_head
from alignloop.models.reward_model import ScalarModel
from alignloop.reward.train import overfits_from
from alignloop.runs.artifact import Artifact, open_artifact
from alignloop.runs.run import Run
from tests.helpers import (
    PPO,
    REWARD,
    metrics,
    results,
    run,
    signal_at,
    write_classifier,
    write_demonstrations,
    write_model,
    write_prompts,
    write_rankings,
    write_text,
)

ONE_EPOCH = REWARD | {"epochs": 1}


@dataclass(frozen=True)
class Bench:
    """Inputs of the reward stage."""

    inputs: dict[str, Path]

    def train(self, folder: Path, values: dict[str, Any], **inputs: Path) -> Artifact:
        return run("reward", folder, values, **(self.inputs | inputs))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("inputs")
    return Bench(
        {
            "model": write_model(folder / "model"),
            "rankings": write_rankings(folder / "rankings"),
            "demonstrations": write_demonstrations(folder / "demonstrations"),
        }
    )


@pytest.fixture(scope="module")
def trained(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "reward"
    bench.train(folder, ONE_EPOCH)
    return folder


# --- losses ---

VARIANTS: list[dict[str, Any]] = [
    {"loss": "best_of_k"},
    {"loss": "shuffled_pairs"},
    {"ties": "half", "margin": 0.2, "margin_per_rank": 0.1, "normalise": "gain_and_bias"},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(map(str, v.values())))
def test_a_stopped_run_of_every_loss_ends_with_the_bytes_of_one_that_was_not(
    bench: Bench, tmp_path: Path, variant: dict[str, Any]
) -> None:
    bench.train(tmp_path / "whole", REWARD | variant)
    with patch.object(Run, "log", signal_at(3)), pytest.raises(Interrupted):
        bench.train(tmp_path / "stopped", REWARD | variant)
    run("reward", tmp_path / "stopped", REWARD | variant, resume=True, **bench.inputs)

    assert results(tmp_path / "stopped") == results(tmp_path / "whole")


def test_losses_differ_and_their_validation_is_eq_1_all_the_same(
    bench: Bench, tmp_path: Path
) -> None:
    """With a learning rate of about 0 all models are one model: the validation must not tell them apart."""
    still = ONE_EPOCH | {"optimizer": {"learning_rate": 1e-30}}
    rows = []
    for number, variant in enumerate([{}, *VARIANTS]):
        bench.train(tmp_path / str(number), still | variant)
        rows.append(metrics(tmp_path / str(number)))

    assert len({row[-1]["valid_loss"] for row in rows}) == 1
    assert len({row[-1]["valid_pair_accuracy"] for row in rows}) == 1
    assert len({row[0]["loss"] for row in rows}) == len(rows)
    assert len({len(row) for row in rows}) == 1, "as many updates, shuffled pairs included"


# --- what it starts from ---


def test_it_goes_on_from_a_reward_model_with_its_head_or_a_new_one(
    bench: Bench, trained: Path, tmp_path: Path
) -> None:
    still = ONE_EPOCH | {"optimizer": {"learning_rate": 1e-30}}

    kept = bench.train(tmp_path / "kept", still, model=trained)
    drawn = bench.train(tmp_path / "new", still | {"head": "new"}, model=trained)

    before, with_kept, with_new = (
        scalar_head(ScalarModel.load(path).model).weight
        for path in (trained / "artifact", kept.path, drawn.path)
    )
    assert torch.equal(with_kept, before)
    assert not torch.allclose(with_new, before)
    assert (kept.facts["init_from"], kept.facts["head"]) == ("reward-model", "kept")
    assert (drawn.facts["init_from"], drawn.facts["head"]) == ("reward-model", "new")
    assert json.loads((kept.path / "artifact.json").read_text())["parents"][0]["kind"] == (
        "reward-model"
    )


def test_a_head_cannot_be_kept_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"head = 'kept', but .* is no reward model"):
        bench.train(tmp_path / "run", ONE_EPOCH | {"head": "kept"})


def test_a_plain_classifier_folder_is_a_reward_model_and_no_policy(
    bench: Bench, tmp_path: Path
) -> None:
    write_classifier(tmp_path / "plain")

    with pytest.raises(ArtifactError, match="counts as a 'reward-model', but a 'policy' is needed"):
        open_artifact(tmp_path / "plain", "policy")
    with pytest.raises(ArtifactError, match="counts as a 'policy', but a 'reward-model' is needed"):
        open_artifact(bench.inputs["model"], "reward-model")

    artifact = bench.train(tmp_path / "run", ONE_EPOCH, model=tmp_path / "plain")
    assert (artifact.facts["init_from"], artifact.facts["head"]) == ("reward-model", "kept")


def test_ppo_takes_a_reward_model_that_plain_transformers_saved(
    bench: Bench, tmp_path: Path
) -> None:
    write_classifier(tmp_path / "plain")

    run(
        "ppo",
        tmp_path / "ppo",
        PPO | {"episodes": 8, "samples_every": 2},
        policy=bench.inputs["model"],
        reward_model=tmp_path / "plain",
        prompts=write_prompts(tmp_path / "prompts"),
        text=write_text(tmp_path / "text"),
    )

    (sampled,) = [
        path.read_text().splitlines() for path in (tmp_path / "ppo/samples").glob("*2.jsonl")
    ]
    scores = [json.loads(line)["score"] for line in sampled]
    assert len(set(scores)) > 1
    assert metrics(tmp_path / "ppo")[-1]["score_mean"] == pytest.approx(
        sum(scores) / len(scores), abs=1e-5
    )


# --- the scale ---


def demonstration_logits(folder: Path, inputs: dict[str, Path]) -> torch.Tensor:
    """Scores of the train demonstrations by plain transformers: logit + bias."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    formatter = Formatter.of(load_tokenizer(folder))
    rows = read_records(inputs["demonstrations"] / "train.jsonl.gz", Demonstration)
    with torch.no_grad():
        logits = [
            model(
                input_ids=torch.tensor(
                    [[*formatter.prompt(d.prompt), *formatter.response(d.response)]]
                )
            ).logits[0, 0]
            for d in rows
        ]
    return torch.stack(logits).double() + model.config.reward_bias


def orders(folder: Path, inputs: dict[str, Path]) -> list[bool]:
    """Which pairs of the validation rankings the exported model gets right."""
    scorer = ScalarModel.load(folder)
    formatter = Formatter.of(load_tokenizer(folder))
    model = scorer.model
    found: list[bool] = []
    for row in read_records(inputs["rankings"] / "valid.jsonl.gz", Ranking):
        with torch.no_grad():
            scores = [
                float(
                    model(
                        input_ids=torch.tensor(
                            [[*formatter.prompt(row.prompt), *formatter.completion(c)]]
                        )
                    ).logits[0, 0]
                )
                for c in row.completions
            ]
        found += [scores[better] > scores[worse] for better, worse in row.pairs()]
    return found


def test_after_export_demonstrations_score_zero_or_vary_by_one_and_no_pair_changed(
    bench: Bench, tmp_path: Path
) -> None:
    scores, right = {}, {}
    for how in ("none", "bias", "gain_and_bias"):
        artifact = bench.train(tmp_path / how, ONE_EPOCH | {"normalise": how})
        scores[how] = demonstration_logits(artifact.path, bench.inputs)
        right[how] = orders(artifact.path, bench.inputs)

    raw = scores["none"]
    assert abs(float(raw.mean())) > 1e-3
    assert float(scores["bias"].mean()) == pytest.approx(0, abs=1e-5)
    assert float(scores["gain_and_bias"].mean()) == pytest.approx(0, abs=1e-5)
    assert float(scores["gain_and_bias"].std(unbiased=False)) == pytest.approx(1, abs=1e-5)
    expected = (raw - raw.mean()) / raw.std(unbiased=False)
    torch.testing.assert_close(scores["gain_and_bias"], expected, atol=1e-4, rtol=1e-4)
    assert right["none"] == right["bias"] == right["gain_and_bias"]
    facts = open_artifact(tmp_path / "gain_and_bias", "reward-model").facts
    assert facts["reward_gain"] == pytest.approx(1 / float(raw.std(unbiased=False)), rel=1e-4)


# --- epochs ---


def test_the_end_of_every_epoch_is_validated_and_overfitting_is_told(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two training rankings learned by heart, with a rate so high that the validation loss must rise."""
    values = REWARD | {"epochs": 6, "batch_size": 4, "valid_every": 100}
    artifact = bench.train(tmp_path / "run", values | {"optimizer": {"learning_rate": 0.02}})

    curve = artifact.facts["epochs"]
    rows = [row for row in metrics(tmp_path / "run") if "valid_loss" in row]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["valid_loss"] for row in rows] == [row["valid_loss"] for row in curve]
    rising = overfits_from([row["valid_loss"] for row in curve])
    assert rising is not None and artifact.facts["overfits_from_epoch"] == rising
    assert f"the validation loss rose in epoch {rising}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("losses", "expected"), [([0.7], None), ([0.7, 0.6, 0.6], None), ([0.7, 0.6, 0.61, 0.5], 3)]
)
def test_overfitting_begins_where_the_validation_loss_first_rises(
    losses: list[float], expected: int | None
) -> None:
    assert overfits_from(losses) == expected


def test_one_epoch_has_no_curve_to_tell_of(trained: Path) -> None:
    facts = open_artifact(trained, "reward-model").facts

    assert "epochs" not in facts
    assert "overfits_from_epoch" not in facts
