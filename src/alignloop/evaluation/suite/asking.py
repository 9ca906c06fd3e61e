"""One policy writes greedily or scores choices; what it has answered before comes from the cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from alignloop.data.batches import Forest, micro_batches
from alignloop.data.formatter import Formatter, encode_texts
from alignloop.errors import NumericsError
from alignloop.evaluation.cache import AnswerCache, AnswerKey
from alignloop.evaluation.suite.config import Format
from alignloop.evaluation.suite.prompting import Asked, Prompter
from alignloop.evaluation.tasks.task import Item, Output, Setting, Task
from alignloop.generation.continuous import ContinuousBatch, NewRow, RowSampling
from alignloop.models.loading import context_length, load_causal_lm, load_tokenizer
from alignloop.models.policy import forest_log_probs
from alignloop.models.scoring import document_nll
from alignloop.progress import progress

_GREEDY_SEED = 0
"""Nothing is drawn."""
_SCORING_TOKENS = 4096
"""Tokens of prompts and choices that go through the model together."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A prompt and what came of it."""

    asked: Asked
    output: Output


class Policy:
    """A policy that answers tasks."""

    def __init__(
        self, name: str, folder: Path, sha256: str, form: Format, cache: AnswerCache, rows: int
    ) -> None:
        """Load a policy.

        Args:
            sha256: of its artefact: part of every key of the cache.
            form: how it is asked.
            rows: answers that are written together.

        Raises:
            ModelError: it is no causal language model, or its tokenizer cannot be used.
        """
        self.name, self._sha256, self._cache, self._rows = name, sha256, cache, rows
        self._model = load_causal_lm(folder)
        self._formatter = Formatter.of(load_tokenizer(folder, may_pad_with_end=True))
        self._prompter = Prompter(self._formatter, form, context_length(self._model))

    def answers(
        self, task: Task, setting: Setting, examples: Sequence[Item], items: Sequence[Item]
    ) -> list[Answer]:
        """Every item's answer under a setting, in order.

        Raises:
            DataError: an item does not fit the context.
        """
        label = f"{self.name}: {task.name}, {setting.name}"
        if task.is_text:
            nothing = Asked("", [], 0, is_cut=False)
            return [Answer(nothing, output) for output in self._read(items, label)]
        asked = [
            self._prompter.prompt(
                setting,
                examples,
                item,
                task.separator,
                self._prompter.longest_choice(item) if item.choices else task.longest,
            )
            for item in items
        ]
        if items and items[0].choices:
            outputs = self._scored(asked, items, label)
        else:
            outputs = self._written(asked, task.longest, label, whole=task.whole)
        return [Answer(*pair) for pair in zip(asked, outputs, strict=True)]

    def _written(
        self, asked: Sequence[Asked], longest: int, label: str, *, whole: bool
    ) -> list[Output]:
        sampling = writing(longest, whole=whole)
        text_of = whole_text if whole else first_line
        keys = [AnswerKey(self._sha256, one.tokens, sampling, _GREEDY_SEED) for one in asked]

        def draw(rows: Sequence[int], advance: Callable[[int], object]) -> None:
            prompts = [asked[i].tokens for i in rows]
            found = greedy(
                self._model, prompts, longest, self._formatter, self._rows, advance, whole=whole
            )
            for i, tokens in zip(rows, found, strict=True):
                text = text_of(self._formatter, tokens)
                self._cache.put(keys[i], {"text": text, "tokens": len(tokens)})

        return [
            Output(text=str(found["text"])) for found in self._all(keys, draw, self._rows, label)
        ]

    def _scored(self, asked: Sequence[Asked], items: Sequence[Item], label: str) -> list[Output]:
        choices = [
            self._prompter.choices(one, item) for one, item in zip(asked, items, strict=True)
        ]
        keys = [
            AnswerKey(self._sha256, one.tokens, scoring() | {"choices": texts}, _GREEDY_SEED)
            for one, texts in zip(asked, choices, strict=True)
        ]

        def draw(rows: Sequence[int], advance: Callable[[int], object]) -> None:
            sizes = [len(asked[i].tokens) + sum(map(len, choices[i])) for i in rows]
            for group in micro_batches(sizes, _SCORING_TOKENS):
                chosen = [rows[i] for i in group]
                totals = log_probs(
                    self._model, [asked[i].tokens for i in chosen], [choices[i] for i in chosen]
                )
                for i, found in zip(chosen, totals, strict=True):
                    self._cache.put(keys[i], {"log_probs": found})
                advance(len(chosen))

        return [
            Output(log_probs=tuple(found["log_probs"]), tokens=tuple(map(len, texts)))
            for found, texts in zip(self._all(keys, draw, 512, label), choices, strict=True)
        ]

    def _read(self, items: Sequence[Item], label: str) -> list[Output]:
        """The log-probability of every document, its tokens counted."""
        documents = encode_texts(self._formatter.tokenizer, [item.query for item in items])
        keys = [AnswerKey(self._sha256, tokens, reading(), _GREEDY_SEED) for tokens in documents]

        def draw(rows: Sequence[int], advance: Callable[[int], object]) -> None:
            nats = document_nll(
                self._model, [documents[i] for i in rows], start=self._prompter.start
            )
            for i, found in zip(rows, nats, strict=True):
                self._cache.put(keys[i], {"log_probs": [-found]})
            advance(len(rows))

        return [
            Output(log_probs=tuple(found["log_probs"]), tokens=(len(tokens),))
            for found, tokens in zip(self._all(keys, draw, 16, label), documents, strict=True)
        ]

    def _all(
        self,
        keys: Sequence[AnswerKey],
        draw: Callable[[Sequence[int], Callable[[int], object]], None],
        at_once: int,
        label: str,
    ) -> list[dict[str, Any]]:
        """What the cache has of each key, once `draw` has put what it lacks; equal keys are drawn once."""
        found = [self._cache.get(key) for key in keys]
        first: dict[str, int] = {}
        for i, (key, answer) in enumerate(zip(keys, found, strict=True)):
            if answer is None:
                first.setdefault(key.digest(), i)
        # Prompts of like length together; kept after each block, so that a stop costs one block.
        missing = sorted(first.values(), key=lambda i: (len(keys[i].prompt), i))
        with progress(len(missing), label, "answer") as bar:
            for at in range(0, len(missing), at_once):
                draw(missing[at : at + at_once], bar.update)
        answers: list[dict[str, Any]] = []
        for key, answer in zip(keys, found, strict=True):
            kept = self._cache.get(key) if answer is None else answer
            assert kept is not None, "what was drawn was put"
            answers.append(kept)
        return answers


def writing(longest: int, *, whole: bool = False) -> dict[str, Any]:
    """How answers are written, as it is recorded."""
    return {
        "temperature": 0,
        "max_new_tokens": longest,
        "cut": "nowhere" if whole else "first newline",
        "precision": "float32",
    }


def scoring() -> dict[str, Any]:
    """How choices are scored, as it is recorded."""
    return {"temperature": 1, "scored": "log-probability of each choice", "precision": "float32"}


def reading() -> dict[str, Any]:
    """How documents are read, as it is recorded."""
    return {
        "temperature": 1,
        "scored": "log-probability of every token of the text, in windows that overlap by half",
        "precision": "float32",
    }


def first_line(formatter: Formatter, tokens: Sequence[int]) -> str:
    """The text of drawn tokens up to the first newline, without the end token and outer white space."""
    return _decoded(formatter, tokens).partition("\n")[0].strip()


def whole_text(formatter: Formatter, tokens: Sequence[int]) -> str:
    """The text of drawn tokens, without the end token and outer white space."""
    return _decoded(formatter, tokens).strip()


def _decoded(formatter: Formatter, tokens: Sequence[int]) -> str:
    body = [token for token in tokens if token != formatter.end]
    return str(formatter.tokenizer.decode(body, skip_special_tokens=False))


@torch.no_grad()
def log_probs(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    choices: Sequence[Sequence[Sequence[int]]],
) -> list[list[float]]:
    """Total log-probability in nats of each choice behind its prompt, at temperature 1; prompts are read once.

    Raises:
        NumericsError: one is not finite.
    """
    totals = forest_log_probs(model, Forest.of(prompts, choices)).double().tolist()
    if any(total != total or total == float("-inf") for total in totals):
        raise NumericsError("a choice's log-probability is not finite; are the weights sound?")
    found: list[list[float]] = []
    at = 0
    for group in choices:
        found.append(totals[at : at + len(group)])
        at += len(group)
    return found


def greedy(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    longest: int,
    formatter: Formatter,
    rows: int,
    advance: Callable[[int], object] = lambda _: None,
    *,
    whole: bool = False,
) -> list[list[int]]:
    """The likeliest token at every step (temperature 0), up to the end token, a newline, or the longest answer.

    Args:
        rows: answers that are written together.
        advance: called with the number of answers that ended.
        whole: a newline does not end an answer.

    Raises:
        NumericsError: a logit is not finite.
    """
    has_newline: dict[int, bool] = {}

    def ends(token: int) -> bool:
        if whole:
            return token == formatter.end
        if token not in has_newline:
            has_newline[token] = "\n" in formatter.tokenizer.decode([token])
        return token == formatter.end or has_newline[token]

    answers: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    batch = ContinuousBatch(model)
    sampling = RowSampling(longest, _GREEDY_SEED, temperature=0.0, top_log_probs=0)
    for at in range(0, len(order), rows):
        batch.admit([NewRow(i, tuple(prompts[i]), sampling) for i in order[at : at + rows]])
        while len(batch):
            ended: list[int] = []
            for i, drawn in batch.step().items():
                if drawn.log_prob is None or not math.isfinite(drawn.log_prob):
                    raise NumericsError("a logit is not finite; are the weights sound?")
                answers[i].append(drawn.token)
                if ends(drawn.token) or len(answers[i]) == longest:
                    ended.append(i)
            batch.drop(ended)
        advance(len(order[at : at + rows]))
    return answers
