"""Rows that join and leave a running batch draw what they would draw alone, and what the model itself would say."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from alignloop.data.batches import Ragged
from alignloop.errors import EngineError
from alignloop.generation import native
from alignloop.generation.continuous import ContinuousBatch, Drawn, NewRow, RowSampling, nucleus
from alignloop.generation.engine import SamplingConfig
from alignloop.generation.likelihoods import token_likelihoods
from alignloop.generation.llama import LlamaDecoder
from alignloop.generation.native import NativeEngine
from alignloop.models.policy import response_log_probs
from alignloop.seeds import derive_seed
from tests.helpers import ARCHITECTURES, CONTEXT, tiny_model

END = 1
LONGEST = 24


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_model(request.param)


@pytest.fixture(scope="module")
def llama() -> PreTrainedModel:
    return tiny_model("llama")


def prompts_of(count: int, seed: int = 1) -> list[tuple[int, ...]]:
    draw = random.Random(seed)
    return [
        (2, *(draw.randrange(40, 200) for _ in range(draw.randrange(1, 20))), 3)
        for _ in range(count)
    ]


def serve(
    model: PreTrainedModel,
    rows: Sequence[NewRow],
    arrivals: Callable[[], int],
    *,
    most: int = 8,
    after_step: Callable[[ContinuousBatch], object] = lambda _: None,
) -> dict[int, list[Drawn]]:
    """Let rows in as `arrivals` says, at most so many at once, and let each leave at its end."""
    batch, waiting = ContinuousBatch(model), list(rows)
    limits = {row.key: row.sampling.max_new_tokens for row in rows}
    drawn: dict[int, list[Drawn]] = {row.key: [] for row in rows}
    while waiting or len(batch):
        count = min(arrivals(), most - len(batch))
        batch.admit(waiting[:count])
        waiting = waiting[count:]
        ended: list[int] = []
        for key, one in batch.step().items():
            drawn[key].append(one)
            if one.token == END or len(drawn[key]) == limits[key]:
                ended.append(key)
        after_step(batch)
        batch.drop(ended)
    return drawn


def tokens_of(drawn: dict[int, list[Drawn]]) -> dict[int, list[int]]:
    return {key: [one.token for one in many] for key, many in drawn.items()}


def alone(model: PreTrainedModel, rows: Sequence[NewRow]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in rows:
        found |= tokens_of(serve(model, [row], lambda: 1))
    return found


def test_rows_that_come_and_go_draw_what_the_engine_draws(model: PreTrainedModel) -> None:
    """The same seed, the same tokens as the trainers' sampler; log-probabilities as in one plain pass."""
    prompts, draw = prompts_of(24), random.Random(3)
    rows = [NewRow(i, p, RowSampling(LONGEST, i, top_log_probs=0)) for i, p in enumerate(prompts)]

    drawn = serve(model, rows, lambda: draw.randrange(0, 4))

    engine, sampling = NativeEngine(model, END), SamplingConfig(max_new_tokens=LONGEST)
    whole = engine.generate(prompts, range(len(prompts)), sampling)
    tokens = tokens_of(drawn)
    assert [tokens[i] for i in range(len(prompts))] == [one.tokens for one in whole]
    assert len({len(many) for many in tokens.values()}) > 5
    batch = Ragged.of(prompts, [tokens[i] for i in range(len(prompts))], pad=0)
    with torch.no_grad():
        expected = response_log_probs(model, batch)[batch.is_response()]
    told = [one.log_prob for i in range(len(prompts)) for one in drawn[i]]
    torch.testing.assert_close(torch.tensor(told), expected, atol=2e-5, rtol=0)


def test_rows_go_on_beyond_the_room_that_was_made_for_them(model: PreTrainedModel) -> None:
    """Uniforms, rotations and columns are made as they are needed; nothing tells where one lot ends."""
    prompts = prompts_of(3, seed=21)
    longest = CONTEXT - max(map(len, prompts))
    batch = ContinuousBatch(model)
    found: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for step in range(longest + 20):
        if step in (0, 5, 20):
            key = (0, 5, 20).index(step)
            batch.admit([NewRow(key, prompts[key], RowSampling(longest, key))])
        for key, one in batch.step().items():
            found[key].append(one.token)
        batch.drop([key for key, tokens in found.items() if len(tokens) == longest])

    whole = NativeEngine(model, -1).generate(
        prompts, range(3), SamplingConfig(max_new_tokens=longest)
    )
    assert longest > 64
    assert [found[key] for key in range(3)] == [one.tokens for one in whole]


@settings(max_examples=6)
@given(st.integers(0, 1 << 30))
def test_whoever_is_beside_it_a_row_draws_the_same(seed: int) -> None:
    """Temperatures, nuclei, lengths and moments of arrival of all kinds."""
    model, draw = tiny_model("llama"), random.Random(seed)
    rows = [
        NewRow(
            key,
            prompt,
            RowSampling(
                draw.randint(1, 16),
                seed=draw.randint(-(1 << 63), (1 << 63) - 1),
                temperature=draw.choice([0.0, 1e-9, 0.5, 1.0, 2.0]),
                top_p=draw.choice([0.0, 0.3, 0.9, 1.0]),
                top_log_probs=draw.choice([None, 0, 3]),
            ),
        )
        for key, prompt in enumerate(prompts_of(8, seed))
    ]

    together = serve(model, rows, lambda: draw.randint(0, 3), most=4)

    assert tokens_of(together) == alone(model, rows)


def test_equal_prompts_are_read_once_and_their_answers_differ(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    start = LlamaDecoder.start

    def noted(self: LlamaDecoder, prompts: Sequence[Sequence[int]], *rest: Any) -> torch.Tensor:
        read.append(len(prompts))
        return start(self, prompts, *rest)

    monkeypatch.setattr(LlamaDecoder, "start", noted)
    rows = [NewRow(i, (2, 50, 51, 3), RowSampling(6, derive_seed(1, "row", i))) for i in range(6)]

    drawn = serve(llama, rows, lambda: 3, most=6)

    assert read == [1, 1]
    assert len({tuple(many) for many in tokens_of(drawn).values()}) > 3


def test_the_cache_holds_no_more_than_its_rows_see(model: PreTrainedModel) -> None:
    """Fifty rows one after another, three at a time: columns do not pile up."""
    rows = [NewRow(i, p, RowSampling(12, i)) for i, p in enumerate(prompts_of(50, seed=5))]
    widths: list[int] = []

    def note(batch: ContinuousBatch) -> None:
        decoder: Any = batch._decoder
        is_llama = isinstance(decoder, LlamaDecoder)
        widths.append(
            decoder._keys[0].shape[1] if is_llama else decoder._layers()[0]._buffers[0].shape[2]
        )

    serve(model, rows, lambda: 1, most=3, after_step=note)

    longest = 22 + 12
    assert len(widths) > longest + 2 * 64, "or nothing could have piled up"
    assert max(widths) <= longest + 2 * 64


def test_a_place_is_clean_whatever_its_last_row_left(model: PreTrainedModel) -> None:
    first, second, third = (
        NewRow(i, p, RowSampling(LONGEST, i)) for i, p in enumerate(prompts_of(3, seed=8))
    )
    expected = {k: many[: LONGEST - 1] for k, many in alone(model, [second, third]).items()}
    batch = ContinuousBatch(model)
    batch.admit(
        [first, second, NewRow(7, (2, 3), first.sampling), NewRow(8, (2, 3), first.sampling)]
    )
    found = {1: [batch.step()[1].token], 2: list[int]()}
    batch.drop([0])
    _poison(batch, 0)
    batch.admit([third])
    assert batch._rows[0] is not None and batch._rows[0].key == 2
    while len(batch):
        ended: list[int] = []
        for key, one in batch.step().items():
            many = found.setdefault(key, [])
            many.append(one.token)
            if one.token == END or len(many) == LONGEST - 1:
                ended.append(key)
        batch.drop(ended)
    del found[7], found[8]

    assert found == expected


def _poison(batch: ContinuousBatch, place: int) -> None:
    decoder: Any = batch._decoder
    if isinstance(decoder, LlamaDecoder):
        heads = decoder._shape.kv_heads
        states = [*decoder._keys, *decoder._values]
        for one in states:
            one[place * heads : (place + 1) * heads] = torch.nan
    else:
        for layer in decoder._layers():
            for buffer in layer._buffers:
                buffer[place] = torch.nan


def test_greedy_rows_take_what_transformers_would(model: PreTrainedModel) -> None:
    prompts = prompts_of(5, seed=11)
    rows = [NewRow(i, p, RowSampling(10, i, temperature=0.0)) for i, p in enumerate(prompts)]

    drawn = tokens_of(serve(model, rows, lambda: 2))

    for key, prompt in enumerate(prompts):
        tokens = list(prompt)
        for _ in range(10):
            with torch.no_grad():
                tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
            if tokens[-1] == END:
                break
        assert drawn[key] == tokens[len(prompt) :]


def test_the_likeliest_tokens_are_those_of_the_model_before_temperature_and_nucleus(
    llama: PreTrainedModel,
) -> None:
    prompt = (2, 50, 60, 3)
    row = NewRow(0, prompt, RowSampling(8, 3, temperature=0.3, top_p=0.5, top_log_probs=4))
    other = NewRow(1, prompt, RowSampling(8, 4, top_log_probs=1))

    drawn = serve(llama, [row, other], lambda: 2)

    for key, count in ((0, 4), (1, 1)):
        tokens = [*prompt, *(one.token for one in drawn[key])]
        with torch.no_grad():
            log_probs = llama(torch.tensor([tokens])).logits[0].log_softmax(dim=1)
        for at, one in enumerate(drawn[key], start=len(prompt) - 1):
            best = log_probs[at].topk(count)
            assert [token for token, _ in one.top] == best.indices.tolist()
            assert [value for _, value in one.top] == pytest.approx(best.values.tolist(), abs=1e-5)
            assert one.log_prob == pytest.approx(float(log_probs[at, one.token]), abs=1e-5)


def test_likelihoods_of_a_prompt_are_those_of_the_model(model: PreTrainedModel) -> None:
    tokens = prompts_of(1, seed=13)[0]

    found = token_likelihoods(model, tokens, 3)

    with torch.no_grad():
        log_probs = model(torch.tensor([tokens])).logits[0].log_softmax(dim=1)
    assert len(found) == len(tokens) - 1
    for at, one in enumerate(found):
        assert one.log_prob == pytest.approx(float(log_probs[at, tokens[at + 1]]), abs=1e-5)
        assert [token for token, _ in one.top] == log_probs[at].topk(3).indices.tolist()
    assert token_likelihoods(model, tokens[:1], 3) == []


def test_rows_of_a_sliding_window_wait_until_the_batch_is_empty() -> None:
    config = MistralConfig(
        vocab_size=330,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=48,
        max_position_embeddings=CONTEXT,
        sliding_window=6,
        bos_token_id=None,
        eos_token_id=END,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = MistralForCausalLM(config).eval()
    batch = ContinuousBatch(model)
    row = NewRow(0, (2, 50, 60, 70, 80, 3), RowSampling(12, 1))

    batch.admit([row])

    assert not batch.can_join
    with pytest.raises(EngineError, match="wait until there are none"):
        batch.admit([NewRow(1, (2, 3), RowSampling(1, 1))])
    drawn = [batch.step()[0].token for _ in range(12)]
    [whole] = NativeEngine(model, -1).generate([row.prompt], [1], SamplingConfig(max_new_tokens=12))
    assert drawn == whole.tokens
    batch.drop([0])
    batch.admit([NewRow(1, (2, 3), RowSampling(1, 1))])
    assert list(batch.step()) == [1]


def test_an_empty_batch_has_nothing_to_say(llama: PreTrainedModel) -> None:
    batch = ContinuousBatch(llama)

    batch.admit([])
    batch.drop([3])

    assert batch.step() == {}
    assert len(batch) == 0


# --- the nucleus ---


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.0, [3]),
        (0.49, [3]),
        (0.51, [1, 3]),
        (0.79, [1, 3]),
        (0.81, [0, 1, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_a_nucleus_is_the_fewest_tokens_with_that_probability(
    top_p: float, kept: list[int]
) -> None:
    """0.5 + 0.3 + 0.125 + 0.075, in no order."""
    logits = torch.tensor([[0.125, 0.3, 0.075, 0.5]]).log()

    found = nucleus(logits, torch.tensor([top_p]))

    assert (found[0] > -torch.inf).nonzero()[:, 0].tolist() == kept
    assert torch.equal(found[0, kept], logits[0, kept])


def test_of_equally_likely_tokens_the_first_are_kept() -> None:
    found = nucleus(torch.zeros(1, 8), torch.tensor([0.5]))

    assert (found[0] > -torch.inf).tolist() == [True] * 4 + [False] * 4


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(0.01, 0.999))
def test_no_token_of_a_nucleus_could_be_left_out(seed: int, words: int, top_p: float) -> None:
    logits = 2 * torch.randn(1, words, generator=torch.Generator().manual_seed(seed))
    shares = logits[0].double().softmax(dim=0)

    kept = nucleus(logits, torch.tensor([top_p]))[0] > -torch.inf

    assert float(shares[kept].sum()) >= top_p - 1e-6
    assert float(shares[kept].sum() - shares[kept].min()) < top_p + 1e-6
    if not kept.all():
        assert shares[kept].min() >= shares[~kept].max()


def test_draws_from_a_nucleus_invert_what_is_left_of_the_distribution(
    llama: PreTrainedModel,
) -> None:
    """In the order of the vocabulary, as without a nucleus; the others never come."""
    prompt = (2, 50, 60, 3)
    with torch.no_grad():
        logits = llama(torch.tensor([prompt])).logits[:, -1]
    cut = nucleus(logits, torch.tensor([0.6]))[0].double().softmax(dim=0)

    seeds = range(200)
    rows = [NewRow(s, prompt, RowSampling(1, s, top_p=0.6)) for s in seeds]
    drawn = tokens_of(serve(llama, rows, lambda: 200, most=200))

    up_to = cut.cumsum(dim=0)
    expected = [
        int((up_to > float(native.uniforms_of(1, seed)) * up_to[-1]).nonzero()[0]) for seed in seeds
    ]
    assert [drawn[seed][0] for seed in seeds] == expected
    assert len(set(expected)) > 5
