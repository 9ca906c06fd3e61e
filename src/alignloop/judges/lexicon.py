"""What the judges know about words: how common each is, and how they follow one another.

All of it is counted on training titles only, and saved as one file, so that no judge needs the corpus.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from alignloop.data import text as prose
from alignloop.errors import DataError
from alignloop.files import write_bytes
from alignloop.judges.ngram import NgramModel, train
from alignloop.progress import each

Sentences = Sequence[Sequence[str]]
"""Sentences as lower-case words."""

_FORMAT = "alignloop-lexicon-1"
_ORDER = 3
_PASSAGE = 120
"""Words per passage: the unit in which a word is counted as present or absent."""
_SAMPLE = 3
"""Sentences per sample when the fluency of people is measured: the size of an ordinary response."""
_HELD_OUT = 8
"""One text in so many is kept from the language model while the fluency of people is measured on it."""
WORD = re.compile(r"[A-Za-z]+(?:['\u2019-][A-Za-z]+)*")
_SUFFIXES = ("ing", "ed", "es", "ly", "s")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WordOrder:
    """An n-gram model, and the frequencies of the same words without their order."""

    model: NgramModel
    counts: Mapping[str, int]
    """Word -> how often it was seen; words seen once are the unknown word and are left out."""
    unknown: int
    """How many words were seen once (at least 1)."""
    sentences: int
    """How many sentences were seen."""
    total: int
    """Words and sentence ends together."""

    @classmethod
    def learn(cls, sentences: Sentences) -> WordOrder:
        """Count sentences, none of them empty."""
        every = Counter(word for sentence in sentences for word in sentence)
        counts = {word: every[word] for word in sorted(every) if every[word] > 1}
        total = every.total() + len(sentences)
        model = train(sentences, _ORDER, unknown_below=2)
        return cls(model, counts, max(len(every) - len(counts), 1), len(sentences), total)

    def fluency(self, sentences: Sentences) -> float:
        """How much likelier the words are in this order than in any order, in nats per word.

        The n-gram model's log-probability less that of the words by their frequency alone ("SLOR" in the
        literature on acceptability): rare words cost nothing, common words gain nothing. -inf without words.
        """
        sentences = [sentence for sentence in sentences if sentence]
        if not sentences:
            return -math.inf
        size = sum(len(sentence) + 1 for sentence in sentences)
        ordered = sum(self.model.log_prob(sentence) for sentence in sentences)
        alone = sum(
            math.log(self.counts.get(word, self.unknown))
            for sentence in sentences
            for word in sentence
        )
        alone += len(sentences) * math.log(self.sentences) - size * math.log(self.total)
        return (ordered - alone) / size


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Lexicon:
    """Word statistics; make one with `from_texts` or `load`."""

    passages: int
    """How many passages of about 120 words were counted."""
    passages_with: Mapping[str, int]
    """Stem -> number of passages that use it written small (so names, which are not, are rare words)."""
    word_order: WordOrder
    """How words follow one another."""
    human_fluency: tuple[float, float]
    """5th percentile and median of `WordOrder.fluency` over human text that the model had not seen."""

    def rarity(self, stem: str) -> float:
        """Inverse document frequency in nats, log((passages + 1) / (passages with it + 1/2))."""
        return math.log((self.passages + 1) / (self.passages_with.get(stem, 0) + 0.5))

    def is_ordinary(self, word: str) -> bool:
        """Whether people write the word small, in this or a related form; others are names."""
        return stem_of(word) in self.passages_with

    def knows(self, word: str) -> bool:
        """Whether a word is in the training titles, in this or a related form."""
        return word.lower() in self.word_order.counts or self.is_ordinary(word)

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Lexicon:
        """Count training texts (stories or long stretches of one, each a string).

        Raises:
            DataError: there are no words in them.
        """
        texts = list(texts)
        stories = [
            [found for s in prose.sentences(text) if (found := prose.words(s))]
            for text in each(texts, "sentences", "text")
        ]
        sentences = [sentence for story in stories for sentence in story]
        if not sentences:
            raise DataError("a lexicon needs at least one text with words in it")
        passages, passages_with = _passages(texts)
        return cls(
            passages, passages_with, WordOrder.learn(sentences), _human_fluency(texts, stories)
        )

    def save(self, path: Path) -> None:
        """Write one gzipped JSON file, the same bytes for the same lexicon."""
        value = {
            "format": _FORMAT,
            "passages": self.passages,
            "passages_with": dict(self.passages_with),
            "counts": dict(self.word_order.counts),
            "unknown": self.word_order.unknown,
            "sentences": self.word_order.sentences,
            "total": self.word_order.total,
            "model": base64.b64encode(self.word_order.model.to_bytes()).decode("ascii"),
            "human_fluency": self.human_fluency,
        }
        write_bytes(
            path, gzip.compress(json.dumps(value).encode("ascii"), compresslevel=6, mtime=0)
        )

    @classmethod
    def load(cls, path: Path) -> Lexicon:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing, damaged, or not a lexicon of this version.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such file; a lexicon is needed")
        try:
            value: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
            if value["format"] != _FORMAT:
                raise ValueError("another version")
            model = NgramModel.from_bytes(base64.b64decode(value["model"], validate=True))
            order = WordOrder(
                model, value["counts"], value["unknown"], value["sentences"], value["total"]
            )
            low, middle = value["human_fluency"]
            return cls(value["passages"], value["passages_with"], order, (low, middle))
        except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, DataError) as error:
            raise DataError(
                f"{path}: not a lexicon of this version, or a damaged one ({error})"
            ) from None


@lru_cache(maxsize=65536)
def stem_of(word: str) -> str:
    """A rough stem in lower case: enough to see that `wolf's` and `wolves` are about a wolf."""
    word = word.lower().replace("\u2019", "'").split("'")[0]
    if word.endswith("ies") and len(word) > 5:
        return word[:-3] + "y"
    if word.endswith("ves") and len(word) > 5:
        return word[:-3] + "f"
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not word.endswith("ss"):
            word = word[: -len(suffix)]
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def _passages(texts: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Number of passages, and for each stem that is written small the number of passages with it."""
    total = 0
    found: Counter[str] = Counter()
    for text in each(texts, "passages", "text"):
        written = WORD.findall(text)
        for start in range(0, len(written), _PASSAGE):
            total += 1
            found.update(
                {stem_of(word) for word in written[start : start + _PASSAGE] if word[0].islower()}
            )
    return total, {stem: found[stem] for stem in sorted(found)}


def _human_fluency(texts: Sequence[str], stories: Sequence[Sentences]) -> tuple[float, float]:
    """5th percentile and median of the fluency of samples from texts that were kept from the model."""
    is_kept = [hashlib.sha256(text.encode()).digest()[0] % _HELD_OUT == 0 for text in texts]
    kept = [story for story, held in zip(stories, is_kept, strict=True) if held and story]
    learned = [story for story, held in zip(stories, is_kept, strict=True) if not held and story]
    if (
        not kept or not learned
    ):  # a handful of texts: measured on what the model saw, so somewhat too high
        kept = learned = [story for story in stories if story]
    order = WordOrder.learn([sentence for story in learned for sentence in story])
    values = [
        order.fluency(story[start : start + _SAMPLE])
        for story in kept
        for start in range(0, len(story), _SAMPLE)
    ]
    low, middle = np.quantile(np.array(values), [0.05, 0.5])
    return float(min(low, middle - 0.1)), float(middle)  # apart, however few the texts
