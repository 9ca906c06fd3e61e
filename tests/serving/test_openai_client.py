"""The official OpenAI client against the bundled base model and a second one, whole answers and streams."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import torch

from alignloop.data.records import Prompt
from alignloop.generation.engine import SamplingConfig
from alignloop.generation.native import NativeEngine
from alignloop.resources import asset
from alignloop.serving.policy import ServedPolicy
from tests.helpers import write_model
from tests.serving.site import Site, eventually, held, served

ASKED = [{"role": "user", "content": "Once there was a fox who lived by the river."}]


@pytest.fixture(scope="module")
def base() -> ServedPolicy:
    return ServedPolicy.load("base", Path(str(asset("base"))))


@pytest.fixture(scope="module")
def site(base: ServedPolicy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    tiny = ServedPolicy.load("tiny", write_model(tmp_path_factory.mktemp("tiny")))
    with served([base, tiny]) as found:
        yield found


@pytest.fixture
def client(site: Site) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["base", "tiny"]
    assert client.models.retrieve("tiny").owned_by == "alignloop"


def test_an_answer_is_what_the_engine_draws(client: openai.OpenAI, base: ServedPolicy) -> None:
    """The same seed and temperature, the same text as `alignloop sample` and `chat` would have."""
    reply = client.chat.completions.create(
        model="base", messages=ASKED, max_tokens=24, temperature=0.7, seed=11
    )

    prompt = base.formatter.prompt(Prompt(id="p", text=ASKED[0]["content"]))
    sampling = SamplingConfig(max_new_tokens=24, temperature=0.7)
    [drawn] = NativeEngine(base.model, base.formatter.end).generate([prompt], [11], sampling)
    [choice] = reply.choices
    assert choice.message.content == base.formatter.text(drawn.tokens)
    assert choice.finish_reason == ("stop" if drawn.finished else "length")
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len(prompt)
    assert reply.usage.completion_tokens == len(drawn.tokens)


def test_a_stream_is_the_same_answer_in_pieces(client: openai.OpenAI) -> None:
    given = {"model": "base", "messages": ASKED, "max_tokens": 24, "seed": 11}
    whole = client.chat.completions.create(**given)

    stream = client.chat.completions.create(
        **given, stream=True, stream_options={"include_usage": True}
    )

    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert sum(map(bool, pieces)) > 5
    assert chunks[0].choices[0].delta.role == "assistant"
    ends = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert ends == [None] * (len(ends) - 1) + [whole.choices[0].finish_reason]
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("streams", [False, True])
def test_several_answers_are_several_rows(client: openai.OpenAI, streams: bool) -> None:
    given = {"model": "base", "messages": ASKED, "max_tokens": 12, "seed": 5}
    texts = ["", "", ""]
    if streams:
        for chunk in client.chat.completions.create(**given, n=3, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    else:
        for choice in client.chat.completions.create(**given, n=3).choices:
            texts[choice.index] = choice.message.content or ""

    assert len(set(texts)) == 3
    alone = client.chat.completions.create(**given).choices[0].message.content
    assert texts[0] == alone, "the first is the answer that is given alone"
    again = client.chat.completions.create(**given, n=3).choices
    assert [choice.message.content for choice in again] == texts


def test_greedy_answers_take_the_models_likeliest_tokens(
    client: openai.OpenAI, base: ServedPolicy
) -> None:
    reply = client.chat.completions.create(
        model="base", messages=ASKED, max_tokens=10, temperature=0, logprobs=True, top_logprobs=2
    )

    tokens = list(base.formatter.prompt(Prompt(id="p", text=ASKED[0]["content"])))
    said = reply.choices[0].logprobs
    assert said is not None and said.content is not None
    for told in said.content:
        with torch.no_grad():
            log_probs = base.model(torch.tensor([tokens])).logits[0, -1].log_softmax(dim=0)
        best = log_probs.topk(2)
        tokens.append(int(best.indices[0]))
        assert told.bytes == list(base.names.bytes_of(tokens[-1]))
        assert told.logprob == pytest.approx(float(best.values[0]), abs=1e-4)
        assert [one.token for one in told.top_logprobs] == [
            base.names.text_of(int(token)) for token in best.indices
        ]


def test_stops_end_answers_and_are_no_part_of_them(client: openai.OpenAI) -> None:
    given = {"model": "base", "prompt": "Once there was", "max_tokens": 40, "seed": 3}
    whole = client.completions.create(**given).choices[0].text
    stop = whole[20:23]
    for streams in (False, True):
        found = client.completions.create(**given, stop=[stop, "\u2603"], stream=streams)
        chunks = list(found) if streams else [found]
        text = "".join(chunk.choices[0].text for chunk in chunks)
        assert text == whole[: whole.index(stop)]
        assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_text_is_told_how_likely_it_is(client: openai.OpenAI, base: ServedPolicy) -> None:
    """As evaluation harnesses ask: by tokens or by text, the prompt echoed, nothing or one token drawn."""
    texts = ["Once there was a fox.", "The hen sat down."]
    tokens = [list(base.text_tokens(text)) for text in texts]
    by_text = client.completions.create(
        model="base", prompt=texts, max_tokens=0, echo=True, logprobs=2
    )
    by_token = client.completions.create(
        model="base", prompt=tokens, max_tokens=1, echo=True, logprobs=2, temperature=0
    )

    for text, given, whole, longer in zip(
        texts, tokens, by_text.choices, by_token.choices, strict=True
    ):
        with torch.no_grad():
            log_probs = base.model(torch.tensor([given])).logits[0].log_softmax(dim=1)
        expected = [float(log_probs[at, token]) for at, token in enumerate(given[1:])]
        assert whole.text == text
        assert longer.text.startswith(text)
        told, more = whole.logprobs, longer.logprobs
        assert told is not None and more is not None
        assert told.token_logprobs is not None and told.text_offset is not None
        assert told.token_logprobs[0] is None
        assert told.token_logprobs[1:] == pytest.approx(expected, abs=1e-4)
        assert more.token_logprobs is not None
        assert more.token_logprobs[: len(given)] == told.token_logprobs
        assert len(more.token_logprobs) == len(given) + 1
        assert told.tokens is not None and told.top_logprobs is not None
        assert "".join(told.tokens) == text
        for at, token in zip(told.text_offset, told.tokens, strict=True):
            assert text[at:].startswith(token)
        likely = zip(told.top_logprobs[1:], told.token_logprobs[1:], strict=True)
        for at, (best, own) in enumerate(likely):
            is_greedy = int(log_probs[at].argmax()) == given[at + 1]
            assert (max(best.values()) == own) == is_greedy
    assert by_text.usage is not None and by_text.usage.completion_tokens == 0


def test_a_prompt_comes_back_first_in_a_stream(client: openai.OpenAI) -> None:
    given = {
        "model": "base",
        "prompt": ["Once", "The fox"],
        "max_tokens": 4,
        "seed": 1,
        "echo": True,
    }
    for log_probs in (None, 1):
        whole = client.completions.create(**given, logprobs=log_probs)
        texts = ["", ""]
        tokens: list[list[str]] = [[], []]
        for chunk in client.completions.create(**given, logprobs=log_probs, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.text
                tokens[choice.index] += (choice.logprobs and choice.logprobs.tokens) or []
        assert texts == [choice.text for choice in whole.choices]
        if log_probs is not None:
            assert tokens == [c.logprobs.tokens for c in whole.choices if c.logprobs]


def test_a_conversation_is_read_whole_and_by_a_model_without_memory_not(
    site: Site, client: openai.OpenAI, base: ServedPolicy
) -> None:
    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "The king"},
        {"role": "assistant", "content": "went home."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "The "}, {"type": "text", "text": "hen"}],
        },
    ]
    reply = client.chat.completions.create(model="base", messages=said, max_tokens=1)  # type: ignore[arg-type]

    prompt = Prompt.model_validate(
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                *said[1:3],
                {"role": "user", "content": "The hen"},
            ]
        }
    )
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len(base.formatter.prompt(prompt))
    alone = dataclasses.replace(base, remembers=False)
    last = [(m["role"], m["content"]) for m in [*said[1:3], {"role": "user", "content": "The hen"}]]
    assert list(alone.chat_tokens(last)) == base.formatter.prompt(Prompt(id="p", text="The hen"))  # type: ignore[arg-type]


def test_two_models_answer_at_the_same_time(site: Site, client: openai.OpenAI) -> None:
    with held(site.worker("base")):
        stream = client.completions.create(
            model="tiny", prompt="The fox", max_tokens=8, stream=True
        )
        assert list(stream)[-1].choices[0].finish_reason in ("stop", "length")
        assert site.worker("tiny").rows == 0


def test_streams_share_one_batch_and_one_that_is_closed_leaves_it(
    site: Site, client: openai.OpenAI
) -> None:
    worker = site.worker("base")
    streams: list[openai.Stream[openai.types.Completion]] = []

    def ask() -> None:
        found = client.completions.create(
            model="base", prompt="Once", max_tokens=200, temperature=0, stream=True
        )
        streams.append(found)

    with held(worker) as allow:
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: worker.waiting + worker.rows == 3)
        allow(3)
        for thread in threads:
            thread.join()
        assert worker.rows == 3
        streams[1].close()
        allow(1)
        eventually(lambda: worker.rows == 2)
        # The worker tells of its rows a moment after it dropped one.
        eventually(lambda: site.metric("batch_rows", model="base") == 2)
        for stream in streams:
            stream.close()
    eventually(lambda: worker.rows == 0)


def test_what_cannot_be_done_is_an_error_that_the_client_knows(client: openai.OpenAI) -> None:
    with pytest.raises(
        openai.NotFoundError, match="there is no model 'gpt' here; there are: base, tiny"
    ):
        client.chat.completions.create(model="gpt", messages=ASKED)
    with pytest.raises(openai.BadRequestError, match=r"260 tokens.*context of 256") as caught:
        client.completions.create(model="base", prompt=[5] * 260)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="'tools' is not supported") as caught:
        client.chat.completions.create(
            model="base",
            messages=ASKED,
            tools=[{"type": "function", "function": {"name": "f"}}],
        )
    assert caught.value.param == "tools"
    with pytest.raises(openai.BadRequestError, match="make no embeddings"):
        client.embeddings.create(model="base", input="a")


def test_parameters_that_change_nothing_are_accepted(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="base",
        messages=ASKED,
        max_completion_tokens=2,
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        response_format={"type": "text"},
        user="ann",
        store=False,
        parallel_tool_calls=True,
        tool_choice="none",
        service_tier="auto",
        stop=[],
        top_p=1,
        n=1,
    )

    assert len(reply.choices) == 1
