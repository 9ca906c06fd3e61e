"""`/v1/chat/completions`: the answers to a conversation, whole or as they are written."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from alignloop.serving.asked import ChatAsked
from alignloop.serving.policy import AnswerJob, PolicyWorker, Said
from alignloop.serving.problems import ApiProblem
from alignloop.serving.service import Exchange, Service
from alignloop.serving.streams import DONE, after, event
from alignloop.serving.text import TokenNames, ToldToken
from alignloop.serving.worker import Inbox

LOWEST = -9999.0
"""Stands for a log-probability of minus infinity, which JSON has no word for; OpenAI's API has the same."""


async def answer(service: Service, request: Request, asked: ChatAsked) -> Response:
    """Answer a conversation.

    Raises:
        ApiProblem: it cannot be answered.
        ClientGone: nobody waits for the answer any more.
    """
    worker = service.policy(asked.model)
    exchange = await _exchange(service, worker, asked)
    reply = _Reply(service, worker, asked)
    return await service.respond(request, exchange, reply, streams=bool(asked.stream))


async def _exchange(service: Service, worker: PolicyWorker, asked: ChatAsked) -> Exchange:
    if asked.top_logprobs is not None and not asked.logprobs:
        raise ApiProblem(400, "'top_logprobs' needs 'logprobs': true", parameter="top_logprobs")
    if asked.max_tokens is not None and asked.max_completion_tokens is not None:
        raise ApiProblem(
            400, "'max_tokens' is the older name of 'max_completion_tokens'; give one of them"
        )
    longest = (
        asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens
    )
    choices = asked.n or 1
    service.check_size(worker, 1, choices)
    arrived = service.clock()
    messages = [(message.role, message.text) for message in asked.messages]
    prompt = await anyio.to_thread.run_sync(worker.policy.chat_tokens, messages)
    room = worker.policy.room(prompt, longest, "messages")
    told = (asked.top_logprobs or 0) if asked.logprobs else None
    rows = service.samplings(asked, room, told)
    job = AnswerJob(
        number=0,
        inbox=Inbox(),
        size=len(rows),
        arrived=arrived,
        deadline=arrived + service.limits.timeout,
        prompt=prompt,
        rows=rows,
        stops=asked.stops,
        strips=True,
        top_of_prompt=None,
    )
    return Exchange(worker, [job], choices=choices, prompt_tokens=len(prompt))


class _Reply:
    """The two shapes of an answer."""

    def __init__(self, service: Service, worker: PolicyWorker, asked: ChatAsked) -> None:
        self._asked, self._names = asked, worker.policy.names
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(service.wall()),
            "model": asked.model,
            "system_fingerprint": worker.policy.sha256[:16],
        }

    async def whole(
        self, exchange: Exchange, first: Sequence[Any], rounds: AsyncIterator[Sequence[Any]]
    ) -> dict[str, Any]:
        """All answers, once they are written."""
        texts = ["" for _ in range(self._asked.n or 1)]
        told: list[list[ToldToken]] = [[] for _ in texts]
        ends = ["length" for _ in texts]
        async for found in after(first, rounds):
            for choice, said in found:
                texts[choice] += said.piece.text
                told[choice] += said.piece.tokens
                ends[choice] = said.finish or ends[choice]
        choices = [
            {
                "index": number,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": self._log_probs(told[number]),
                "finish_reason": ends[number],
            }
            for number, text in enumerate(texts)
        ]
        return {
            **self._head,
            "object": "chat.completion",
            "choices": choices,
            "usage": exchange.usage,
        }

    async def chunks(
        self, exchange: Exchange, first: Sequence[Any], rounds: AsyncIterator[Sequence[Any]]
    ) -> AsyncIterator[bytes]:
        """Server-sent events as the answers are written."""
        usage = {"usage": None} if self._asked.includes_usage else {}
        head = {**self._head, "object": "chat.completion.chunk"}

        def chunk(choice: int, delta: dict[str, Any], said: Said | None = None) -> bytes:
            tokens = () if said is None else said.piece.tokens
            one = {
                "index": choice,
                "delta": delta,
                "logprobs": self._log_probs(tokens) if tokens else None,
                "finish_reason": None if said is None else said.finish,
            }
            return event({**head, "choices": [one], **usage})

        roles = range(self._asked.n or 1)
        yield b"".join(chunk(n, {"role": "assistant", "content": ""}) for n in roles)
        try:
            async for found in after(first, rounds):
                yield b"".join(
                    chunk(choice, {"content": said.piece.text} if said.piece.text else {}, said)
                    for choice, said in found
                )
        except ApiProblem as problem:
            yield event(problem.body())
            return
        if self._asked.includes_usage:
            yield event({**head, "choices": [], "usage": exchange.usage})
        yield DONE

    def _log_probs(self, tokens: Sequence[ToldToken]) -> dict[str, Any] | None:
        if not self._asked.logprobs:
            return None
        content = [
            {
                **_named(self._names, told.token, told.log_prob),
                "top_logprobs": [_named(self._names, token, value) for token, value in told.top],
            }
            for told in tokens
        ]
        return {"content": content, "refusal": None}


def _named(names: TokenNames, token: int, log_prob: float | None) -> dict[str, Any]:
    return {
        "token": names.text_of(token),
        "logprob": finite(log_prob),
        "bytes": list(names.bytes_of(token)),
    }


def finite(log_prob: float | None) -> float | None:
    """A log-probability as JSON can say it."""
    return None if log_prob is None else log_prob if log_prob > LOWEST else LOWEST
