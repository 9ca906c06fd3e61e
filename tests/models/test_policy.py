"""Log-probabilities of responses: a product of softmaxes, aligned, blind to padding, on three architectures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from alignloop.data.batches import Forest, Ragged
from alignloop.errors import ModelError
from alignloop.models import layouts
from alignloop.models.loading import (
    context_length,
    load_causal_lm,
    load_tokenizer,
    output_weight,
    save_model,
)
from alignloop.models.policy import forest_log_probs, log_probs_at, response_log_probs
from tests.helpers import (
    ARCHITECTURES,
    CONTEXT,
    foreign_tokenizer,
    tiny_model,
    tiny_tokenizer,
    write_model,
)

PROMPTS = [[2, 40, 41, 42, 3], [2, 50, 3], [2, 60, 61, 62, 63, 64, 65, 3]]
RESPONSES = [[70, 71, 1], [72, 73, 74, 75, 76], [1]]
"""Ended, cut off, ended at once."""

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_model(request.param)


def brute_force(
    model: PreTrainedModel, prompt: list[int], response: list[int], temperature: float = 1.0
) -> list[float]:
    """log of each softmax output, one forward pass over prefix after prefix."""
    log_probs = []
    for at in range(len(response)):
        prefix = torch.tensor([[*prompt, *response[:at]]])
        with torch.no_grad():
            logits = model(input_ids=prefix).logits[0, -1].double() / temperature
        log_probs.append(float(torch.softmax(logits, dim=-1)[response[at]].log()))
    return log_probs


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@torch.no_grad()
def test_the_log_prob_of_a_response_is_the_log_of_a_product_of_softmaxes(
    model: PreTrainedModel, temperature: float
) -> None:
    """Also: aligned with the tokens, first response token included, last (EOS) not dropped, zeros elsewhere."""
    batch = Ragged.of(PROMPTS, RESPONSES, pad=0)

    log_probs = response_log_probs(model, batch, temperature)

    assert log_probs.shape == batch.tokens.shape
    expected = torch.zeros_like(log_probs)
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        at = len(prompt)
        each = brute_force(model, prompt, response, temperature)
        expected[row, at : at + len(response)] = torch.tensor(each)
    torch.testing.assert_close(log_probs, expected, atol=1e-5, rtol=0)
    assert torch.equal(log_probs != 0, batch.is_response())


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("short", [0, 256], ids=["long", "short"])
def test_responses_side_by_side_are_as_likely_and_teach_the_same_as_in_rows_of_their_own(
    model: PreTrainedModel, short: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row per prompt against one row per response: the same sums, and the same gradients."""
    monkeypatch.setattr(layouts, "_SHORT", short)
    groups = [[[70, 71, 1], [72, 73, 74, 75, 76], [1]], [[80]], [[90, 91], [92, 1]]]
    prompts = [p for p, group in zip(PROMPTS, groups, strict=True) for _ in group]
    forest = Forest.of(PROMPTS, groups)
    rows = Ragged.of(prompts, [response for group in groups for response in group], pad=0)
    weights = torch.arange(1.0, 7.0)

    found: list[tuple[Tensor, list[Tensor]]] = []
    for sums in (
        forest_log_probs(model, forest, temperature),
        response_log_probs(model, rows, temperature).sum(dim=1),
    ):
        model.zero_grad()
        (weights * sums).sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append((sums.detach(), gradients))
    model.zero_grad()

    (side_by_side, ours), (apart, theirs) = found
    torch.testing.assert_close(side_by_side, apart, atol=1e-5, rtol=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-4, rtol=1e-4)
    assert forest.lengths().tolist() == [3, 5, 1, 1, 2, 2]


@torch.no_grad()
def test_padding_and_neighbours_change_nothing(model: PreTrainedModel) -> None:
    together = response_log_probs(model, Ragged.of(PROMPTS, RESPONSES, pad=0))

    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        alone = response_log_probs(model, Ragged.of([prompt], [response], pad=0))
        width = alone.shape[1]
        torch.testing.assert_close(together[row : row + 1, :width], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_masks_come_from_lengths_so_any_token_may_pad(model: PreTrainedModel) -> None:
    """The pad id is EOS here, and EOS also stands in the middle of a prompt and is scored at the end."""
    prompts, responses = [[2, 1, 40, 3], [2, 3]], [[70, 1], [71, 1, 72, 73]]
    usual, unusual = (Ragged.of(prompts, responses, pad=pad) for pad in (0, 1))

    torch.testing.assert_close(
        response_log_probs(model, unusual),
        response_log_probs(model, usual),
        atol=1e-6,
        rtol=0,
    )
    assert unusual.is_response().tolist() == [
        [False, False, False, False, True, True],
        [False, False, True, True, True, True],
    ]


@torch.no_grad()
def test_every_token_but_the_first_can_be_wanted(model: PreTrainedModel) -> None:
    batch = Ragged.of([PROMPTS[0]], [RESPONSES[0]], pad=0)

    log_probs = log_probs_at(model, batch, torch.arange(batch.tokens.shape[1])[None] > 0)

    whole = [*PROMPTS[0], *RESPONSES[0]]
    expected = brute_force(model, whole[:1], whole[1:])
    torch.testing.assert_close(log_probs[0, 1:], torch.tensor(expected), atol=1e-5, rtol=0)


def test_gradients_do_not_depend_on_padding(model: PreTrainedModel) -> None:
    def gradient(batches: list[Ragged]) -> torch.Tensor:
        model.zero_grad()
        for batch in batches:
            response_log_probs(model, batch).sum().backward()
        grad = model.get_input_embeddings().weight.grad
        assert grad is not None
        return grad.clone()

    whole = gradient([Ragged.of(PROMPTS, RESPONSES, pad=0)])
    apart = gradient([Ragged.of([p], [r], pad=0) for p, r in zip(PROMPTS, RESPONSES, strict=True)])
    model.zero_grad()

    scale = float(whole.abs().max())
    torch.testing.assert_close(apart, whole, atol=1e-5 * scale, rtol=0)


# --- loading and saving ---


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_what_is_saved_gives_the_same_logits_in_plain_transformers(
    architecture: str, tmp_path: Path
) -> None:
    model = tiny_model(architecture)
    save_model(model, tiny_tokenizer(), tmp_path)

    plain = AutoModelForCausalLM.from_pretrained(tmp_path)

    tokens = torch.tensor([[2, 40, 41, 3, 70, 1]])
    assert torch.equal(plain(tokens).logits, model(tokens).logits)
    assert torch.equal(load_causal_lm(tmp_path)(tokens).logits, model(tokens).logits)
    assert (tmp_path / "model.safetensors").is_file()


@torch.no_grad()
def test_an_export_in_bfloat16_rounds_a_copy(tmp_path: Path) -> None:
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    save_model(model, tiny_tokenizer(), tmp_path, torch.bfloat16)

    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert model.dtype == torch.float32
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert "lm_head.weight" not in names, "tied to the embedding, and written once"
    exported = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert exported.dtype == torch.bfloat16
    for name, tensor in exported.state_dict().items():
        assert torch.equal(tensor, before[name].bfloat16()), name


def test_saving_the_same_weights_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_model(tiny_model(seed=5), tiny_tokenizer(), tmp_path / name)

    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_context_is_what_the_positions_reach(architecture: str) -> None:
    assert context_length(tiny_model(architecture)) == CONTEXT


def test_a_head_with_a_bias_is_refused() -> None:
    model = tiny_model()
    model.set_output_embeddings(torch.nn.Linear(32, model.config.vocab_size, bias=True))

    with pytest.raises(ModelError, match="output head without bias"):
        output_weight(model)


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(ModelError, match="not a causal language model"):
        load_causal_lm(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_half_written_weights_are_an_error_of_ours(tmp_path: Path, share: float) -> None:
    weights = write_model(tmp_path) / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(ModelError, match="not a causal language model"):
        load_causal_lm(tmp_path)


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    foreign_tokenizer(eos=None).save_pretrained(tmp_path)

    with pytest.raises(ModelError, match="no EOS token"):
        load_tokenizer(tmp_path)


def test_a_pad_token_that_is_the_end_is_refused(tmp_path: Path) -> None:
    foreign_tokenizer(pad="<|endoftext|>").save_pretrained(tmp_path)

    with pytest.raises(ModelError, match="pad token is the EOS token"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_a_pad_token_is_fine(tmp_path: Path) -> None:
    foreign_tokenizer().save_pretrained(tmp_path)

    assert load_tokenizer(tmp_path).pad_token_id is None


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_half_written_tokenizer_is_refused(tmp_path: Path, name: str) -> None:
    tiny_tokenizer().save_pretrained(tmp_path)
    content = (tmp_path / name).read_text()
    (tmp_path / name).write_text(content[: len(content) // 2])

    with pytest.raises(ModelError, match="no usable tokenizer"):
        load_tokenizer(tmp_path)
