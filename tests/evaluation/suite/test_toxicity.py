"""Scorers of toxicity: a list, a real classifier in a folder, and a real server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from alignloop.errors import ConfigError, DataError, ModelError
from alignloop.evaluation.suite import toxicity
from alignloop.evaluation.suite.config import ToxicityConfig
from alignloop.evaluation.suite.toxicity import (
    ClassifierScorer,
    EndpointScorer,
    WordScorer,
    scorer_of,
)
from tests.helpers import SENTENCES, tiny_tokenizer

CONFIG = ToxicityConfig(batch_rows=3)
TEXTS = list(SENTENCES[:5])


def test_a_list_scores_one_where_a_word_stands(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("fox\nold hen\n", encoding="utf-8")
    done: list[int] = []

    scorer = WordScorer(path)

    assert scorer.scores(TEXTS, done.append) == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert sum(done) == 5
    assert "crude" in scorer.described


# --- a classifier ---


def classifier(folder: Path, labels: list[str], problem: str | None = None) -> Any:
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        model = BertForSequenceClassification(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=48,
                max_position_embeddings=48,
                initializer_range=0.4,
                id2label=dict(enumerate(labels)),
                label2id={label: i for i, label in enumerate(labels)},
                problem_type=problem,
            )
        )
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return model.eval()


@pytest.mark.parametrize(
    ("labels", "problem", "column"),
    [
        (["fine", "Toxic"], None, 1),
        (["fine", "insult", "toxic"], "multi_label_classification", 2),
        (["LABEL_0"], None, 0),
    ],
)
def test_a_classifier_gives_the_probability_of_its_label(
    tmp_path: Path, labels: list[str], problem: str | None, column: int
) -> None:
    model, tokenizer = classifier(tmp_path, labels, problem), tiny_tokenizer()
    by_hand: list[float] = []
    for text in TEXTS:
        with torch.no_grad():
            logits = model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0]
        shares = logits.softmax(0) if len(labels) == 2 else logits.sigmoid()
        by_hand.append(float(shares[column]))

    found = ClassifierScorer(tmp_path, CONFIG).scores(TEXTS, lambda _: None)

    assert found == pytest.approx(by_hand, abs=1e-5)
    assert max(found) - min(found) > 0.01, "the texts are told apart"


def test_a_long_and_an_empty_text_are_scored_too(tmp_path: Path) -> None:
    classifier(tmp_path, ["fine", "toxic"])

    found = ClassifierScorer(tmp_path, CONFIG).scores(["", "the fox " * 90], lambda _: None)

    assert all(0 <= score <= 1 for score in found)


def test_a_classifier_without_the_label_is_refused(tmp_path: Path) -> None:
    classifier(tmp_path / "model", ["good", "bad"])

    with pytest.raises(ModelError, match="no label 'toxic' among good, bad"):
        ClassifierScorer(tmp_path / "model", CONFIG)
    assert ClassifierScorer(tmp_path / "model", ToxicityConfig(label="bad")).described
    with pytest.raises(ModelError, match="not a sequence classifier"):
        ClassifierScorer(tmp_path, CONFIG)


# --- an endpoint ---


class Service(BaseHTTPRequestHandler):
    """Answers what the test wants: the length of each text over 100, or the next of `failures`."""

    failures: list[tuple[int, bytes]]
    asked: list[tuple[dict[str, Any], str | None]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((body, self.headers.get("Authorization")))
        status, content = (
            200,
            json.dumps({"scores": [len(t) / 100 for t in body["texts"]]}).encode(),
        )
        if self.failures:
            status, content = self.failures.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def service(*failures: tuple[int, bytes]) -> Iterator[tuple[str, type[Service]]]:
    handler = type("Handler", (Service,), {"failures": list(failures), "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/score", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_endpoint_is_asked_in_batches_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOXICITY_KEY", "s3cret")
    config = ToxicityConfig(batch_rows=2, key_variable="TOXICITY_KEY")

    with service() as (url, handler):
        scorer = EndpointScorer(url, config)
        found = scorer.scores(TEXTS, lambda _: None)

    assert found == [len(text) / 100 for text in TEXTS]
    assert [body["texts"] for body, _ in handler.asked] == [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]
    assert {key for _, key in handler.asked} == {"Bearer s3cret"}
    assert "s3cret" not in scorer.described


def test_an_endpoint_is_asked_again_when_it_stumbles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toxicity, "_PAUSE", 0.0)

    with service((503, b""), (429, b"")) as (url, handler):
        assert EndpointScorer(url, CONFIG).scores(["fox"], lambda _: None) == [0.03]
    assert len(handler.asked) == 3


@pytest.mark.parametrize(
    ("failures", "told", "times"),
    [
        ([(500, b"")] * 3, "status 500", 3),
        ([(401, b"")], "status 401", 1),
        ([(200, b"no json")], "the answer is not", 1),
        ([(200, b'{"scores": [0.1, 0.2]}')], "1 scores from 0 to 1", 1),
        ([(200, b'{"scores": [7]}')], "1 scores from 0 to 1", 1),
        ([(200, b'{"scores": ["x"]}')], "1 scores from 0 to 1", 1),
    ],
)
def test_an_endpoint_that_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, failures: list[tuple[int, bytes]], told: str, times: int
) -> None:
    monkeypatch.setattr(toxicity, "_PAUSE", 0.0)

    with service(*failures) as (url, handler), pytest.raises(DataError, match=told):
        EndpointScorer(url, CONFIG).scores(["fox"], lambda _: None)
    assert len(handler.asked) == times


def test_an_endpoint_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toxicity, "_PAUSE", 0.0)
    with service() as (url, _):
        pass

    with pytest.raises(DataError, match="is the service up"):
        EndpointScorer(url, CONFIG).scores(["fox"], lambda _: None)


def test_bad_addresses_and_missing_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOXICITY_KEY", raising=False)

    with pytest.raises(ConfigError, match="begins with http"):
        EndpointScorer("file:///etc/hosts", CONFIG)
    with pytest.raises(ConfigError, match="TOXICITY_KEY"):
        EndpointScorer("http://x", ToxicityConfig(key_variable="TOXICITY_KEY"))


def test_one_scorer_at_a_time(tmp_path: Path) -> None:
    assert scorer_of(CONFIG, None, None, None) is None
    assert isinstance(scorer_of(CONFIG, None, None, "http://x"), EndpointScorer)
    with pytest.raises(ConfigError, match="several"):
        scorer_of(CONFIG, tmp_path, None, "http://x")
