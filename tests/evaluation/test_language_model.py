"""Held-out text: nats and tokens by title, and bits per byte as a byte-weighted mean over sources."""

from __future__ import annotations

import gzip
import math

import pytest
import torch

from alignloop.data.formatter import encode_plain
from alignloop.data.records import Text
from alignloop.evaluation.language_model import bits_per_byte, loss_by_title
from tests.helpers import SENTENCES, tiny_model, tiny_tokenizer


def nats_of(text: str) -> tuple[float, int]:
    """One forward pass over the end token and the text."""
    tokenizer = tiny_tokenizer()
    tokens = encode_plain(tokenizer, text)
    with torch.no_grad():
        logits = tiny_model()(torch.tensor([[tokenizer.eos_token_id, *tokens]])).logits[0]
    log_probs = torch.log_softmax(logits.double(), dim=-1)
    return -sum(float(log_probs[at, token]) for at, token in enumerate(tokens)), len(tokens)


def test_losses_add_up_within_a_title_and_a_text_without_one_stands_alone() -> None:
    texts = [
        Text(id="a", text=SENTENCES[0], group="one"),
        Text(id="b", text=SENTENCES[1] + " and more", group="one"),
        Text(id="c", text=SENTENCES[2]),
        Text(id="d", text=SENTENCES[3]),
        Text(id="empty", text=""),
    ]

    limit = len(SENTENCES[1])
    found = loss_by_title(tiny_model(), tiny_tokenizer(), texts, limit)

    first, second = nats_of(SENTENCES[0][:limit]), nats_of(SENTENCES[1])
    assert found.keys() == {"one", "c", "d"}
    assert found["one"] == (pytest.approx(first[0] + second[0], rel=1e-5), first[1] + second[1])
    alone = nats_of(SENTENCES[2][:limit])
    assert found["c"] == (pytest.approx(alone[0], rel=1e-5), alone[1])


def test_bits_per_byte_weigh_sources_by_their_bytes() -> None:
    train = [Text(id=str(i), text=sentence) for i, sentence in enumerate(SENTENCES[4:])]
    held_out = [
        Text(id="a", text=SENTENCES[0], source="x"),
        Text(id="b", text=SENTENCES[1] + " " + SENTENCES[2], source="y"),
    ]

    found = bits_per_byte(tiny_model(), tiny_tokenizer(), train, held_out)

    parts = found["by_source"]
    assert parts.keys() == {"x", "y"}
    assert parts["x"]["bytes"] == len(SENTENCES[0].encode())
    assert parts["x"]["model"] == pytest.approx(
        nats_of(SENTENCES[0])[0] / math.log(2) / parts["x"]["bytes"], rel=1e-5
    )
    assert (
        parts["x"]["gzip"] == 8 * len(gzip.compress(SENTENCES[0].encode(), 9)) / parts["x"]["bytes"]
    )
    for name in ("model", "five_gram"):
        whole = sum(part[name] * part["bytes"] for part in parts.values())
        assert found[name] == pytest.approx(whole / found["bytes"], rel=1e-9)
