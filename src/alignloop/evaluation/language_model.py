"""How well models predict held-out text: loss by title, and bits per byte beside a 5-gram model and gzip."""

from __future__ import annotations

import gzip
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from alignloop.data.formatter import encode_texts
from alignloop.data.records import Text
from alignloop.judges import ngram
from alignloop.models.scoring import document_nll
from alignloop.progress import progress


def loss_by_title(
    model: PreTrainedModel, tokenizer: Any, texts: Sequence[Text], characters: int
) -> dict[str, tuple[float, int]]:
    """Group of titles -> (nats, tokens) over the first `characters` of each text; one without a group is its own."""
    documents = encode_texts(tokenizer, [text.text[:characters] for text in texts])
    nats = document_nll(model, documents, start=int(tokenizer.eos_token_id))
    totals: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for text, document, loss in zip(texts, documents, nats, strict=True):
        if not document:  # nothing to predict
            continue
        group = text.group or text.id
        before = totals[group]
        totals[group] = (before[0] + loss, before[1] + len(document))
    return dict(totals)


def bits_per_byte(
    model: PreTrainedModel, tokenizer: Any, train: Sequence[Text], held_out: Sequence[Text]
) -> dict[str, Any]:
    """Bits per byte of held-out text: the model, a Kneser-Ney 5-gram over the same tokens, and gzip.

    Returns:
        {"model", "five_gram", "gzip", "bytes", "by_source": {source: the same}}, byte-weighted.
    """
    start = int(tokenizer.eos_token_id)
    documents = encode_texts(tokenizer, [text.text for text in held_out])
    with progress(sum(map(len, documents)) // 128, "held-out titles", "window") as bar:
        nats = document_nll(model, documents, start=start, advance=bar.update)
    grams = ngram.train(
        encode_texts(tokenizer, [text.text for text in train]),
        order=5,
        vocabulary=range(len(tokenizer)),
    )
    sources: dict[str, list[int]] = defaultdict(list)
    for number, text in enumerate(held_out):
        sources[text.source].append(number)

    def measure(chosen: Sequence[int]) -> dict[str, float]:
        size = sum(len(held_out[i].text.encode()) for i in chosen)
        joined = "\n\n".join(held_out[i].text for i in chosen).encode()
        return {
            "model": math.fsum(nats[i] for i in chosen) / math.log(2) / size,
            "five_gram": math.fsum(grams.bits(documents[i], ends=False) for i in chosen) / size,
            "gzip": 8 * len(gzip.compress(joined, compresslevel=9, mtime=0)) / size,
            "bytes": size,
        }

    return {
        **measure(range(len(held_out))),
        "by_source": {source: measure(chosen) for source, chosen in sorted(sources.items())},
    }
