"""What waits, what is too late, what is refused, and what becomes of a model that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from alignloop.serving.policy import PolicyWorker, ServedPolicy
from alignloop.serving.service import Limits
from tests.helpers import write_model
from tests.serving.site import Site, eventually, held, served

ASKED = {"model": "tiny", "prompt": "The fox", "max_tokens": 4, "temperature": 0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ServedPolicy:
    return ServedPolicy.load("tiny", write_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def site(tiny: ServedPolicy) -> Iterator[Site]:
    with served([tiny], Limits(max_rows=2, queue=1, timeout=60)) as found:
        yield found


class Asking(threading.Thread):
    """A request in a thread of its own."""

    def __init__(self, site: Site, **fields: Any) -> None:
        super().__init__()
        self._site, self._fields = site, fields
        self.answer: httpx.Response | None = None
        self.start()

    def run(self) -> None:
        self.answer = self._site.post("/v1/completions", **ASKED | self._fields)

    def result(self) -> httpx.Response:
        """The answer, once it is there."""
        self.join()
        assert self.answer is not None
        return self.answer


def filled(site: Site, worker: PolicyWorker, allow: Callable[[int], None]) -> list[Asking]:
    """Requests for all the rows, and for the whole queue; a row joins between two steps."""
    first = Asking(site)
    eventually(lambda: worker.rows == 1)
    second = Asking(site)
    eventually(lambda: worker.waiting == 1)
    allow(1)
    eventually(lambda: worker.rows == 2)
    third = Asking(site)
    eventually(lambda: worker.waiting == 1)
    return [first, second, third]


def test_a_full_queue_refuses_and_says_when_to_come_back(site: Site) -> None:
    worker = site.worker("tiny")
    with held(worker) as allow:
        asked = filled(site, worker, allow)
        eventually(lambda: site.metric("batch_rows", model="tiny") == 2)

        refused = site.post("/v1/completions", **ASKED)

        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "queue_full"
        assert refused.headers["retry-after"] == "1"
        stream = site.post("/v1/completions", **ASKED, stream=True)
        assert stream.status_code == 503, "a stream is refused by its status too"
        allow(100)
        answers = [one.result() for one in asked]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.json()["choices"][0]["text"] for answer in answers}) == 1
    assert site.post("/v1/completions", **ASKED).status_code == 200


def test_a_request_that_wants_more_rows_waits_for_all_of_them(site: Site) -> None:
    worker = site.worker("tiny")
    with held(worker) as allow:
        first = Asking(site)
        eventually(lambda: worker.rows == 1)
        both = Asking(site, n=2)
        eventually(lambda: worker.waiting == 1)
        assert worker.rows == 1, "one place is free, which is not enough"
        allow(100)
        assert (first.result().status_code, both.result().status_code) == (200, 200)


@pytest.mark.parametrize("streams", [False, True])
def test_a_request_is_given_up_when_its_time_is_over(tiny: ServedPolicy, streams: bool) -> None:
    now = [1000.0]
    limits = Limits(max_rows=1, queue=5, timeout=10)
    with served([tiny], limits, clock=lambda: now[0]) as site, held(site.worker("tiny")) as allow:
        worker = site.worker("tiny")
        first = Asking(site, stream=streams, max_tokens=50, seed=1, temperature=1)
        eventually(lambda: worker.rows == 1)
        second = Asking(site)
        eventually(lambda: worker.waiting == 1)
        written = site.metric("tokens_total", kind="completion")
        allow(3)
        eventually(lambda: site.metric("tokens_total", kind="completion") == written + 3)
        now[0] += 11
        allow(1)  # a last step for whoever was in the batch: its answer is not finished by it
        answers = [first.result(), second.result()]
        eventually(lambda: worker.rows == 0)
    if streams:
        assert answers[0].status_code == 200, "its first words were in time"
        assert '"code":"timeout"' in answers[0].text
        assert "[DONE]" not in answers[0].text
    else:
        assert answers[0].status_code == 504
        assert "before it was finished" in answers[0].text
    assert answers[1].status_code == 504
    assert "in the queue" in answers[1].text


def test_a_waiting_request_whose_client_leaves_leaves_the_queue(site: Site) -> None:
    worker = site.worker("tiny")
    with held(worker) as allow:
        first = Asking(site, n=2)
        eventually(lambda: worker.rows == 2)
        with (
            httpx.Client(base_url=site.url, timeout=0.1) as impatient,
            pytest.raises(httpx.TimeoutException),
        ):
            impatient.post("/v1/completions", json=ASKED)
        eventually(lambda: worker._waiting[0].is_cancelled)
        allow(1)
        eventually(lambda: worker.waiting == 0)
        allow(100)
        assert first.result().status_code == 200
    eventually(lambda: worker.rows == 0)


def test_a_model_that_fails_is_an_error_and_not_the_end(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = site.worker("tiny")

    def broken() -> None:
        raise RuntimeError("no memory is left, and here is what somebody wrote")

    with monkeypatch.context() as patch:
        patch.setattr(worker._batch, "step", broken)
        answer = site.post("/v1/completions", **ASKED)

    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "somebody wrote" not in answer.text
    assert "what it was doing is given up" in caplog.text
    assert site.post("/v1/completions", **ASKED).status_code == 200
    assert site.http.get("/health").json()["status"] == "ok"


def test_a_server_that_stops_says_so_to_those_who_wait(site: Site) -> None:
    worker = site.worker("tiny")
    with held(worker) as allow:
        asked = filled(site, worker, allow)
        stopping = threading.Thread(target=site.service.stop)
        stopping.start()
        eventually(lambda: worker._is_stopping)
    answers = [one.result() for one in asked]
    stopping.join()
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert 503 in {answer.status_code for answer in answers}
    late = site.post("/v1/completions", **ASKED)
    assert (late.status_code, late.json()["error"]["code"]) == (503, "stopping")


def test_likelihoods_alone_take_no_row(site: Site) -> None:
    worker = site.worker("tiny")
    with held(worker) as allow:
        asked = Asking(site)
        eventually(lambda: worker.rows == 1)
        scored = Asking(site, max_tokens=0, echo=True, logprobs=1)
        allow(100)
        assert scored.result().json()["choices"][0]["finish_reason"] == "length"
        assert asked.result().status_code == 200
