"""The native engine: what it says of its draws is what a teacher-forced pass says, and each row stands alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import PreTrainedModel

from alignloop.data.batches import Ragged
from alignloop.errors import DataError
from alignloop.generation import native
from alignloop.generation.decoder import Decoder
from alignloop.generation.engine import Response, SamplingConfig
from alignloop.generation.native import NativeEngine, stream_tokens
from alignloop.models.policy import response_log_probs
from alignloop.tensors import generator
from tests.helpers import ARCHITECTURES, CONTEXT, tiny_model

END = 1
PROMPTS = [
    [2, 40, 41, 42, 43, 44, 45, 3],
    [2, 50, 3],
    [2, 60, 61, 3],
    [2, 50, 3],
    [2, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 3],
    [2, 50, 3],
    [2, 90, 3],
    [2, 91, 92, 3],
]
SEEDS = [100 + i for i in range(len(PROMPTS))]
SAMPLING = SamplingConfig(max_new_tokens=14)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_model(request.param)


@pytest.fixture(scope="module")
def llama() -> PreTrainedModel:
    return tiny_model("llama")


def tokens_of(responses: list[Response]) -> list[list[int]]:
    return [response.tokens for response in responses]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(rows, columns) of the tokens in every forward pass from here on, whatever the decoder."""
    shapes: list[tuple[int, int]] = []
    make = native.decoder_for

    def recording(*arguments: Any, **named: Any) -> Decoder:
        decoder = make(*arguments, **named)
        start, step = decoder.start, decoder.step

        def noted_start(prompts: Sequence[Sequence[int]], *rest: Any) -> torch.Tensor:
            shapes.append((len(prompts), max(map(len, prompts))))
            return start(prompts, *rest)

        def noted_step(tokens: torch.Tensor) -> torch.Tensor:
            shapes.append((len(tokens), 1))
            return step(tokens)

        decoder.start, decoder.step = noted_start, noted_step  # type: ignore[method-assign]
        return decoder

    monkeypatch.setattr(native, "decoder_for", recording)
    return shapes


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_of_what_was_drawn_equal_teacher_forced_ones(
    model: PreTrainedModel, temperature: float
) -> None:
    """With a cache, left padding, positions per row and dropped rows, against one plain right-padded pass."""
    sampling = SamplingConfig(max_new_tokens=14, temperature=temperature)

    responses = NativeEngine(model, END).generate(PROMPTS, SEEDS, sampling)

    batch = Ragged.of(PROMPTS, tokens_of(responses), pad=0)
    with torch.no_grad():
        expected = response_log_probs(model, batch, temperature)
    drawn = torch.tensor([p for response in responses for p in response.log_probs])
    torch.testing.assert_close(drawn, expected[batch.is_response()], atol=1e-5, rtol=0)
    finished = {response.finished for response in responses}
    assert finished == {True, False}, "the test means something only if both occur"


@pytest.mark.parametrize("rows", [1, 3, 128])
def test_a_rows_draw_depends_on_its_prompt_and_seed_alone(
    model: PreTrainedModel, rows: int
) -> None:
    alone = [
        NativeEngine(model, END).generate([prompt], [seed], SAMPLING)[0]
        for prompt, seed in zip(PROMPTS, SEEDS, strict=True)
    ]
    order = [5, 2, 7, 0, 1, 4, 3, 6]

    together = NativeEngine(model, END).generate(
        [PROMPTS[i] for i in order],
        [SEEDS[i] for i in order],
        SAMPLING.model_copy(update={"batch_rows": rows}),
    )

    assert tokens_of(together) == [alone[i].tokens for i in order], "in the order of the prompts"
    for response, i in zip(together, order, strict=True):
        assert response.log_probs == pytest.approx(alone[i].log_probs, abs=1e-5)


def test_other_seeds_draw_other_tokens(llama: PreTrainedModel) -> None:
    engine = NativeEngine(llama, END)

    drawn = tokens_of(engine.generate([PROMPTS[0]] * 20, list(range(20)), SAMPLING))

    assert len({tuple(tokens) for tokens in drawn}) > 10


def test_the_end_token_stops_and_none_is_ever_made_up(llama: PreTrainedModel) -> None:
    responses = NativeEngine(llama, END).generate(PROMPTS * 8, list(range(64)), SAMPLING)

    lengths = set()
    for response in responses:
        assert END not in response.tokens[:-1]
        assert response.finished == (response.tokens[-1] == END)
        assert len(response.tokens) == len(response.log_probs)
        assert len(response.tokens) == 14 or response.finished
        lengths.add(len(response.tokens))
    assert len(lengths) > 5


def test_an_end_as_the_last_allowed_token_counts_as_finished(llama: PreTrainedModel) -> None:
    """The draw is cut right after the token at which a longer draw ended."""
    longer = NativeEngine(llama, END).generate(PROMPTS * 4, list(range(32)), SAMPLING)
    at = next(i for i, r in enumerate(longer) if r.finished and 2 < len(r.tokens) < 14)
    exactly = SamplingConfig(max_new_tokens=len(longer[at].tokens))
    too_few = SamplingConfig(max_new_tokens=len(longer[at].tokens) - 1)
    engine, which = NativeEngine(llama, END), ([(PROMPTS * 4)[at]], [at])

    assert engine.generate(*which, exactly)[0].finished
    cut = engine.generate(*which, too_few)[0]

    assert (cut.finished, cut.tokens) == (False, longer[at].tokens[:-1])


def test_copies_of_one_prompt_are_encoded_once_and_draw_as_they_would_apart(
    model: PreTrainedModel, passes: list[tuple[int, int]]
) -> None:
    engine = NativeEngine(model, END)
    apart = [engine.generate([PROMPTS[0]], [seed], SAMPLING)[0] for seed in range(9)]
    passes.clear()

    together = engine.generate([PROMPTS[0]] * 9, list(range(9)), SAMPLING)

    assert passes[0] == (1, len(PROMPTS[0])), "one row for nine copies"
    assert 1 < passes[1][0] <= 9
    assert passes[1][1] == 1, "and then one new token per row"
    assert tokens_of(together) == tokens_of(apart)


def test_finished_rows_are_dropped_and_nobody_notices(
    monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel, passes: list[tuple[int, int]]
) -> None:
    prompts, seeds = PROMPTS * 4, list(range(32))
    dropped = NativeEngine(model, END).generate(prompts, seeds, SAMPLING)
    last = passes[-1]

    monkeypatch.setattr(native, "_COMPACT_BELOW", 0.0)
    kept = NativeEngine(model, END).generate(prompts, seeds, SAMPLING)

    assert last[0] < 32 * 0.8
    assert tokens_of(dropped) == tokens_of(kept)
    for a, b in zip(dropped, kept, strict=True):
        assert a.log_probs == pytest.approx(b.log_probs, abs=1e-5)


def test_in_bfloat16_rows_leave_by_sixteens(
    llama: PreTrainedModel, passes: list[tuple[int, int]]
) -> None:
    """Of few sizes, since a kernel is made for each; what is drawn goes to the open rows all the same."""
    drawn = NativeEngine(llama, END, "bfloat16").generate(PROMPTS * 8, list(range(64)), SAMPLING)

    rows = [count for count, columns in passes if columns == 1]
    assert set(rows) <= {16, 32, 48, 64}
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] < 64
    assert len({len(response.tokens) for response in drawn}) > 1
    for response in drawn:
        assert response.finished == (response.tokens[-1] == END)
        assert END not in response.tokens[:-1]


def test_no_more_forward_passes_than_needed(
    model: PreTrainedModel, passes: list[tuple[int, int]]
) -> None:
    NativeEngine(model, END).generate([[2, 40, 3]], [0], SamplingConfig(max_new_tokens=1))

    assert passes == [(1, 3)]


def test_the_limit_is_respected_and_must_fit_the_context(llama: PreTrainedModel) -> None:
    engine = NativeEngine(llama, END)
    full = SamplingConfig(max_new_tokens=CONTEXT - 3)

    assert len(engine.generate([[2, 50, 3]], [4], full)[0].tokens) <= CONTEXT - 3
    with pytest.raises(DataError, match=r"4 tokens.*do not fit.*context of 96"):
        engine.generate([[2, 50, 51, 3]], [4], full)


def test_no_prompts_give_no_responses(llama: PreTrainedModel) -> None:
    assert NativeEngine(llama, END).generate([], [], SAMPLING) == []


@pytest.mark.parametrize("is_training", [True, False])
def test_the_model_is_left_as_it_was_and_drawn_from_without_dropout(is_training: bool) -> None:
    model = tiny_model("gpt2").train(is_training)

    drawn = NativeEngine(model, END).generate([PROMPTS[0]], [0], SAMPLING)

    assert model.training == is_training
    assert tokens_of(drawn) == tokens_of(
        NativeEngine(model.eval(), END).generate([PROMPTS[0]], [0], SAMPLING)
    )
    assert all(parameter.grad is None for parameter in model.parameters())


def test_every_row_is_reported_once(llama: PreTrainedModel) -> None:
    reported: list[int] = []

    sampling = SAMPLING.model_copy(update={"batch_rows": 3})
    NativeEngine(llama, END).generate(PROMPTS, SEEDS, sampling, reported.append)

    assert sum(reported) == len(PROMPTS)


def test_a_low_temperature_takes_the_likeliest_token(llama: PreTrainedModel) -> None:
    cold = SamplingConfig(max_new_tokens=1, temperature=1e-3)

    drawn = tokens_of(NativeEngine(llama, END).generate([PROMPTS[0]] * 5, list(range(5)), cold))

    with torch.no_grad():
        best = int(llama(torch.tensor([PROMPTS[0]])).logits[0, -1].argmax())
    assert drawn == [[best]] * 5


def test_a_stream_draws_what_a_batch_draws(model: PreTrainedModel) -> None:
    """As chat shows it, token by token: the same seed, the same tokens, the end token included."""
    for prompt, seed in zip(PROMPTS, SEEDS, strict=True):
        [whole] = NativeEngine(model, END).generate([prompt], [seed], SAMPLING)

        assert list(stream_tokens(model, prompt, SAMPLING, END, seed)) == whole.tokens


@pytest.mark.parametrize("name", ["top_p", "top_k"])
def test_a_setting_that_would_change_the_distribution_is_refused(name: str) -> None:
    """PPO's ratio is of the model's own probabilities: a cut tail has none."""
    with pytest.raises(ValidationError, match=name):
        SamplingConfig.model_validate({name: 1})


# --- the draw itself ---


def test_a_draw_inverts_the_cumulative_distribution() -> None:
    shares = torch.tensor([[0.0, 0.2, 0.0, 0.3, 0.5]])
    uniforms = [0.0, 0.19, 0.21, 0.49, 0.51, 0.999999, 1 - 2**-53]

    drawn, log_probs = native.draw(
        shares.log().expand(len(uniforms), -1), torch.tensor(uniforms, dtype=torch.float64)
    )

    assert drawn.tolist() == [1, 1, 3, 3, 4, 4, 4], "what has no probability is never drawn"
    expected = torch.tensor([0.2, 0.2, 0.3, 0.3, 0.5, 0.5, 0.5]).log()
    torch.testing.assert_close(log_probs, expected)


@pytest.mark.parametrize("possible", [[0], [63], [64], [150], [3, 140]])
def test_the_ends_of_the_uniform_draw_nothing_impossible(possible: list[int]) -> None:
    logits = torch.full((2, 151), -torch.inf)
    logits[:, possible] = 0.0

    drawn, log_probs = native.draw(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64))

    assert drawn.tolist() == [possible[0], possible[-1]]
    torch.testing.assert_close(log_probs.exp(), torch.full((2,), 1 / len(possible)))


@given(st.integers(0, 10_000), st.integers(1, 300), st.floats(0, 1, exclude_max=True))
def test_a_draw_is_the_first_token_whose_cumulative_share_exceeds_the_uniform(
    seed: int, words: int, uniform: float
) -> None:
    logits = 3 * torch.randn(1, words, generator=generator(seed))

    drawn, log_prob = native.draw(logits, torch.tensor([uniform], dtype=torch.float64))

    shares = torch.softmax(logits[0].double(), dim=0).tolist()
    below = sum(shares[: int(drawn)])
    assert below - 1e-6 <= uniform <= below + shares[int(drawn)] + 1e-6
    assert float(log_prob.exp()) == pytest.approx(shares[int(drawn)], rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_draws_are_distributed_as_the_softmax_says(
    llama: PreTrainedModel, temperature: float
) -> None:
    """Chi-square over 3,000 draws of one token; rare tokens are pooled. The seeds are fixed, so is the result."""
    count = 3000
    one = SamplingConfig(max_new_tokens=1, temperature=temperature, batch_rows=1000)

    responses = NativeEngine(llama, END).generate([PROMPTS[0]] * count, list(range(count)), one)

    with torch.no_grad():
        logits = llama(torch.tensor([PROMPTS[0]])).logits[0, -1].double() / temperature
    expected = (torch.softmax(logits, dim=0) * count).tolist()
    found = Counter(response.tokens[0] for response in responses)
    common = [token for token, e in enumerate(expected) if e >= 8]
    pooled = [(found[token], expected[token]) for token in common]
    pooled.append((count - sum(f for f, _ in pooled), count - sum(e for _, e in pooled)))
    chi_square = sum((f - e) ** 2 / e for f, e in pooled)
    freedom = len(pooled) - 1
    assert freedom > 20
    assert abs(chi_square - freedom) < 4 * (2 * freedom) ** 0.5
