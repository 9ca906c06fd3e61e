"""An epoch of an SFT run is chosen by score, by loss, or as the last one; both curves are written and drawn."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.jsonl import write_records
from alignloop.data.records import Completion
from alignloop.errors import ArtifactError, ConfigError
from alignloop.models.loading import save_model
from alignloop.models.reward_model import ScalarModel
from alignloop.models.reward_scorer import RewardScorer
from alignloop.runs.artifact import Artifact, open_artifact
from alignloop.workflow.epochs import choose
from tests.helpers import (
    REWARD,
    SFT,
    contents,
    foreign_tokenizer,
    metrics,
    prompt,
    results,
    run,
    tiny_model,
    tiny_tokenizer,
    write_encoder,
    write_judged,
)

SHORT = {"sampling": {"max_new_tokens": 8}, "seed": 5}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished SFT run of three epochs, a reward model, prompts."""
    folder = tmp_path_factory.mktemp("made")
    given = write_judged(folder)
    fast = {"epochs": 3, "pretraining_mix": 0.0, "optimizer": {"learning_rate": 1e-2}}
    run("sft", folder / "sft", SFT | fast, **given)
    return folder


def select(
    made: Path, out: Path, by: str, *, judged: bool = True, resume: bool = False
) -> Artifact:
    judge = {"reward_model": made / "reward", "prompts": made / "prompts"} if judged else {}
    values = SHORT | {"select_by": by}
    return run("epochs", out, values, resume=resume, sft=made / "sft", **judge)


def epochs_of(made: Path) -> list[Path]:
    return [*sorted((made / "sft" / "epochs").iterdir()), made / "sft" / "artifact"]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


# --- the rule ---


ROWS: list[dict[str, Any]] = [
    {"epoch": 1, "valid_loss": 2.0, "score": 0.1},
    {"epoch": 2, "valid_loss": 1.5, "score": 0.4},
    {"epoch": 3, "valid_loss": 1.5, "score": 0.7},
    {"epoch": 4, "valid_loss": 1.9, "score": 0.7},
    {"epoch": 5, "valid_loss": 3.0, "score": -0.2},
]


@pytest.mark.parametrize(("by", "chosen"), [("reward", 3), ("loss", 2), ("last", 5)])
def test_the_rules_and_the_earlier_of_equals(by: str, chosen: int) -> None:
    assert choose(ROWS, by) == chosen


# --- the command ---


def test_by_reward_it_is_the_epoch_that_evaluate_select_takes(made: Path, tmp_path: Path) -> None:
    found = select(made, tmp_path / "epochs", "reward")

    from alignloop.workflow.stages import config_class, run_stage

    rival = run_stage(
        "select",
        tmp_path / "select",
        config_class("select").model_validate(SHORT),
        resume=False,
        candidates=epochs_of(made),
        reward_model=made / "reward",
        prompts=made / "prompts",
    )
    scores = [row["score"] for row in found.facts["epochs"]]
    assert len(set(scores)) == 3
    assert scores == rival.facts["mean_scores"]
    assert found.facts["chosen"] == rival.facts["chosen"] == 1 + scores.index(max(scores))
    assert weights(found.path) == weights(rival.path)


def test_both_curves_are_those_of_the_run_and_of_the_reward_model(
    made: Path, tmp_path: Path
) -> None:
    found = select(made, tmp_path / "run", "reward")

    written = json.loads((tmp_path / "run" / "epochs.json").read_text())
    losses = [row["valid_loss"] for row in metrics(made / "sft") if "valid_loss" in row]
    assert [row["epoch"] for row in written["epochs"]] == [1, 2, 3]
    assert [row["valid_loss"] for row in written["epochs"]] == losses
    assert all(math.isfinite(row["score"]) for row in written["epochs"])
    assert all(0 < row["tokens"] <= 8 for row in written["epochs"])
    assert all(0 <= row["finished"] <= 1 for row in written["epochs"])
    assert (written["chosen"], written["select_by"]) == (found.facts["chosen"], "reward")
    page = (tmp_path / "run" / "epochs.html").read_text()
    assert page.count("<svg ") == 2
    assert "Validation loss" in page
    assert "Reward-model score" in page
    assert 'src="' not in page, "it needs nothing else"
    assert 'href="http' not in page


@pytest.mark.parametrize("judged", [False, True], ids=["without a reward model", "with one"])
@pytest.mark.parametrize("by", ["loss", "last"])
def test_before_there_is_a_reward_model_loss_or_the_last_epoch_decide(
    made: Path, tmp_path: Path, by: str, judged: bool
) -> None:
    found = select(made, tmp_path / "run", by, judged=judged)

    losses = [row["valid_loss"] for row in found.facts["epochs"]]
    expected = 3 if by == "last" else 1 + losses.index(min(losses))
    assert found.facts["chosen"] == expected
    assert weights(found.path) == weights(epochs_of(made)[expected - 1])
    assert all((row["score"] is not None) == judged for row in found.facts["epochs"])
    assert (tmp_path / "run" / "epochs.html").read_text().count("<svg ") == 1 + judged


def test_what_is_left_is_a_policy_that_names_all_it_was_chosen_from(
    made: Path, tmp_path: Path
) -> None:
    found = select(made, tmp_path / "run", "reward")

    policy = open_artifact(tmp_path / "run", "policy")
    assert policy.sha256 == found.sha256
    description = json.loads((policy.path / "artifact.json").read_text())
    parents = {parent["role"]: parent["sha256"] for parent in description["parents"]}
    assert list(parents) == ["epoch-1", "epoch-2", "epoch-3", "reward_model", "prompts"]
    assert parents["epoch-3"] == open_artifact(made / "sft", "policy").sha256
    names = {path.name for path in epochs_of(made)[0].iterdir()}
    assert {path.name for path in policy.path.iterdir()} == names


def test_it_repeats_byte_for_byte_and_a_finished_one_is_not_made_again(
    made: Path, tmp_path: Path
) -> None:
    select(made, tmp_path / "one", "reward")
    select(made, tmp_path / "other", "reward")
    before = contents(tmp_path / "one")

    select(made, tmp_path / "one", "reward", resume=True)

    assert results(tmp_path / "one") == results(tmp_path / "other")
    assert "epochs.html" in results(tmp_path / "one")
    assert {k: v for k, v in contents(tmp_path / "one").items() if k != ".lock"} == {
        k: v for k, v in before.items() if k != ".lock"
    }


def test_test_prompts_are_never_opened(made: Path, tmp_path: Path) -> None:
    from alignloop.runs.artifact import write_artifact

    def write(inside: Path) -> None:
        write_records(inside / "valid.jsonl.gz", [prompt(i) for i in range(4)])

    write_artifact(tmp_path / "prompts", "prompts", write, parents=[], facts={})
    judge = {"reward_model": made / "reward", "prompts": tmp_path / "prompts"}
    found = run("epochs", tmp_path / "run", SHORT, sft=made / "sft", **judge)

    whole = select(made, tmp_path / "whole", "reward")
    assert found.facts["epochs"] == whole.facts["epochs"]


# --- what it refuses ---


def test_reward_without_a_reward_model_says_what_to_do(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--set select_by=last, or loss"):
        run("epochs", tmp_path / "run", SHORT, sft=made / "sft")


@pytest.mark.parametrize("one", ["reward_model", "prompts"])
def test_one_of_reward_model_and_prompts_is_refused(made: Path, tmp_path: Path, one: str) -> None:
    given = {"reward_model": made / "reward", "prompts": made / "prompts"}
    with pytest.raises(ConfigError, match="go together"):
        run("epochs", tmp_path / "run", SHORT, sft=made / "sft", **{one: given[one]})


@pytest.mark.parametrize("place", ["model", "reward", "nowhere", "sft/artifact"])
def test_a_folder_without_a_run_of_sft_is_refused(made: Path, tmp_path: Path, place: str) -> None:
    with pytest.raises(ArtifactError, match="no run of `alignloop sft`"):
        run("epochs", tmp_path / "run", SHORT | {"select_by": "last"}, sft=made / place)


def test_a_reward_model_of_another_tokenizer_and_an_encoder_score_the_answers_as_texts(
    made: Path, tmp_path: Path
) -> None:
    tokenizer = foreign_tokenizer()
    save_model(tiny_model(vocabulary=len(tokenizer)), tokenizer, tmp_path / "model")
    other = {"model": tmp_path / "model", "demonstrations": made / "demonstrations"}
    run(
        "reward",
        tmp_path / "reward",
        REWARD | {"epochs": 1},
        rankings=made / "rankings",
        **other,
    )
    write_encoder(tmp_path / "encoder")

    found = {}
    for name in ("reward", "encoder"):
        judge = {"reward_model": tmp_path / name, "prompts": made / "prompts"}
        run("epochs", tmp_path / f"by-{name}", SHORT, sft=made / "sft", **judge)
        facts = json.loads((tmp_path / f"by-{name}" / "epochs.json").read_text())
        found[name] = [row["score"] for row in facts["epochs"]]

    assert all(math.isfinite(score) for scores in found.values() for score in scores)
    assert found["reward"] != found["encoder"]


def test_answers_are_scored_by_their_texts_where_tokens_mean_something_else(tmp_path: Path) -> None:
    tokenizer = foreign_tokenizer()
    trunk = tiny_model(vocabulary=len(tokenizer))
    save_model(trunk, tokenizer, tmp_path / "judge")
    save_model(ScalarModel.load(tmp_path / "judge").model, tokenizer, tmp_path / "judge")
    scorer = RewardScorer(tmp_path / "judge")
    prompts = [prompt(0), prompt(1)]
    drawn = tiny_tokenizer()("a fox. so it ends.").input_ids
    one = Completion(
        text="a fox. so it ends.",
        model="m",
        finished=False,
        tokens=len(drawn),
        token_ids=tuple(drawn),
    )
    bare = one.model_copy(update={"token_ids": ()})

    found = scorer.scores_of_drawn(prompts, [one] * 2, tiny_tokenizer())

    assert found == pytest.approx(scorer.scores(prompts, [bare] * 2), abs=1e-5)
