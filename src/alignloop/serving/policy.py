"""A policy that is served: its folder read, its prompts turned into tokens, and the thread that writes its answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from alignloop.data.formatter import Formatter, encode_plain
from alignloop.data.records import Prompt
from alignloop.errors import AlignloopError
from alignloop.generation.continuous import ContinuousBatch, Drawn, NewRow, RowSampling
from alignloop.generation.likelihoods import TokenLikelihood, token_likelihoods
from alignloop.models.loading import (
    check_tokenizer,
    context_length,
    load_causal_lm,
    load_tokenizer,
)
from alignloop.runs.artifact import open_artifact
from alignloop.serving.metrics import ModelMetrics
from alignloop.serving.problems import ApiProblem
from alignloop.serving.text import AnswerText, Piece, TokenNames
from alignloop.serving.worker import Job, Worker, too_late

_PROMPT_TOKENS = 2048
"""Tokens of prompts that are read between two steps, so that those who are being answered do not wait for long."""


@dataclass(frozen=True, slots=True)
class ServedPolicy:
    """A policy and its tokenizer."""

    name: str
    sha256: str
    """Of its artefact."""
    model: PreTrainedModel
    formatter: Formatter
    context: int
    reader: Tokenizer
    """A copy of the tokenizer, to decode with: the thread that decodes shares nothing with those that encode."""
    names: TokenNames
    beginning: tuple[int, ...]
    """What the tokenizer writes before every text; the end token of the one before, where that is nothing."""
    has_beginning: bool
    """Whether the tokenizer itself writes it."""
    remembers: bool
    """Whether it reads the turns before the last."""
    lock: threading.Lock
    """Of the tokenizer, which one thread may use at a time."""

    @classmethod
    def load(cls, name: str, path: Path, *, remembers: bool = True) -> ServedPolicy:
        """Open a `policy` artefact, its run folder, or a Hugging Face causal LM folder.

        Raises:
            ArtifactError: there is none.
            ModelError: the model or its tokenizer cannot be used.
        """
        artifact = open_artifact(path, "policy")
        tokenizer = load_tokenizer(artifact.path, may_pad_with_end=True)
        model = load_causal_lm(artifact.path)
        check_tokenizer(artifact.path, model, tokenizer)
        formatter = Formatter.of(tokenizer)
        reader = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        beginning = _written_before(tokenizer)
        return cls(
            name,
            artifact.sha256,
            model,
            formatter,
            context_length(model),
            reader,
            TokenNames(reader),
            beginning or (formatter.end,),
            bool(beginning),
            remembers,
            threading.Lock(),
        )

    def chat_tokens(self, messages: Sequence[tuple[str, str]]) -> tuple[int, ...]:
        """A conversation that ends with the user's message, ready for an answer.

        Args:
            messages: (role, text); `developer` is taken as `system`.

        Raises:
            ApiProblem: 400, it is no such conversation, or the chat template refuses it.
        """
        prompt = conversation(messages if self.remembers else messages[-1:])
        try:
            with self.lock:
                return tuple(self.formatter.prompt(prompt))
        except AlignloopError as error:
            raise ApiProblem(400, str(error), parameter="messages") from None

    def text_tokens(self, text: str) -> tuple[int, ...]:
        """A text to be continued; what looks like a special token in it is spelled out."""
        with self.lock:
            tokens = tuple(encode_plain(self.formatter.tokenizer, text))
        return (*self.beginning, *tokens) if self.has_beginning or not tokens else tokens

    def check_tokens(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Tokens that somebody sent.

        Raises:
            ApiProblem: 400, one of them is none of this tokenizer's.
        """
        size = len(self.formatter.tokenizer)
        if wrong := [token for token in tokens if not 0 <= token < size]:
            raise ApiProblem(
                400, f"token {wrong[0]} is not in the vocabulary of {size}", parameter="prompt"
            )
        return tuple(tokens) or self.beginning

    def room(self, prompt: Sequence[int], wanted: int | None, parameter: str) -> int:
        """How many tokens an answer may have: as many as are wanted, or as fit.

        Raises:
            ApiProblem: 400, they do not fit the context.
        """
        left = self.context - len(prompt)
        if left < (1 if wanted is None else wanted):
            answer = "an answer" if wanted is None else f"an answer of up to {wanted}"
            raise ApiProblem(
                400,
                f"the prompt has {len(prompt)} tokens, and with {answer} it does not fit the context of {self.context}",
                parameter=parameter,
                code="context_length_exceeded",
            )
        return left if wanted is None else wanted


@dataclass(eq=False, slots=True)
class AnswerJob(Job):
    """A prompt, and the answers that are wanted to it."""

    prompt: tuple[int, ...]
    rows: tuple[RowSampling, ...]
    """One per answer; none where only the prompt's likelihood is asked for."""
    stops: tuple[str, ...]
    strips: bool
    """Whether white space at the ends of an answer is left out."""
    top_of_prompt: int | None
    """How many of the likeliest tokens to tell at each token of the prompt; None tells nothing of the prompt."""


@dataclass(frozen=True, slots=True)
class PromptRead:
    """How likely the model finds the prompt's tokens, from the second on."""

    likelihoods: list[TokenLikelihood]


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of one answer."""

    row: int
    """Which of the answers to the prompt."""
    piece: Piece
    finish: str | None
    """`stop` or `length` with the last piece."""
    tokens: int
    """That were drawn so far, the end token among them."""


@dataclass(slots=True)
class _Live:
    """An answer that is being written."""

    job: AnswerJob
    row: int
    text: AnswerText
    limit: int
    count: int = 0


class PolicyWorker(Worker):
    """Writes answers: one running batch, which every waiting prompt joins as soon as it has room."""

    def __init__(
        self,
        policy: ServedPolicy,
        *,
        max_rows: int,
        queue: int,
        clock: Callable[[], float],
        metrics: ModelMetrics,
    ) -> None:
        """A worker for a policy.

        Args:
            max_rows: answers that are written together; the keys and values of each are held in memory.
        """
        super().__init__(policy.name, queue, clock)
        self.policy, self.max_rows = policy, max_rows
        self._metrics = metrics
        self._batch = ContinuousBatch(policy.model)
        self._is_broken = False
        self._live: dict[int, _Live] = {}
        self._taken: list[AnswerJob] = []
        self._next_key = 0

    @property
    def free(self) -> int:
        """Rows that are free."""
        return self.max_rows - len(self._live)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is being written."""
        return bool(self._live)

    @property
    def rows(self) -> int:
        """Answers that are being written."""
        return len(self._live)

    def work(self) -> None:
        """Drop who left, admit who fits, draw one token for everybody."""
        now = self.clock()
        late = {live.job for live in self._live.values() if live.job.deadline <= now}
        self._drop(
            key for key, live in self._live.items() if live.job.is_cancelled or live.job in late
        )
        for job in late:
            if not job.is_cancelled:
                self.tell(job, too_late("before it was finished"))
        self._admit()
        self._metrics.load(rows=len(self._live), waiting=self.waiting)
        if self._live:
            self._step()
            self._metrics.stepped(self.clock() - now)
        if not self._live:
            self._metrics.load(rows=0, waiting=self.waiting)

    def give_up(self) -> list[Job]:
        """Forget every answer; whoever comes next starts a new batch."""
        jobs = {*self._taken, *(live.job for live in self._live.values())}
        self._taken, self._live, self._is_broken = [], {}, True
        return [*jobs]

    def _admit(self) -> None:
        room, tokens = self.free, 0

        def fits(job: Job) -> bool:
            nonlocal room, tokens
            assert isinstance(job, AnswerJob)
            is_first = tokens == 0
            if job.size > room or not (is_first or tokens + len(job.prompt) <= _PROMPT_TOKENS):
                return False
            if job.size and self._live and not self._batch.can_join:
                return False
            room, tokens = room - job.size, tokens + len(job.prompt)
            return True

        self._taken = [job for job in self.take(fits) if isinstance(job, AnswerJob)]
        if self._is_broken and self._taken:
            self._batch, self._is_broken = ContinuousBatch(self.policy.model), False
        rows: list[NewRow] = []
        for job in self._taken:
            self._metrics.read(len(job.prompt))
            if job.top_of_prompt is not None:
                found = token_likelihoods(self.policy.model, job.prompt, job.top_of_prompt)
                self.tell(job, PromptRead(found))
            for number, sampling in enumerate(job.rows):
                text = AnswerText(self.policy.reader, job.stops, strips=job.strips)
                self._live[self._next_key] = _Live(job, number, text, sampling.max_new_tokens)
                rows.append(NewRow(self._next_key, job.prompt, sampling))
                self._next_key += 1
        self._batch.admit(rows)
        self._taken = []

    def _step(self) -> None:
        drawn = self._batch.step()
        now = self.clock()
        ended: list[int] = []
        for key, one in drawn.items():
            live = self._live[key]
            if live.count == 0:
                self._metrics.began(now - live.job.arrived)
            live.count += 1
            said = self._said(live, one)
            if said.finish is not None:
                ended.append(key)
            if said.finish is not None or said.piece.text or said.piece.tokens:
                self.tell(live.job, said)
        self._metrics.wrote(len(drawn))
        self._drop(ended)

    def _said(self, live: _Live, drawn: Drawn) -> Said:
        finish, piece = None, Piece("")
        if drawn.token == self.policy.formatter.end:
            finish = "stop"
        else:
            piece = live.text.push(drawn)
            if live.text.is_stopped:
                finish = "stop"
            elif live.count == live.limit:
                finish = "length"
        if finish is not None:
            rest = live.text.finish()
            piece = Piece(piece.text + rest.text, piece.tokens + rest.tokens)
            if live.text.is_stopped:
                finish = "stop"
        return Said(live.row, piece, finish, live.count)

    def _drop(self, keys: Iterable[int]) -> None:
        gone = list(keys)
        for key in gone:
            del self._live[key]
        self._batch.drop(gone)


def _written_before(tokenizer: Any) -> tuple[int, ...]:
    """The special tokens that a tokenizer writes before a text by itself, as Llama's do."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    at = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    return tuple(whole[:at])


def conversation(messages: Sequence[tuple[str, str]]) -> Prompt:
    """A conversation of a request as a prompt.

    Args:
        messages: (role, text); `developer` is taken as `system`.

    Raises:
        ApiProblem: 400, it does not end with the user's message, or its roles are in no order.
    """
    said = [("system" if role == "developer" else role, text) for role, text in messages]
    try:
        return Prompt.model_validate(
            {"id": "request", "messages": [{"role": r, "content": t} for r, t in said]}
        )
    except ValidationError as error:
        why = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise ApiProblem(400, why, parameter="messages") from None
