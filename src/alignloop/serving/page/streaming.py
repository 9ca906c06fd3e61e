"""Answers as they are written, for a script, or whole, for a browser without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

import anyio.to_thread
from starlette.responses import Response

from alignloop.serving.page.access import Ask
from alignloop.serving.page.answering import Drawing, draw
from alignloop.serving.page.conversation import Answer, Conversation, Turn
from alignloop.serving.page.looks import Problem, url
from alignloop.serving.problems import ApiProblem
from alignloop.serving.service import READER_GRACE_S
from alignloop.serving.streams import ClientGone, EventStream, event, while_connected


async def answered(
    ask: Ask, conversation: Conversation, at: int, turn: Turn, *, is_new: bool = False
) -> Response:
    """Put a turn in its place, drop what stood there and after, and answer it.

    Args:
        is_new: that the message was not said before, and so may be one to keep.
    """
    site = ask.site
    history = conversation.before(at)
    conversation.running = waiting = _Waiting()  # another window is told to wait from here on
    try:
        drawing = await _begun(ask, conversation, turn, [*history, ("user", turn.text)])
    except ApiProblem as problem:
        conversation.running = None
        kept = conversation if conversation.turns else None
        return ask.chat(kept, _problem_of(problem), text=turn.text if is_new else "")
    except BaseException:
        conversation.running = None
        raise
    turn.answers = [*drawing.answers]
    if len(turn.answers) == 2:
        site.lot.shuffle(turn.answers)
    conversation.turns[at:] = [turn]
    conversation.running = drawing
    if waiting.is_stopped:
        drawing.stop()
    try:
        if is_new:
            await _keep(ask, conversation, turn, [*drawing.heard[:-1]])
    except BaseException:
        drawing.close()
        raise
    if ask.wants_stream:
        events = _events(ask, conversation, turn, drawing)
        longest = site.service.limits.timeout + READER_GRACE_S
        return ask.sent(EventStream(events, drawing.close, longest))
    problem = None
    try:
        await while_connected(ask.request.receive, _all(drawing))
    except ApiProblem as found:
        problem = _problem_of(found)
    except ClientGone:
        pass
    finally:
        drawing.close()
    if problem is not None:
        return ask.chat(conversation, problem)
    return ask.go(url("chat", name=conversation.id))


async def _begun(
    ask: Ask, conversation: Conversation, turn: Turn, messages: Sequence[tuple[str, str]]
) -> Drawing:
    site, models = ask.site, _models(ask, conversation)

    def ended() -> None:
        _ended(conversation, turn)

    try:
        return await draw(site.service, models, messages, ended, site.lot)
    except ApiProblem:
        if len(models) == 1:
            raise
    # Where there is no second answer, for want of room perhaps, there is the one that is due in any case.
    return await draw(site.service, models[:1], messages, ended, site.lot)


class _Waiting:
    """Stands for a drawing that is about to begin."""

    is_stopped = False

    def stop(self) -> None:
        """It is to end as soon as it has begun."""
        self.is_stopped = True


async def _events(
    ask: Ask, conversation: Conversation, turn: Turn, drawing: Drawing
) -> AsyncIterator[bytes]:
    name = conversation.id
    yield event({"answers": len(turn.answers), "stop": url("stop", name=name)})
    problem: str | None = None
    places = {id(answer): place for place, answer in enumerate(turn.answers)}
    try:
        async for number, text in drawing.pieces():
            yield event({"answer": places[id(drawing.answers[number])], "text": text})
    except ApiProblem as found:
        problem = ask.words(f"problem.{_problem_of(found)}")
    drawing.close()
    yield event(
        {
            "html": ask.thread(conversation),
            "address": url("chat", name=name),
            "say": url("say", name=name),
            "problem": problem,
        }
    )


async def _all(drawing: Drawing) -> None:
    async for _ in drawing.pieces():
        pass


def _ended(conversation: Conversation, turn: Turn) -> None:
    """Nothing more comes. Of two that cannot be compared one is left: of whole ones before others, and one that says
    something; of two that say the same, the conversation's own policy's."""
    conversation.running = None
    if len(turn.answers) == 2 and not _can_be_compared(*turn.answers):

        def better(one: Answer) -> tuple[bool, bool, int]:
            return bool(one.finish), bool(one.text.strip()), -one.number

        turn.answers = [max(turn.answers, key=better)]


def _can_be_compared(first: Answer, second: Answer) -> bool:
    """Whether there is something to choose: both are whole, and say something, and not the same."""
    said = first.text.strip(), second.text.strip()
    return bool(first.finish and second.finish) and all(said) and said[0] != said[1]


def _models(ask: Ask, conversation: Conversation) -> list[str]:
    """Whose answers are drawn: the conversation's policy, and by lot another one, or the same once more."""
    site, own = ask.site, conversation.model
    if site.lot.random() >= site.side_by_side:
        return [own]
    others = [name for name in site.models if name != own]
    return [own, site.lot.choice(others) if others else own]


async def _keep(
    ask: Ask, conversation: Conversation, turn: Turn, history: list[tuple[str, str]]
) -> None:
    """A message, where its user agreed before the conversation's first word and ever since.

    Args:
        history: what the answers to it were drawn from, so that nobody learns from an answer to what it never read.
    """
    if not ask.agrees:
        conversation.keeps = False
    if ask.site.keeping is None or ask.visitor is None or not conversation.keeps:
        return
    keep = partial(ask.site.keeping.keep, ask.now, ask.visitor, conversation, turn, history)
    await anyio.to_thread.run_sync(keep)


def _problem_of(problem: ApiProblem) -> Problem:
    if problem.code == "context_length_exceeded":
        return "no_room"
    return "failed"
