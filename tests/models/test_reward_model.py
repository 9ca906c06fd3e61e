"""The scalar model: where it reads its score and its values, its new head, its bias, and its export."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from alignloop.data.batches import Forest, Ragged
from alignloop.data.formatter import Formatter
from alignloop.errors import DataError, ModelError
from alignloop.models.loading import backbone_of, save_model, scalar_head
from alignloop.models.reward_model import ScalarModel
from alignloop.reward.normalise import normalise
from tests.helpers import (
    ARCHITECTURES,
    demonstration,
    tiny_tokenizer,
    write_classifier,
    write_encoder,
    write_model,
)

PROMPTS = [[2, 40, 41, 42, 3], [2, 50, 3], [2, 60, 61, 62, 63, 64, 65, 3]]
RESPONSES = [[70, 71, 1], [72, 73, 74, 75, 76], [1]]
BATCH = Ragged.of(PROMPTS, RESPONSES, pad=0)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ScalarModel:
    scorer = ScalarModel.load(write_model(tmp_path_factory.mktemp("model"), request.param))
    scorer.new_head(7)
    with torch.no_grad():
        scorer.bias.fill_(0.625)
    return scorer


@torch.no_grad()
def by_hand(scorer: ScalarModel, tokens: list[int]) -> float:
    """The scalar of the last token of one sequence, without any batch."""
    hidden = backbone_of(scorer.model)(torch.tensor([tokens])).last_hidden_state[0, -1]
    weight = scalar_head(scorer.model).weight[0]
    return float((hidden.double() * weight.double()).sum()) + 0.625


@torch.no_grad()
def test_the_score_is_read_at_the_last_real_token(scorer: ScalarModel) -> None:
    scores = scorer.scores(BATCH)

    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        assert float(scores[row]) == pytest.approx(by_hand(scorer, [*prompt, *response]), abs=1e-5)
    assert len(set(scores.tolist())) == 3


def test_responses_side_by_side_score_and_learn_as_in_rows_of_their_own(
    scorer: ScalarModel,
) -> None:
    """One row per prompt against one row per response: the same scores, and the same gradients."""
    groups = [[[70, 71, 1], [72, 73, 74, 75, 76], [1]], [[80]], [[90, 91], [92, 1]]]
    forest = Forest.of(PROMPTS, groups)
    prompts = [p for p, group in zip(PROMPTS, groups, strict=True) for _ in group]
    rows = Ragged.of(prompts, [response for group in groups for response in group], pad=0)
    weights = torch.arange(1.0, 7.0)

    found: list[tuple[Tensor, list[Tensor]]] = []
    for scores in (scorer.scores_of_all(forest), scorer.scores(rows)):
        scorer.zero_grad()
        (weights * scores).sum().backward()
        gradients = [p.grad.clone() for p in scorer.model.parameters() if p.grad is not None]
        found.append((scores.detach(), gradients))
    scorer.zero_grad()

    (side_by_side, ours), (apart, theirs) = found
    torch.testing.assert_close(side_by_side, apart, atol=1e-5, rtol=0)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_padding_changes_neither_scores_nor_values_whatever_pads(scorer: ScalarModel) -> None:
    """EOS as padding too: the last real token is known by length, not by id."""
    for pad in (0, 1):
        batch = Ragged.of(PROMPTS, RESPONSES, pad=pad)
        scores, values = scorer.scores(batch), scorer.values(batch)
        for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
            alone = Ragged.of([prompt], [response], pad=pad)
            width = alone.tokens.shape[1]
            torch.testing.assert_close(scorer.scores(alone)[0], scores[row], atol=1e-5, rtol=0)
            torch.testing.assert_close(
                scorer.values(alone)[0], values[row, :width], atol=1e-5, rtol=0
            )


@torch.no_grad()
def test_the_value_of_a_token_is_read_one_token_earlier(scorer: ScalarModel) -> None:
    values = scorer.values(BATCH)

    assert torch.equal(values != 0, BATCH.is_response())
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        for at in range(len(response)):
            state = [*prompt, *response[:at]]
            value = float(values[row, len(prompt) + at])
            assert value == pytest.approx(by_hand(scorer, state), abs=1e-5)


@torch.no_grad()
def test_a_value_function_from_the_reward_model_says_its_biased_score_at_the_last_token(
    scorer: ScalarModel,
) -> None:
    """Seen from one token later, the state is the whole response, and its value is what the RM scores it."""
    one_more = Ragged.of(PROMPTS, [[*response, 99] for response in RESPONSES], pad=0)

    values = scorer.values(one_more)

    last = values[range(3), one_more.lengths - 1]
    torch.testing.assert_close(last, scorer.scores(BATCH), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_bias_moves_scores_and_values_alike(scorer: ScalarModel) -> None:
    scores, values = scorer.scores(BATCH), scorer.values(BATCH)

    scorer.bias += 2.0
    moved_scores, moved_values = scorer.scores(BATCH), scorer.values(BATCH)
    scorer.bias -= 2.0

    torch.testing.assert_close(moved_scores, scores + 2.0)
    is_response = BATCH.is_response()
    torch.testing.assert_close(moved_values[is_response], values[is_response] + 2.0)
    assert not moved_values[~is_response].any()


@torch.no_grad()
def test_plain_transformers_reads_the_export_and_logits_plus_bias_are_our_score(
    scorer: ScalarModel, tmp_path: Path
) -> None:
    scorer.save_bias()
    scorer.model.config.pad_token_id = 0
    save_model(scorer.model, tiny_tokenizer(), tmp_path)

    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    logits = plain(input_ids=BATCH.tokens).logits[:, 0]

    assert plain.config.num_labels == 1
    assert json.loads((tmp_path / "config.json").read_text())["reward_bias"] == 0.625
    torch.testing.assert_close(
        logits + plain.config.reward_bias, scorer.scores(BATCH), atol=1e-6, rtol=0
    )
    assert AutoTokenizer.from_pretrained(tmp_path).pad_token_id == 0
    again = ScalarModel.load(tmp_path)
    for name, parameter in scorer.named_parameters():
        assert torch.equal(again.get_parameter(name), parameter), name


def test_a_new_head_is_drawn_with_variance_one_over_width_plus_one(tmp_path: Path) -> None:
    scorer = ScalarModel.load(write_model(tmp_path))
    drawn = []
    for seed in range(200):
        scorer.new_head(seed)
        drawn.append(scalar_head(scorer.model).weight.detach().clone())

    weights = torch.cat(drawn)
    assert float(weights.std()) == pytest.approx(1 / math.sqrt(33), rel=0.03)
    assert abs(float(weights.mean())) < 0.01
    assert float(scorer.bias.detach()) == 0.0
    scorer.new_head(3)
    assert torch.equal(scalar_head(scorer.model).weight, drawn[3])


def test_demonstrations_score_zero_on_average_after_the_shift(scorer: ScalarModel) -> None:
    rows = [demonstration(i) for i in range(7)]
    formatter = Formatter.of(tiny_tokenizer())
    before = float(scorer.bias.detach())

    shifts = [normalise(scorer, rows, formatter, budget)[0] for budget in (10_000, 1)]

    assert abs(shifts[0]) > 1e-3
    assert abs(shifts[1]) < 1e-5, "one row at a time, the mean is 0 now"
    assert float(scorer.bias.detach()) == pytest.approx(before - sum(shifts), abs=1e-6)
    with torch.no_grad():
        scorer.bias.fill_(0.625)


def test_with_a_gain_demonstrations_vary_by_one_and_the_exported_head_says_so(
    tmp_path: Path,
) -> None:
    scorer = ScalarModel.load(write_model(tmp_path / "lm"))
    scorer.new_head(7)
    rows = [demonstration(i) for i in range(7)]
    tokenizer = tiny_tokenizer()
    formatter = Formatter.of(tokenizer)
    with torch.no_grad():
        before = scorer.scores(BATCH)

    mean, deviation = normalise(scorer, rows, formatter, 10_000, "gain_and_bias")
    scorer.save_bias()
    save_model(scorer.model, tokenizer, tmp_path / "rm")
    again = ScalarModel.load(tmp_path / "rm")

    assert deviation > 0 and abs(deviation - 1) > 0.01
    with torch.no_grad():
        torch.testing.assert_close(again.scores(BATCH), (before - mean) / deviation)
    assert normalise(again, rows, formatter, 1, "none") == (
        pytest.approx(0, abs=1e-6),
        pytest.approx(1, abs=1e-6),
    )
    assert normalise(again, rows, formatter, 1, "none")[0] == pytest.approx(0, abs=1e-6)
    with pytest.raises(DataError, match="set no gain"):
        normalise(again, rows[:1], formatter, 1, "gain_and_bias")


# --- reward models that plain transformers saved ---


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_a_reward_model_that_plain_transformers_saved_scores_as_it_does_there(
    tmp_path: Path, architecture: str
) -> None:
    plain = write_classifier(tmp_path, architecture)

    scorer = ScalarModel.load(tmp_path)

    expected = [
        float(plain(input_ids=torch.tensor([[*prompt, *response]])).logits[0, 0])
        for prompt, response in zip(PROMPTS, RESPONSES, strict=True)
    ]
    assert scorer.scores(BATCH).tolist() == pytest.approx(expected, abs=1e-5)
    assert float(scorer.bias) == 0.0


def test_a_classifier_of_two_labels_is_refused(tmp_path: Path) -> None:
    write_classifier(tmp_path, "llama", labels=2)

    with pytest.raises(ModelError, match="a classifier with 2 labels; a reward model has one"):
        ScalarModel.load(tmp_path)


def test_a_reward_model_without_its_head_is_refused(tmp_path: Path) -> None:
    write_classifier(tmp_path, "llama")
    weights = load_file(tmp_path / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match=r"weights are missing: score\.weight"):
        ScalarModel.load(tmp_path)


def test_an_encoder_that_sees_later_tokens_is_refused(tmp_path: Path) -> None:
    write_encoder(tmp_path)

    with pytest.raises(ModelError, match="BertForSequenceClassification sees later tokens too"):
        ScalarModel.load(tmp_path)


def test_half_written_weights_are_an_error_of_ours(tmp_path: Path) -> None:
    weights = write_model(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])

    with pytest.raises(ModelError, match="cannot become a reward model"):
        ScalarModel.load(tmp_path)
