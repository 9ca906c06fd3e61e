"""`/v1/completions`: texts continued, or told how likely they are, as evaluation harnesses ask."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from alignloop.generation.likelihoods import TokenLikelihood
from alignloop.serving.asked import CompletionAsked
from alignloop.serving.chat import finite
from alignloop.serving.policy import AnswerJob, PromptRead, ServedPolicy
from alignloop.serving.problems import ApiProblem
from alignloop.serving.service import Exchange, Round, Service
from alignloop.serving.streams import DONE, after, event
from alignloop.serving.text import ToldToken, WholeCharacters
from alignloop.serving.worker import Inbox


@dataclass(frozen=True, slots=True)
class _Given:
    """A prompt, and its text for those who want it back."""

    tokens: tuple[int, ...]
    text: str
    offsets: tuple[int, ...]
    """Characters of the text before each token."""


async def complete(service: Service, request: Request, asked: CompletionAsked) -> Response:
    """Continue texts.

    Raises:
        ApiProblem: it cannot be done.
        ClientGone: nobody waits for it any more.
    """
    worker = service.policy(asked.model)
    prompts = asked.prompts()
    longest = 16 if asked.max_tokens is None else asked.max_tokens
    choices = asked.n or 1
    service.check_size(worker, len(prompts), choices if longest else 0)
    arrived = service.clock()
    given = await anyio.to_thread.run_sync(_read, worker.policy, prompts, bool(asked.echo))
    for one in given:
        worker.policy.room(one.tokens, longest, "prompt")
    inbox = Inbox()
    top = asked.logprobs if asked.echo else None
    jobs = [
        AnswerJob(
            number=number,
            inbox=inbox,
            size=choices if longest else 0,
            arrived=arrived,
            deadline=arrived + service.limits.timeout,
            prompt=one.tokens,
            rows=service.samplings(asked, longest, asked.logprobs) if longest else (),
            stops=asked.stops,
            strips=False,
            top_of_prompt=top,
        )
        for number, one in enumerate(given)
    ]
    exchange = Exchange(
        worker,
        [job for job in jobs if job.rows or job.top_of_prompt is not None],
        choices=choices,
        prompt_tokens=sum(len(one.tokens) for one in given),
    )
    reply = _Reply(service, worker.policy, asked, given)
    return await service.respond(request, exchange, reply, streams=bool(asked.stream))


def _read(policy: ServedPolicy, prompts: Sequence[str | list[int]], echoes: bool) -> list[_Given]:
    found: list[_Given] = []
    for prompt in prompts:
        is_text = isinstance(prompt, str)
        tokens = policy.text_tokens(prompt) if is_text else policy.check_tokens(prompt)
        if not echoes:
            found.append(_Given(tokens, "", ()))
            continue
        # What the tokenizer wrote before a text by itself is no part of it.
        hidden = len(policy.beginning) if is_text and (policy.has_beginning or not prompt) else 0
        characters, text, offsets = WholeCharacters(policy.reader), "", [0] * hidden
        for token in tokens[hidden:]:
            offsets.append(len(text))
            text += characters.push(token)
        text += characters.finish()
        found.append(_Given(tokens, prompt if is_text else text, tuple(offsets)))
    return found


class _Reply:
    """The two shapes of an answer."""

    def __init__(
        self,
        service: Service,
        policy: ServedPolicy,
        asked: CompletionAsked,
        given: Sequence[_Given],
    ) -> None:
        self._asked, self._policy, self._given = asked, policy, given
        self._per_prompt = asked.n or 1
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(service.wall()),
            "model": asked.model,
            "system_fingerprint": policy.sha256[:16],
        }

    @property
    def _tells(self) -> bool:
        return self._asked.logprobs is not None

    async def whole(
        self, exchange: Exchange, first: Round, rounds: AsyncIterator[Round]
    ) -> dict[str, Any]:
        """All of it, once it is written."""
        count = len(self._given) * self._per_prompt
        texts = [self._echo(choice) for choice in range(count)]
        before = [len(text) for text in texts]
        told: list[list[tuple[ToldToken, int]]] = [[] for _ in texts]
        ends = ["length"] * count
        async for found in after(first, rounds):
            for number, one in found:
                if isinstance(one, PromptRead):
                    of_prompt = self._told_of_prompt(number, one.likelihoods)
                    for choice in self._choices_of(number):
                        told[choice][:0] = [(token, 0) for token in of_prompt]
                    continue
                texts[number] += one.piece.text
                told[number] += [(token, before[number]) for token in one.piece.tokens]
                ends[number] = one.finish or ends[number]
        choices = [
            {
                "index": number,
                "text": text,
                "logprobs": self._log_probs(told[number]) if self._tells else None,
                "finish_reason": ends[number],
            }
            for number, text in enumerate(texts)
        ]
        return {**self._head, "choices": choices, "usage": exchange.usage}

    async def chunks(
        self, exchange: Exchange, first: Round, rounds: AsyncIterator[Round]
    ) -> AsyncIterator[bytes]:
        """Server-sent events as it is written. An echo comes first, with its log-probabilities where they are told."""
        usage = {"usage": None} if self._asked.includes_usage else {}
        has_rows = self._asked.max_tokens != 0
        echoes_at_once = bool(self._asked.echo) and not self._tells

        def chunk(
            choice: int, text: str, told: Sequence[tuple[ToldToken, int]], finish: str | None
        ) -> bytes:
            one = {
                "index": choice,
                "text": text,
                "logprobs": self._log_probs(told) if self._tells and told else None,
                "finish_reason": finish,
            }
            return event({**self._head, "choices": [one], **usage})

        end = None if has_rows else "length"
        count = len(self._given) * self._per_prompt
        if echoes_at_once or (not has_rows and not self._asked.echo):
            yield b"".join(chunk(n, self._echo(n), (), end) for n in range(count))
        try:
            async for found in after(first, rounds):
                bodies: list[bytes] = []
                for number, one in found:
                    if isinstance(one, PromptRead):
                        told = [(t, 0) for t in self._told_of_prompt(number, one.likelihoods)]
                        for choice in self._choices_of(number):
                            bodies.append(chunk(choice, self._echo(choice), told, end))
                    else:
                        before = len(self._echo(number))
                        tokens = [(token, before) for token in one.piece.tokens]
                        bodies.append(chunk(number, one.piece.text, tokens, one.finish))
                if bodies:
                    yield b"".join(bodies)
        except ApiProblem as problem:
            yield event(problem.body())
            return
        if self._asked.includes_usage:
            yield event({**self._head, "choices": [], "usage": exchange.usage})
        yield DONE

    def _choices_of(self, prompt: int) -> range:
        return range(prompt * self._per_prompt, (prompt + 1) * self._per_prompt)

    def _echo(self, choice: int) -> str:
        return self._given[choice // self._per_prompt].text if self._asked.echo else ""

    def _told_of_prompt(
        self, number: int, likelihoods: Sequence[TokenLikelihood]
    ) -> list[ToldToken]:
        given = self._given[number]
        first = ToldToken(given.tokens[0], None, (), 0)
        return [
            first,
            *(
                ToldToken(token, one.log_prob, one.top, offset)
                for token, one, offset in zip(
                    given.tokens[1:], likelihoods, given.offsets[1:], strict=True
                )
            ),
        ]

    def _log_probs(self, told: Iterable[tuple[ToldToken, int]]) -> dict[str, Any]:
        """Lists beside one another, as this older interface has them.

        Args:
            told: tokens, and how many characters stand before the text that their offsets are in.
        """
        text_of = self._policy.names.text_of
        pairs = list(told)
        return {
            "tokens": [text_of(token.token) for token, _ in pairs],
            "token_logprobs": [finite(token.log_prob) for token, _ in pairs],
            "top_logprobs": [
                None
                if token.log_prob is None
                else {
                    **{text_of(name): finite(value) for name, value in token.top},
                    text_of(token.token): finite(token.log_prob),
                }
                for token, _ in pairs
            ],
            "text_offset": [token.offset + before for token, before in pairs],
        }
