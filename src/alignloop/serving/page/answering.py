"""Answers to a conversation, drawn from the service that `/v1/chat/completions` asks: one, or two side by side."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio.to_thread

from alignloop.generation.continuous import RowSampling
from alignloop.generation.engine import SamplingConfig
from alignloop.serving.page.conversation import Answer
from alignloop.serving.policy import AnswerJob, PolicyWorker, Said, ServedPolicy
from alignloop.serving.problems import ApiProblem
from alignloop.serving.service import Exchange, Service
from alignloop.serving.worker import Inbox

SAMPLING = SamplingConfig(temperature=0.8, max_new_tokens=512)
"""How the page's answers are drawn; they are shorter where the context has no room."""


class Drawing:
    """Answers that are being written."""

    def __init__(
        self,
        answers: Sequence[Answer],
        exchanges: Sequence[Exchange],
        heard: Sequence[tuple[str, str]],
        done: Callable[[], None],
    ) -> None:
        """Begin to read what comes.

        Args:
            heard: what of the conversation every one of the answers was drawn from.
            done: called once, when nothing more will come.
        """
        self.answers, self.heard = answers, heard
        self._exchanges, self._done = exchanges, done
        self._queue: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()
        self._pumps = [
            asyncio.ensure_future(self._pump(number, exchange))
            for number, exchange in enumerate(exchanges)
        ]
        self._is_closed = False

    async def pieces(self) -> AsyncIterator[tuple[int, str]]:
        """(which answer, what it goes on with) as it is written; the answers grow along.

        Raises:
            ApiProblem: the server could not go on.
        """
        left = len(self.answers)
        while left:
            number, said = await self._queue.get()
            if number < 0:
                return
            if isinstance(said, ApiProblem):
                raise said
            answer = self.answers[number]
            answer.text += said.piece.text
            answer.tokens = said.tokens
            if said.finish is not None:
                answer.finish = said.finish
                left -= 1
            if said.piece.text:
                yield number, said.piece.text

    def stop(self) -> None:
        """End with what there is."""
        self._queue.put_nowait((-1, None))

    def close(self) -> None:
        """Nobody reads any more, or all is written."""
        if self._is_closed:
            return
        self._is_closed = True
        for pump in self._pumps:
            pump.cancel()
        for exchange in self._exchanges:
            exchange.close()
        self._done()

    async def _pump(self, number: int, exchange: Exchange) -> None:
        with suppress(asyncio.CancelledError):
            try:
                async for found in exchange.rounds():
                    for _, said in found:
                        if isinstance(said, Said):
                            self._queue.put_nowait((number, said))
            except ApiProblem as problem:
                self._queue.put_nowait((number, problem))


async def draw(
    service: Service,
    models: Sequence[str],
    messages: Sequence[tuple[str, str]],
    done: Callable[[], None],
    lot: random.Random,
) -> Drawing:
    """An answer of each of the models, which may be one and the same, to a conversation that ends with the user's word.

    Args:
        lot: draws the answers' seeds.

    Raises:
        ApiProblem: there is no such policy, no room for the message, or too much to do.
    """
    answers: list[Answer] = []
    exchanges: list[Exchange] = []
    heard = messages
    try:
        for number, model in enumerate(models, start=1):
            worker = service.policy(model)
            read, prompt = await _read(worker.policy, messages)
            heard = min(heard, read, key=len)
            room = min(worker.policy.room(prompt, None, "messages"), SAMPLING.max_new_tokens)
            row = RowSampling(room, lot.getrandbits(62), temperature=SAMPLING.temperature)
            exchanges.append(_exchange(service, worker, prompt, row))
            settings = SAMPLING.model_copy(update={"max_new_tokens": room})
            how = settings.model_dump(mode="json", exclude={"batch_rows"})
            answers.append(Answer(model, worker.policy.sha256, how, number))
    except BaseException:
        for exchange in exchanges:
            exchange.close()
        raise
    return Drawing(answers, exchanges, heard, done)


async def _read(
    policy: ServedPolicy, messages: Sequence[tuple[str, str]]
) -> tuple[Sequence[tuple[str, str]], tuple[int, ...]]:
    """What a policy reads of a conversation, and its tokens."""
    if not policy.remembers:
        messages = messages[-1:]
    prompt = await anyio.to_thread.run_sync(policy.chat_tokens, messages)
    # The oldest turns are forgotten where they leave no room for an answer of some length.
    wanted = min(SAMPLING.max_new_tokens, policy.context // 4)
    while len(messages) > 1 and policy.context - len(prompt) < wanted:
        messages = messages[2:]
        prompt = await anyio.to_thread.run_sync(policy.chat_tokens, messages)
    return messages, prompt


def _exchange(
    service: Service, worker: PolicyWorker, prompt: tuple[int, ...], row: RowSampling
) -> Exchange:
    arrived = service.clock()
    job = AnswerJob(
        number=0,
        inbox=Inbox(),
        size=1,
        arrived=arrived,
        deadline=arrived + service.limits.timeout,
        prompt=prompt,
        rows=(row,),
        stops=(),
        strips=True,
        top_of_prompt=None,
    )
    return Exchange(worker, [job], choices=1, prompt_tokens=len(prompt))
