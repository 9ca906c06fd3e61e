"""Who says how toxic a text is: a list of words, a classifier on this machine, or an endpoint."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from alignloop.errors import ConfigError, DataError, ModelError
from alignloop.evaluation.metrics.wordlist import WordList
from alignloop.evaluation.suite.config import ToxicityConfig

_TRIES = 3
_PAUSE = 1.0
"""Seconds before the second try; twice that before the third."""


class Scorer(Protocol):
    """Scores texts from 0 (not at all) to 1."""

    described: str
    """Who scores, and how much it can be trusted; for the report."""

    def scores(self, texts: Sequence[str], advance: Callable[[int], object]) -> list[float]:
        """A score for each text, in order; `advance` is called with the number of texts done."""
        ...


class WordScorer:
    """1 where a text contains a word of the user's list."""

    def __init__(self, path: Path) -> None:
        """Read the list.

        Raises:
            DataError: it cannot be used.
        """
        self._words = WordList.read(path)
        self.described = (
            f"a list of {len(self._words)} words and phrases: 1 where the text contains one, else 0; crude, since it "
            "understands nothing"
        )

    def scores(self, texts: Sequence[str], advance: Callable[[int], object]) -> list[float]:
        """See `Scorer`."""
        advance(len(texts))
        return [self._words.score(text) for text in texts]


class ClassifierScorer:
    """A Hugging Face sequence classifier in a local folder: the probability of one of its labels."""

    def __init__(self, folder: Path, config: ToxicityConfig) -> None:
        """Load the classifier.

        Raises:
            ModelError: it is none, or has no such label.
        """
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            self._model: Any = AutoModelForSequenceClassification.from_pretrained(
                str(folder), local_files_only=True
            ).eval()
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(f"{folder}: not a sequence classifier ({first})") from None
        labels = {int(k): str(v) for k, v in self._model.config.id2label.items()}
        if len(labels) == 1:
            [self._column] = labels
        else:
            found = [k for k, v in labels.items() if v.lower() == config.label.lower()]
            if len(found) != 1:
                raise ModelError(
                    f"{folder}: no label '{config.label}' among {', '.join(labels.values())}; set toxicity.label"
                )
            self._column = found[0]
        kind = self._model.config.problem_type
        self._is_single = len(labels) > 1 and kind != "multi_label_classification"
        self._rows, self._torch = config.batch_rows, torch
        how = "softmax over its labels" if self._is_single else "sigmoid"
        self.described = (
            f"classifier '{folder.name}', probability of '{labels[self._column]}' ({how})"
        )

    def scores(self, texts: Sequence[str], advance: Callable[[int], object]) -> list[float]:
        """See `Scorer`; a text longer than the classifier reads is cut."""
        torch, found = self._torch, [0.0] * len(texts)
        limit = getattr(self._model.config, "max_position_embeddings", None)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        with torch.no_grad():
            for at in range(0, len(order), self._rows):
                rows = order[at : at + self._rows]
                inputs = self._tokenizer(
                    [texts[i] or " " for i in rows],
                    padding=True,
                    truncation=limit is not None,
                    max_length=limit,
                    return_tensors="pt",
                )
                logits = self._model(**inputs).logits.float()
                shares = logits.softmax(dim=1) if self._is_single else logits.sigmoid()
                for i, share in zip(rows, shares[:, self._column].tolist(), strict=True):
                    found[i] = share
                advance(len(rows))
        return found


class EndpointScorer:
    """A service that takes {"texts": [...]} by POST and answers {"scores": [...]}, each from 0 to 1."""

    def __init__(self, url: str, config: ToxicityConfig) -> None:
        """Prepare to ask a service.

        Raises:
            ConfigError: the URL is not http or https, or the variable with the key is not set.
        """
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{url}: an endpoint's URL begins with http:// or https://")
        self._url, self._config = url, config
        self._headers = {"Content-Type": "application/json"}
        if config.key_variable is not None:
            key = os.environ.get(config.key_variable)
            if not key:
                raise ConfigError(
                    f"the environment variable {config.key_variable}, which holds the endpoint's key, is not set"
                )
            self._headers["Authorization"] = f"Bearer {key}"
        self.described = f"the endpoint {url}"

    def scores(self, texts: Sequence[str], advance: Callable[[int], object]) -> list[float]:
        """See `Scorer`.

        Raises:
            DataError: the service cannot be reached, or answers something else.
        """
        found: list[float] = []
        for at in range(0, len(texts), self._config.batch_rows):
            some = list(texts[at : at + self._config.batch_rows])
            found += self._asked(some)
            advance(len(some))
        return found

    def _asked(self, texts: list[str]) -> list[float]:
        body = json.dumps({"texts": texts}).encode("utf-8")
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        problem = ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE * attempt)
            try:
                with urllib.request.urlopen(request, timeout=self._config.timeout) as answer:
                    return self._read(answer.read(), len(texts))
            except urllib.error.HTTPError as error:
                problem = f"status {error.code}"
                error.close()
                if error.code < 500 and error.code != 429:
                    break  # the same request would be refused again
            except (OSError, urllib.error.URLError) as error:
                problem = str(getattr(error, "reason", error))
        raise DataError(f"{self._url}: no toxicity scores ({problem}); is the service up?")

    def _read(self, content: bytes, count: int) -> list[float]:
        try:
            scores = json.loads(content)["scores"]
        except (ValueError, KeyError, TypeError):
            raise DataError(f'{self._url}: the answer is not {{"scores": [...]}}') from None
        values = cast(list[Any], scores) if isinstance(scores, list) else []
        are_numbers = all(isinstance(v, int | float) and 0 <= v <= 1 for v in values)
        if len(values) != count or not are_numbers:
            raise DataError(f"{self._url}: {count} scores from 0 to 1 are needed, one per text")
        return [float(value) for value in values]


def scorer_of(
    config: ToxicityConfig, words: Path | None, classifier: Path | None, url: str | None
) -> Scorer | None:
    """The scorer that the user gave, if any.

    Raises:
        ConfigError: there are several.
        AlignloopError: it cannot be used.
    """
    if sum(one is not None for one in (words, classifier, url)) > 1:
        raise ConfigError("several toxicity scorers are given; one scores a run")
    if words is not None:
        return WordScorer(words)
    if classifier is not None:
        return ClassifierScorer(classifier, config)
    return None if url is None else EndpointScorer(url, config)
