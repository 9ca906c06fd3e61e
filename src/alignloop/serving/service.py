"""The models that an app serves, by name, and one request's way through them."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from alignloop.generation.continuous import RowSampling
from alignloop.seeds import derive_seed
from alignloop.serving.asked import ChatAsked, CompletionAsked
from alignloop.serving.metrics import Metrics
from alignloop.serving.policy import AnswerJob, PolicyWorker, PromptRead, Said, ServedPolicy
from alignloop.serving.problems import ApiProblem
from alignloop.serving.reward import RewardWorker, ServedReward
from alignloop.serving.streams import EventStream, as_json, while_connected
from alignloop.serving.worker import Inbox, Worker

READER_GRACE_S = 60.0
"""Seconds that a client has to read the rest of a stream once it is written."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is done at once, and how long it may take."""

    max_rows: int = 64
    """Answers that each policy writes together."""
    queue: int = 256
    """Answers that may wait, for each model."""
    timeout: float = 120.0
    """Seconds for a request, its time in the queue included."""


@dataclass
class Service:
    """Every model and its worker."""

    limits: Limits
    metrics: Metrics = field(default_factory=Metrics)
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    workers: dict[str, PolicyWorker | RewardWorker] = field(default_factory=dict)
    created: int = 0
    """When the models were loaded, in seconds since 1970."""

    @classmethod
    def of(
        cls,
        models: Sequence[ServedPolicy | ServedReward],
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> Service:
        """A service of models with different names; its workers are to be started."""
        service = cls(limits, clock=clock)
        service.created = int(service.wall())
        for model in models:
            common = {
                "queue": limits.queue,
                "clock": service.clock,
                "metrics": service.metrics.of_model(model.name),
            }
            service.workers[model.name] = (
                PolicyWorker(model, max_rows=limits.max_rows, **common)
                if isinstance(model, ServedPolicy)
                else RewardWorker(model, **common)
            )
        return service

    def start(self) -> None:
        """Begin to work."""
        for worker in self.workers.values():
            worker.start()

    def stop(self) -> None:
        """Give up what is under way."""
        for worker in self.workers.values():
            worker.stop()

    def worker(self, name: str) -> PolicyWorker | RewardWorker:
        """A model's.

        Raises:
            ApiProblem: 404, there is none of that name.
        """
        if name not in self.workers:
            raise ApiProblem(
                404,
                f"there is no model '{name}' here; there are: {', '.join(self.workers)}",
                parameter="model",
                code="model_not_found",
            )
        return self.workers[name]

    def policy(self, name: str) -> PolicyWorker:
        """A policy's.

        Raises:
            ApiProblem: 404, there is none of that name; 400, it is a reward model.
        """
        found = self.worker(name)
        if isinstance(found, PolicyWorker):
            return found
        raise ApiProblem(
            400, f"'{name}' is a reward model: it scores answers (/v1/score)", parameter="model"
        )

    def reward(self, name: str) -> RewardWorker:
        """A reward model's.

        Raises:
            ApiProblem: 404, there is none of that name; 400, it is a policy.
        """
        found = self.worker(name)
        if isinstance(found, RewardWorker):
            return found
        raise ApiProblem(
            400, f"'{name}' is a policy: it writes answers, and scores none", parameter="model"
        )

    def samplings(
        self, asked: ChatAsked | CompletionAsked, longest: int, top_log_probs: int | None
    ) -> tuple[RowSampling, ...]:
        """How each of the answers to a prompt is drawn. The first has the request's own seed, as if it were alone."""
        seed = secrets.randbits(62) if asked.seed is None else asked.seed
        return tuple(
            RowSampling(
                max_new_tokens=longest,
                seed=seed if number == 0 else derive_seed(seed, "choice", number),
                temperature=1.0 if asked.temperature is None else asked.temperature,
                top_p=1.0 if asked.top_p is None else asked.top_p,
                top_log_probs=top_log_probs,
            )
            for number in range(asked.n or 1)
        )

    async def respond(
        self, request: Request, exchange: Exchange, reply: Reply, *, streams: bool
    ) -> Response:
        """Send a reply, whole or as it is written; the exchange is closed when nobody reads it any more.

        Raises:
            ApiProblem: it cannot be had.
            ClientGone: nobody waits for it any more.
        """
        try:
            rounds = exchange.rounds()
            # The status is sent with the first words: who waited in vain is to learn of it by the status.
            first = await while_connected(request.receive, anext(rounds, []))
            if streams:
                chunks = reply.chunks(exchange, first, rounds)
                return EventStream(chunks, exchange.close, self.limits.timeout + READER_GRACE_S)
            whole = await while_connected(request.receive, reply.whole(exchange, first, rounds))
        except BaseException:
            exchange.close()
            raise
        return Response(as_json(whole), media_type="application/json")

    def check_size(self, worker: PolicyWorker, prompts: int, answers: int) -> None:
        """Refuse what could not be done even with nobody else there.

        Raises:
            ApiProblem: 400.
        """
        if answers > worker.max_rows:
            raise ApiProblem(
                400, f"this server writes at most {worker.max_rows} answers at once", parameter="n"
            )
        most = worker.max_rows + self.limits.queue
        if prompts * max(answers, 1) > most:
            raise ApiProblem(
                400, f"a request is for at most {most} answers in all", parameter="prompt"
            )


Round = list[tuple[int, "Said | PromptRead"]]
"""What has come since the last look: (choice, what was said), or (prompt, what was read of it)."""


class Reply(Protocol):
    """The two shapes of an answer."""

    async def whole(
        self, exchange: Exchange, first: Round, rounds: AsyncIterator[Round]
    ) -> dict[str, Any]:
        """All of it, once it is written."""
        ...

    def chunks(
        self, exchange: Exchange, first: Round, rounds: AsyncIterator[Round]
    ) -> AsyncIterator[bytes]:
        """Server-sent events as it is written."""
        ...


class Exchange:
    """What one request wants of a policy, and what comes of it."""

    def __init__(
        self, worker: Worker, jobs: Sequence[AnswerJob], *, choices: int, prompt_tokens: int
    ) -> None:
        """Hand in the jobs.

        Args:
            jobs: numbered by prompt, all with the same inbox; a prompt without anything to do may have none.
            choices: answers per prompt.
            prompt_tokens: of all prompts together.

        Raises:
            ApiProblem: 503, the worker cannot take them.
        """
        self._worker, self._jobs, self._choices = worker, jobs, choices
        self.prompt_tokens = prompt_tokens
        self._written: dict[int, int] = {}
        if jobs:
            worker.submit(jobs)

    @property
    def usage(self) -> dict[str, int]:
        """Tokens so far."""
        written = sum(self._written.values())
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
        }

    def close(self) -> None:
        """Nobody reads any more."""
        self._worker.cancel(self._jobs)

    async def rounds(self) -> AsyncIterator[Round]:
        """All that comes, round by round.

        Raises:
            ApiProblem: the worker could not do it.
        """
        if not self._jobs:
            return
        inbox: Inbox = self._jobs[0].inbox
        left = sum(len(job.rows) + (job.top_of_prompt is not None) for job in self._jobs)
        while left:
            found: Round = []
            while not found or not inbox.is_empty():
                number, event = await inbox.get()
                if isinstance(event, Said):
                    choice = number * self._choices + event.row
                    self._written[choice] = event.tokens
                    left -= event.finish is not None
                    found.append((choice, event))
                else:
                    left -= 1
                    found.append((number, event))
            yield found
