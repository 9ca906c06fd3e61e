"""`alignloop reward report`: figures against the scores, own and held-out labelers, several models, HTML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Ranking
from alignloop.errors import DataError, ModelError
from alignloop.evaluation.reward_scores import score_rankings
from alignloop.runs.artifact import write_artifact
from alignloop.workflow.reward_report import reward_report
from tests.helpers import (
    ARCHITECTURES,
    contents,
    foreign_tokenizer,
    ranking,
    tiny_tokenizer,
    write_classifier,
    write_encoder,
    write_model,
    write_rankings,
)


def as_artefact(folder: Path, train: list[Ranking], valid: list[Ranking]) -> Path:
    def write(inside: Path) -> None:
        write_records(inside / "train.jsonl.gz", train)
        write_records(inside / "valid.jsonl.gz", valid)

    write_artifact(folder, "rankings", write, parents=[], facts={})
    return folder


def by(labeler: str, number: int, *ranks: int) -> Ranking:
    return ranking(number, ranks).model_copy(update={"labeler": labeler})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_a_plain_classifier_scores_rankings_as_transformers_does(
    tmp_path: Path, architecture: str
) -> None:
    plain = write_classifier(tmp_path, architecture)
    formatter = Formatter.of(tiny_tokenizer())
    rows = [ranking(0, (1, 2, 3, 4)), ranking(1, (2, 1))]

    scores = score_rankings(tmp_path, rows)

    for row, own in zip(rows, scores, strict=True):
        expected = [
            float(
                plain(
                    input_ids=torch.tensor(
                        [[*formatter.prompt(row.prompt), *formatter.completion(c)]]
                    )
                ).logits[0, 0]
            )
            for c in row.completions
        ]
        assert own == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_an_encoder_scores_pairs_of_texts_as_its_tokenizer_joins_them(tmp_path: Path) -> None:
    plain = write_encoder(tmp_path)
    tokenizer = tiny_tokenizer()
    rows = [ranking(0, (1, 2, 3, 4)), ranking(1, (2, 1))]

    scores = score_rankings(tmp_path, rows)

    for row, own in zip(rows, scores, strict=True):
        expected = [
            float(plain(**tokenizer(row.prompt.text, c.text, return_tensors="pt")).logits[0, 0])
            for c in row.completions
        ]
        assert own == pytest.approx(expected, abs=1e-5)
    assert len(set(scores[0])) == 4


def test_an_encoder_without_a_pad_token_and_a_text_too_long_for_it_are_refused(
    tmp_path: Path,
) -> None:
    write_encoder(tmp_path)
    long = ranking(0, (1, 2))
    long = long.model_copy(
        update={"prompt": long.prompt.model_copy(update={"text": "The fox. " * 60})}
    )

    with pytest.raises(DataError, match=r"tokens; the encoder's context is 96"):
        score_rankings(tmp_path, [long])
    foreign_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="needs a pad token"):
        score_rankings(tmp_path, [ranking(0, (1, 2))])


def test_the_report_tells_own_labelers_from_others_and_leaves_seen_prompts_out(
    tmp_path: Path,
) -> None:
    write_classifier(tmp_path / "rm")
    learned = as_artefact(
        tmp_path / "learned",
        [by("ann", n, 1, 2, 3) for n in range(3)],
        [by("ann", 3, 1, 2)],
    )
    test = [by("ann", 0, 1, 2), by("ann", 4, 1, 2, 2), by("bob", 5, 1, 2), by("bob", 6, 3, 2, 1)]
    rankings = as_artefact(tmp_path / "test", test, test)

    found = reward_report(
        [tmp_path / "rm"], rankings, tmp_path / "out", learned_from=learned, most_violated=2
    )

    scores = score_rankings(tmp_path / "rm", test)[1:]
    right = [
        own[better] > own[worse]
        for row, own in zip(test[1:], scores, strict=True)
        for better, worse in row.pairs()
    ]
    assert (found["rankings"], found["left_out"]) == (3, 1)
    assert found["all"]["pairs"] == 6
    assert found["all"]["accuracy"] == pytest.approx(sum(right) / 6)
    assert found["own_labelers"]["accuracy"] == pytest.approx(sum(right[:2]) / 2)
    assert found["heldout_labelers"]["accuracy"] == pytest.approx(sum(right[2:]) / 4)
    assert found["violated"]["pairs"] == 6 - sum(right)
    assert len(found["violated_pairs"]) <= 2
    assert 0 <= found["bag_of_words"] <= 1
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == found


def test_several_models_are_examined_as_one_and_apart(tmp_path: Path) -> None:
    models = [tmp_path / name for name in ("llama", "gpt2")]
    for model in models:
        write_classifier(model, model.name)
    rankings = write_rankings(tmp_path / "rankings")

    found = reward_report(models, rankings, tmp_path / "out")
    alone = [reward_report([m], rankings, tmp_path / m.name / "out") for m in models]

    for member, one in zip(found["models"], alone, strict=True):
        assert member["accuracy"] == one["all"]["accuracy"]
        assert member["log_loss"] == one["all"]["log_loss"]
    rows = read_records(rankings / "valid.jsonl.gz", Ranking)
    pairs = zip(*(score_rankings(m, rows) for m in models), strict=True)
    right = [
        a[better] + b[better] > a[worse] + b[worse]
        for (a, b), row in zip(pairs, rows, strict=True)
        for better, worse in row.pairs()
    ]
    assert found["all"]["accuracy"] == pytest.approx(sum(right) / len(right))
    assert found["disagreement"]["score_deviation"] > 0
    assert "Model 2 alone" in (tmp_path / "out" / "report.html").read_text()


def test_the_same_inputs_give_the_same_page_which_needs_nothing_outside(tmp_path: Path) -> None:
    write_classifier(tmp_path / "rm")
    rankings = write_rankings(tmp_path / "rankings")

    found = reward_report([tmp_path / "rm"], rankings, tmp_path / "a")
    reward_report([tmp_path / "rm"], rankings, tmp_path / "b")

    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    page = (tmp_path / "a" / "report.html").read_text()
    assert "<svg" in page and "http" not in page.replace("http://www.w3.org", "")
    for pair in found["violated_pairs"]:
        assert pair["preferred"]["score"] < pair["other"]["score"]
        assert f"score {pair['other']['score']:.3f}" in page


def test_nothing_left_to_report_on_is_an_error(tmp_path: Path) -> None:
    write_classifier(tmp_path / "rm")
    rankings = write_rankings(tmp_path / "rankings")

    with pytest.raises(DataError, match=r"no pair of 'train' is left \(8 of 8 rankings"):
        reward_report(
            [tmp_path / "rm"], rankings, tmp_path / "out", side="train", learned_from=rankings
        )


def test_the_verbs_of_reward_and_none(run_cli, tmp_path: Path) -> None:
    """Without a verb it trains, as it always did."""
    write_model(tmp_path / "model")
    short = run_cli("reward", "--model", tmp_path / "model")
    long = run_cli("reward", "train", "--model", tmp_path / "model")
    group = run_cli("reward", "--help")

    assert short.returncode == long.returncode == 2
    assert "Missing option '--rankings'" in short.stderr
    assert short.stderr == long.stderr
    assert group.returncode == 0
    assert "report" in group.stdout

    write_classifier(tmp_path / "rm")
    done = run_cli(
        *("reward", "report", "--model", tmp_path / "rm", "--out", tmp_path / "out"),
        *("--rankings", write_rankings(tmp_path / "rankings")),
    )
    assert done.returncode == 0, done.stderr
    assert "pairs right" in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()
