"""What each address of the page does."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from alignloop import progress
from alignloop.errors import BusyError, StoreError
from alignloop.serving.page.access import LONGEST, Ask, Refused, Site
from alignloop.serving.page.conversation import MOST_TURNS, Conversation, Preference, Turn
from alignloop.serving.page.looks import PATHS, DataView, Tell, url
from alignloop.serving.page.streaming import answered
from alignloop.serving.problems import GONE
from alignloop.web.i18n import LOCALES

Handler = Callable[[Ask], Awaitable[Response]]
_PREFERENCES: dict[str, Preference] = {"a": "a", "b": "b", "tie": "tie"}


# --- talking ---


async def home(ask: Ask) -> Response:
    """A conversation that begins."""
    return ask.chat(None)


async def chat(ask: Ask) -> Response:
    """A conversation as it stands."""
    return ask.chat(ask.conversation())


async def begin(ask: Ask) -> Response:
    """The first message."""
    model = ask.text("model") or ask.site.models[0]
    if model not in ask.site.models:
        raise Refused(404)
    problem = _problem(ask)
    if problem is not None:
        return ask.chat(None, problem, text=ask.text("text"))
    conversations = ask.site.conversations
    made = conversations.begin(ask.owner, model, ask.now, keeps=ask.agrees)
    return await _say(ask, made, 0)


async def say(ask: Ask) -> Response:
    """The next message."""
    conversation = ask.conversation()
    problem = _problem(ask, conversation, grows=True)
    if problem is not None:
        return ask.chat(conversation, problem, text=ask.text("text"))
    return await _say(ask, conversation, len(conversation.turns))


async def edit(ask: Ask) -> Response:
    """An earlier message in other words; what followed it is dropped."""
    conversation = ask.conversation()
    number = ask.text("turn")
    if not number.isdecimal() or len(number) > 4 or int(number) >= len(conversation.turns):
        raise Refused(404)
    problem = _problem(ask, conversation)
    if problem is not None:
        return ask.chat(conversation, problem, editing=int(number))
    return await _say(ask, conversation, int(number), kind="edit")


async def again(ask: Ask) -> Response:
    """Another answer to the last message."""
    conversation = ask.conversation()
    if not conversation.turns:
        raise Refused(404)
    problem = _problem(ask, conversation, has_text=False)
    if problem is not None:
        return ask.chat(conversation, problem)
    ask.site.service.metrics.turned("again")
    last = conversation.turns[-1]
    turn = Turn(
        last.text,
        prompt_id=last.prompt_id,
        is_unkept=last.is_unkept,
        draw=secrets.token_hex(16),
    )
    return await answered(ask, conversation, len(conversation.turns) - 1, turn)


async def stop(ask: Ask) -> Response:
    """End the answer that is being written with what there is of it."""
    conversation = ask.conversation()
    if conversation.running is not None:
        conversation.running.stop()
    return Response(status_code=204)


async def choose(ask: Ask) -> Response:
    """One of two answers, or neither before the other."""
    conversation = ask.conversation()
    preference = _PREFERENCES.get(ask.text("preference"))
    last = len(conversation.turns) - 1
    if preference is None or last < 0 or ask.text("turn") != str(last):
        raise Refused(404)
    turn = conversation.turns[last]
    told: Tell = ""
    # A page from before "Answer again" or an edit shows other answers, perhaps in the other order.
    is_shown = ask.text("draw") == turn.draw
    if is_shown and turn.is_open and conversation.running is None:
        turn.preference = preference
        ask.site.service.metrics.turned("choose")
        keeping, visitor = ask.site.keeping, ask.visitor
        if keeping is not None and visitor is not None and ask.agrees and conversation.keeps:
            keep = partial(keeping.choose, ask.now, visitor, conversation, turn)
            told = "kept" if await anyio.to_thread.run_sync(keep) else "not_kept"
    return ask.go(url("chat", name=conversation.id), told)


async def _say(ask: Ask, conversation: Conversation, at: int, kind: str = "say") -> Response:
    ask.site.service.metrics.turned(kind)
    turn = Turn(ask.text("text").strip(), draw=secrets.token_hex(16))
    return await answered(ask, conversation, at, turn, is_new=True)


def _problem(
    ask: Ask,
    conversation: Conversation | None = None,
    *,
    has_text: bool = True,
    grows: bool = False,
):
    """Why a message cannot be taken."""
    text = ask.text("text")
    if has_text and not text.strip():
        return "empty"
    if len(text) > LONGEST:
        return "too_long"
    if conversation is not None and conversation.running is not None:
        return "busy"
    if grows and conversation is not None and len(conversation.turns) >= MOST_TURNS:
        return "full"
    return None if ask.limit(ask.site.turns) else "limit"


# --- what is kept ---


async def data(ask: Ask) -> Response:
    """What is kept of whoever asks."""
    found = None
    if ask.site.keeping is not None and ask.visitor is not None:
        found = await anyio.to_thread.run_sync(ask.site.keeping.data_of, ask.visitor)
    return ask.page("data.html", DataView(found, ask.site.conversations.of(ask.owner)))


async def data_file(ask: Ask) -> Response:
    """The same for programs, to be taken along."""
    if ask.site.keeping is None or ask.visitor is None:
        raise Refused(404)
    found = await anyio.to_thread.run_sync(ask.site.keeping.data_of, ask.visitor)
    headers = {"Content-Disposition": 'attachment; filename="my-data.json"'}
    return ask.sent(JSONResponse(found, headers=headers))


async def agree(ask: Ask) -> Response:
    """They agree to the notice that they were shown; another one since is shown to them first."""
    keeping = _changing(ask)
    if ask.text("notice") != str(ask.notice.version):
        return ask.go(ask.text("next"))
    await anyio.to_thread.run_sync(keeping.agree, ask.now, ask.token, ask.notice, ask.locale)
    ask.visitor = await anyio.to_thread.run_sync(keeping.find, ask.token)
    response = _back(ask, "agreed")
    ask.seen(response)
    return response


async def withdraw(ask: Ask) -> Response:
    """They agree no longer."""
    keeping = _changing(ask)
    for conversation in ask.site.conversations.of(ask.owner):
        conversation.keeps = False  # even where the database cannot note it
    if ask.visitor is not None:
        await anyio.to_thread.run_sync(keeping.withdraw, ask.now, ask.visitor)
    response = _back(ask, "withdrawn")
    ask.seen(response)
    return response


async def erase(ask: Ask) -> Response:
    """One conversation, or everything and whom it is of."""
    keeping = _changing(ask)
    if ask.visitor is None:
        raise Refused(404)
    name = ask.text("conversation")
    is_all = ask.text("everything") == "1"
    if not name and not is_all:
        raise Refused(404)
    for conversation in ask.site.conversations.of(ask.owner):
        if is_all or conversation.id == name:
            # What is said from here on would bring back what was said before.
            conversation.keeps = False
    wanted = None if is_all else name
    await anyio.to_thread.run_sync(keeping.erase, ask.now, ask.visitor, wanted)
    if not is_all:
        return ask.go(url("data"), "erased")
    ask.site.conversations.drop(ask.owner)
    ask.visitor = None
    response = ask.go(url("data"), "erased_all")
    ask.renew(response)
    return response


async def notice(ask: Ask) -> Response:
    """The notice was seen, and nothing changed."""
    response = ask.go(ask.text("next"))
    ask.seen(response)
    return response


async def settings(ask: Ask) -> Response:
    """Language and colours, for this browser."""
    response = ask.go(ask.text("next"))
    for name, allowed in (("theme", ("auto", "light", "dark")), ("locale", LOCALES)):
        if ask.text(name) in allowed:
            ask.remember(response, **{name: ask.text(name)})
    return response


def _changing(ask: Ask):
    """The store, for a request that changes something in it."""
    if ask.site.keeping is None:
        raise Refused(404)
    if not ask.limit(ask.site.changes):
        raise Refused(429)
    return ask.site.keeping


def _back(ask: Ask, told: Tell) -> Response:
    """To the page that it was sent from, with something to tell there."""
    return ask.go(ask.text("next"), told)


# --- all of them ---

_GET: dict[str, Handler] = {"home": home, "chat": chat, "data": data, "data_file": data_file}
_POST: dict[str, Handler] = {
    **{"begin": begin, "say": say, "edit": edit, "again": again, "stop": stop},
    **{"choose": choose, "agree": agree, "withdraw": withdraw, "erase": erase},
    **{"notice": notice, "settings": settings},
}


def routes(site: Site) -> list[Route]:
    """Every address with what it does."""
    return [
        Route(PATHS[name], _endpoint(site, handler), methods=[method])
        for method, handlers in (("GET", _GET), ("POST", _POST))
        for name, handler in handlers.items()
    ]


def _endpoint(site: Site, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            ask = await Ask.of(site, request)
        except Refused as refused:
            return await refusal(site, request, refused.status)
        except StoreError as error:
            return await refusal(site, request, _unavailable(error))
        except ClientDisconnect:
            return Response(status_code=GONE)
        try:
            return await handler(ask)
        except Refused as refused:
            return ask.error(refused.status)
        except StoreError as error:
            return ask.error(_unavailable(error))

    return endpoint


def _unavailable(error: StoreError) -> Literal[503]:
    """The status of what the database cannot do; what will not pass by itself is for whoever serves the page."""
    if not isinstance(error, BusyError):
        progress.say(f"alignloop: a request to the chat page was refused: {error}")
    return 503


async def refusal(site: Site, request: Request, status: int) -> Response:
    """An error outside a handler: no such address, a form of no page of ours, a body that is too large, a bug."""
    ask = Ask.bare(site, request)
    known = status if status in (403, 404, 413, 429, 500, 503) else 404
    response = ask.error(known)  # type: ignore[arg-type]
    response.status_code = status
    return response
