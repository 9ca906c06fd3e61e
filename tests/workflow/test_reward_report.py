"""`alignloop reward report`: figures against the scores, own and held-out labelers, several models, HTML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForSequenceClassification, BloomConfig, DebertaV2Config

from alignloop.cli.main import app
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_objects, read_records, write_objects, write_records
from alignloop.data.records import Ranking, Turn
from alignloop.errors import DataError, ModelError
from alignloop.evaluation.reward_scores import score_rankings
from alignloop.models.loading import load_tokenizer
from alignloop.models.reward_scorer import RewardScorer
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


@torch.no_grad()
def test_an_encoder_reads_what_was_said_before(tmp_path: Path) -> None:
    plain, tokenizer = write_encoder(tmp_path), tiny_tokenizer()
    row = ranking(0, (1, 2))
    history = (Turn(role="user", text="Hi."), Turn(role="assistant", text="Yes?"))
    row = row.model_copy(update={"prompt": row.prompt.model_copy(update={"history": history})})

    [scores] = score_rankings(tmp_path, [row])

    said = f"User: Hi.\n\nAssistant: Yes?\n\nUser: {row.prompt.text}"
    expected = [
        float(plain(**tokenizer(said, c.text, return_tensors="pt")).logits[0, 0])
        for c in row.completions
    ]
    assert scores == pytest.approx(expected, abs=1e-5)


def test_a_scorer_that_pads_with_its_end_token_scores_and_is_refused_where_it_would_learn(
    tmp_path: Path,
) -> None:
    """Lengths say where rows end; it is when a model is handed on that others mistake the end for padding."""
    write_classifier(tmp_path / "own")
    write_classifier(tmp_path / "plain")
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path / "plain")
    rows = [ranking(0, (1, 2, 3, 4)), ranking(1, (2, 1))]

    for found, own in zip(
        score_rankings(tmp_path / "plain", rows),
        score_rankings(tmp_path / "own", rows),
        strict=True,
    ):
        assert found == pytest.approx(own, abs=1e-6)
    with pytest.raises(ModelError, match="the pad token is the EOS token"):
        load_tokenizer(tmp_path / "plain")


@pytest.mark.parametrize("family", ["bloom", "deberta_v2"])
@torch.no_grad()
def test_architectures_without_pytorchs_attention_score_as_well(
    tmp_path: Path, family: str
) -> None:
    tokenizer = tiny_tokenizer()
    size = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_labels": 1}
    torch.manual_seed(4)
    if family == "bloom":
        config: Any = BloomConfig(**size, n_layer=2, n_head=2, pad_token_id=tokenizer.pad_token_id)
    else:
        depth = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
        config = DebertaV2Config(**size, **depth, max_position_embeddings=96, initializer_range=0.2)
    plain: Any = AutoModelForSequenceClassification.from_config(config).eval()
    plain.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    row = ranking(0, (1, 2, 3))

    [scores] = score_rankings(tmp_path, [row])

    formatter = Formatter.of(tokenizer)
    if family == "bloom":
        texts = [formatter.prompt(row.prompt) + formatter.completion(c) for c in row.completions]
        given = [{"input_ids": torch.tensor([text])} for text in texts]
    else:
        given = [tokenizer(row.prompt.text, c.text, return_tensors="pt") for c in row.completions]
    assert scores == pytest.approx([float(plain(**one).logits[0, 0]) for one in given], abs=1e-4)
    assert len(set(scores)) == 3


def test_a_file_of_answers_comes_back_with_scores(tmp_path: Path) -> None:
    """Through the command line; whatever else stood in a line stays there."""
    write_classifier(tmp_path / "rm")
    row = ranking(0, (1, 2))
    answers = [
        {"prompt": row.prompt.model_dump(mode="json"), "response": one.text, "labeler": f"l{n}"}
        for n, one in enumerate(row.completions)
    ]
    write_objects(tmp_path / "answers.jsonl", answers)

    done = CliRunner().invoke(
        app,
        [
            *("reward", "score", "--model", str(tmp_path / "rm")),
            *("--answers", str(tmp_path / "answers.jsonl"), "--out", str(tmp_path / "out.jsonl")),
        ],
        standalone_mode=False,
    )

    assert done.exception is None, done.output
    assert "2 answers scored" in done.output
    found = [one for _, one in read_objects(tmp_path / "out.jsonl")]
    scores = [one.pop("score") for one in found]
    assert found == answers
    bare = [c.model_copy(update={"token_ids": (), "finished": True}) for c in row.completions]
    expected = RewardScorer(tmp_path / "rm").scores([row.prompt] * 2, bare)
    assert scores == pytest.approx(expected, abs=1e-6)


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


def test_the_verbs_of_reward_and_none(run_cli, run_here, tmp_path: Path) -> None:
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
    done = run_here(
        *("reward", "report", "--model", tmp_path / "rm", "--out", tmp_path / "out"),
        *("--rankings", write_rankings(tmp_path / "rankings")),
    )
    assert done.returncode == 0, done.stderr
    assert "pairs right" in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()
