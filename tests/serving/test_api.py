"""The API's edges: who may ask, how much, and what becomes of what is not a request."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from alignloop.errors import ConfigError
from alignloop.serving.guard import Access, read_keys
from alignloop.serving.policy import ServedPolicy
from alignloop.serving.service import Limits
from alignloop.web.limits import RateLimit
from tests.helpers import CONTEXT, write_model
from tests.serving.site import PATIENCE_S, Site, eventually, held, served

KEY, OTHER = "a-key-of-more-than-16", "another-key-0123456789"
ASKED = {"model": "tiny", "prompt": "The fox", "max_tokens": 4}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ServedPolicy:
    return ServedPolicy.load("tiny", write_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def site(tiny: ServedPolicy) -> Iterator[Site]:
    access = Access(hosts=frozenset({"localhost", "127.0.0.1"}), largest_body=100_000)
    with served([tiny], Limits(max_rows=4, queue=2), access) as found:
        yield found


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error, in OpenAI's shape."""
    found = answer.json()
    assert set(found) == {"error"}
    assert set(found["error"]) == {"message", "type", "param", "code"}
    return found["error"]


# --- bodies ---


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "JSON object"),
        (b"{", "not JSON"),
        (b"null", "JSON object"),
        (b"[1]", "JSON object"),
        (b'"text"', "JSON object"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 50_000, "pars"),
        (b'{"model": "tiny", "temperature": 1e999}', "'temperature'"),
        (b'{"model": "tiny", "temperature": NaN}', "'temperature'"),
        (b'{"model": "tiny", "max_tokens": ' + b"9" * 5000 + b"}", "pars"),
        (b'{"model": "tiny", "prompt": "\\ud800"}', "'prompt"),
        (b'{"model": "tiny", "prompt": {"a": 1}}', "'prompt"),
        (b'{"model": "tiny", "prompt": []}', "'prompt"),
        (b'{"model": "tiny", "prompt": [[]]}', "'prompt"),
        (b'{"model": "tiny", "prompt": [true]}', "'prompt"),
        (b'{"model": "tiny", "prompt": ["a", 1]}', "'prompt"),
        (b'{"model": "tiny", "prompt": [4000]}', "token 4000 is not in the vocabulary of 330"),
        (b'{"model": "tiny", "n": "2"}', "'n'"),
        (b'{"model": "tiny", "n": 0}', "'n'"),
        (b'{"model": "tiny", "n": 5}', "at most 4 answers at once"),
        (b'{"model": "tiny", "prompt": ["a", "b", "c", "d"], "n": 2}', "at most 6 answers in all"),
        (b'{"model": "tiny", "stop": [' + b'"a",' * 16 + b'"b"]}', "'stop"),
        (b'{"model": "tiny", "stop": ""}', "'stop"),
        (b'{"model": "tiny", "best_of": 2}', "'best_of' is not supported"),
        (b'{"model": "tiny", "logit_bias": {"5": 1}}', "'logit_bias' is not supported"),
        (b'{"model": "tiny", "presence_penalty": 0.5}', "'presence_penalty' is not supported"),
        (b'{"model": "tiny", "top_k": 5}', "unknown parameter 'top_k'"),
        (b'{"prompt": "a"}', "'model' is required"),
    ],
)
def test_what_is_no_request_is_refused(site: Site, body: bytes, said: str) -> None:
    headers = {"Content-Type": "application/json"}

    answer = site.http.post("/v1/completions", content=body, headers=headers)

    assert answer.status_code == 400
    assert said in error_of(answer)["message"]


def test_conversations_in_no_order_are_refused(site: Site) -> None:
    def turn(role: str, **fields: Any) -> dict[str, Any]:
        return {"role": role, "content": "a", **fields}

    for messages, said in (
        ([], "'messages'"),
        ([turn("user"), turn("assistant")], "end with the user's"),
        ([turn("user"), turn("user")], "user and assistant in turn"),
        ([turn("system"), turn("system"), turn("user")], "user and assistant in turn"),
        ([turn("tool")], "'messages.0.role'"),
        ([turn("user", name="ann")], "'messages.0.name'"),
        ([turn("user") | {"content": None}], "'messages.0.content'"),
        ([turn("user") | {"content": [{"type": "image_url", "image_url": "x"}]}], "'messages.0"),
        ([turn("assistant") | {"content": ""}, turn("user")], ""),
    ):
        answer = site.post("/v1/chat/completions", model="tiny", messages=messages)
        assert answer.status_code == 400
        assert said in error_of(answer)["message"], messages


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"top_logprobs": 2}, "needs 'logprobs'"),
        ({"max_tokens": 2, "max_completion_tokens": 2}, "the older name"),
        (
            {"max_tokens": CONTEXT},
            rf"answer of up to {CONTEXT} it does not fit the context of {CONTEXT}",
        ),
        ({"max_tokens": 0}, "'max_tokens'"),
    ],
)
def test_parameters_that_do_not_go_together(site: Site, fields: dict[str, Any], said: str) -> None:
    messages = [{"role": "user", "content": "The fox"}]

    answer = site.post("/v1/chat/completions", model="tiny", messages=messages, **fields)

    assert answer.status_code == 400
    assert said in error_of(answer)["message"]


def test_a_prompt_that_fills_the_context_is_refused_with_numbers(site: Site) -> None:
    answer = site.post("/v1/completions", **ASKED | {"prompt": [5] * (CONTEXT - 3)})

    assert answer.status_code == 400
    said = error_of(answer)
    assert f"{CONTEXT - 3} tokens" in said["message"]
    assert f"context of {CONTEXT}" in said["message"]
    fits = site.post("/v1/completions", **ASKED | {"prompt": [5] * (CONTEXT - 4)})
    assert fits.status_code == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_read(site: Site) -> None:
    answer = site.post("/v1/completions", **ASKED | {"prompt": "a" * 100_001})
    assert answer.status_code == 413
    assert "100000 bytes" in error_of(answer)["message"]

    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 1000

    answer = site.http.post("/v1/completions", content=endless())  # no Content-Length
    assert answer.status_code == 413


def test_addresses_and_methods_that_are_not_there(site: Site) -> None:
    assert site.http.get("/").status_code == 404
    assert "there is no /v1/nothing here" in error_of(site.post("/v1/nothing"))["message"]
    answer = site.http.get("/v1/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert error_of(site.http.get("/v1/models/nobody"))["code"] == "model_not_found"


def test_special_tokens_in_a_text_are_spelled_out_and_the_chat_has_its_marks(
    site: Site, tiny: ServedPolicy
) -> None:
    end = tiny.formatter.tokenizer.eos_token

    answer = site.post("/v1/completions", **ASKED | {"prompt": end, "max_tokens": 0})

    assert answer.json()["usage"]["prompt_tokens"] > 5


def test_no_prompt_is_the_beginning_of_a_document(site: Site, tiny: ServedPolicy) -> None:
    bare = {"model": "tiny", "max_tokens": 5, "seed": 3}
    answers = [
        site.post("/v1/completions", **bare, **fields).json()
        for fields in ({}, {"prompt": ""}, {"prompt": [tiny.formatter.end]})
    ]

    assert len({answer["choices"][0]["text"] for answer in answers}) == 1
    assert answers[0]["usage"]["prompt_tokens"] == 1


# --- who asks ---


def test_other_sites_pages_get_nothing(site: Site) -> None:
    for headers in (
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = site.http.post("/v1/completions", json=ASKED, headers=headers)
        assert answer.status_code == 403, headers
        assert "answers to the names" in answer.text or "other sites" in answer.text
    fine = site.http.post("/v1/completions", json=ASKED, headers={"Host": "localhost:1"})
    assert fine.status_code == 200


def test_keys_are_asked_for_everywhere_but_at_the_health(tiny: ServedPolicy) -> None:
    keys = tuple(hashlib.sha256(key.encode()).digest() for key in (KEY, OTHER))
    with served([tiny], access=Access(keys)) as site:
        for headers in (
            {},
            {"Authorization": "Bearer"},
            {"Authorization": f"Bearer {KEY}x"},
            {"Authorization": f"Basic {KEY}"},
            {"Authorization": KEY},
            {"Authorization": "Bearer \xe9".encode("latin-1")},
        ):
            for method, path in (
                ("GET", "/v1/models"),
                ("POST", "/v1/completions"),
                ("GET", "/metrics"),
            ):
                answer = site.http.request(method, path, headers=headers)
                assert answer.status_code == 401, (headers, path)
                assert error_of(answer)["code"] == "invalid_api_key"
                assert answer.headers["www-authenticate"] == "Bearer"
        assert site.http.get("/health").status_code == 200
        for key in (KEY, OTHER):
            given = {"Authorization": f"Bearer {key}", "Host": "any.example"}
            assert site.http.post("/v1/completions", json=ASKED, headers=given).status_code == 200


def test_every_key_has_a_rate_of_its_own(tiny: ServedPolicy) -> None:
    keys = tuple(hashlib.sha256(key.encode()).digest() for key in (KEY, OTHER))
    with served([tiny], access=Access(keys, limit=RateLimit(2, 3600))) as site:

        def ask(key: str) -> httpx.Response:
            return site.http.post(
                "/v1/completions", json=ASKED, headers={"Authorization": f"Bearer {key}"}
            )

        assert [ask(KEY).status_code for _ in range(3)] == [200, 200, 429]
        assert ask(OTHER).status_code == 200
        refused = ask(KEY)
        assert error_of(refused)["code"] == "rate_limit_exceeded"
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        models = site.http.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"})
        assert models.status_code == 200, "looking costs nothing"


@pytest.mark.parametrize(
    ("behind_tls", "statuses"),
    [(True, [200, 429, 200, 429]), (False, [200, 429, 429, 429])],
    ids=["behind a proxy", "before everybody"],
)
def test_behind_our_proxy_every_address_has_a_rate_of_its_own(
    tiny: ServedPolicy, behind_tls: bool, statuses: list[int]
) -> None:
    access = Access(limit=RateLimit(1, 3600), behind_tls=behind_tls)
    with served([tiny], access=access) as site:

        def ask(said: str) -> int:
            headers = {"X-Forwarded-For": said}
            return site.http.post("/v1/completions", json=ASKED, headers=headers).status_code

        # The proxy's own word stands last; what stands before it anybody may have sent.
        made_up = ["192.0.2.1", "198.51.100.9, 192.0.2.1", "192.0.2.2", "192.0.2.2"]
        assert [ask(said) for said in made_up] == statuses


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no API key in it"),
        ("# a comment\n\n", "no API key in it"),
        (f"{KEY}\nshort\n", "key 2 is not 16 or more"),
        ("a key with spaces in it\n", "key 1 is not 16 or more"),
        ("\xe9" * 20 + "\n", "key 1 is not 16 or more"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=said):
        read_keys(path)


def test_keys_are_kept_as_digests(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# of Ann\n{KEY}\n\n  {OTHER}  \n")

    assert read_keys(path) == tuple(hashlib.sha256(k.encode()).digest() for k in (KEY, OTHER))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path / "nowhere")


# --- metrics and health ---


def test_the_metrics_move(site: Site) -> None:
    before = {
        name: site.metric(name, **labels)
        for name, labels in (
            ("requests_total", {"route": "/v1/completions", "status": "200"}),
            ("tokens_total", {"kind": "prompt"}),
            ("time_to_first_token_seconds_count", {}),
            ("decode_seconds_count", {}),
        )
    }
    used = site.post("/v1/completions", **ASKED | {"n": 2, "temperature": 0}).json()["usage"]

    def moved(name: str, **labels: str) -> float:
        return site.metric(name, **labels) - before.get(name, 0.0)

    assert moved("requests_total", route="/v1/completions", status="200") == 1
    assert moved("tokens_total", kind="prompt") == used["prompt_tokens"]
    assert moved("time_to_first_token_seconds_count") == 2
    assert moved("decode_seconds_count") >= used["completion_tokens"] / 2
    assert site.metric("queue", model="tiny") == site.metric("batch_rows", model="tiny") == 0
    counted = site.metric("requests_total", route="other", status="404")
    site.http.get("/any/address")
    assert site.metric("requests_total", route="other", status="404") == counted + 1


def test_health_says_how_much_there_is_to_do(site: Site) -> None:
    assert site.http.get("/health").json() == {
        "status": "ok",
        "models": [{"id": "tiny", "is_alive": True, "rows": 0, "waiting": 0}],
    }


def test_a_model_whose_thread_has_ended_is_told_of(tiny: ServedPolicy) -> None:
    with served([tiny]) as site:
        site.service.workers["tiny"].stop()

        answer = site.http.get("/health")

        assert answer.status_code == 503
        assert answer.json()["status"] == "failing"
        assert site.post("/v1/completions", **ASKED).status_code == 503


# --- readers ---


def request_of(asked: dict[str, Any]) -> bytes:
    """A request for completions as it goes over the wire."""
    body = json.dumps(asked).encode()
    lines = [
        "POST /v1/completions HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_a_reader_who_does_not_read_keeps_nobody_waiting(site: Site) -> None:
    """It has no place in the batch once its answer is drawn, read or not."""
    port = int(site.url.rpartition(":")[2])
    worker = site.worker("tiny")
    request = request_of(ASKED | {"stream": True, "max_tokens": 80, "n": 4})
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.settimeout(PATIENCE_S)
        slow.connect(("127.0.0.1", port))
        slow.sendall(request)
        eventually(lambda: worker.rows)
        eventually(lambda: not worker.rows)

        assert site.post("/v1/completions", **ASKED).status_code == 200
        received = b""
        while b"[DONE]" not in received:
            part = slow.recv(512)
            assert part, "the connection was closed"
            received += part
    ends = [line for line in received.split(b"\n") if b'"finish_reason":"' in line]
    assert len(ends) == 4, "it gets all of it in the end"


@pytest.mark.parametrize("streams", [False, True])
def test_whoever_hangs_up_is_written_no_more(site: Site, streams: bool) -> None:
    worker, port = site.worker("tiny"), int(site.url.rpartition(":")[2])
    request = request_of(ASKED | {"stream": streams, "max_tokens": 80, "temperature": 0})
    with held(worker) as allow:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as leaving:
            leaving.sendall(request)
            eventually(lambda: worker.rows == 1)
            if streams:
                allow(1)
                assert b"200 OK" in leaving.recv(1 << 16)
        job = next(iter(worker._live.values())).job
        eventually(lambda: job.is_cancelled)
        allow(1)
        eventually(lambda: worker.rows == 0)
    assert site.post("/v1/completions", **ASKED).status_code == 200
