"""One request of a browser, checked: whose it is, what its form says, how often it asks, and its answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, urlencode

import anyio.to_thread
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from alignloop.serving.page import looks
from alignloop.serving.page.conversation import Conversation, Conversations
from alignloop.serving.page.keeping import Keeping
from alignloop.serving.page.looks import ChatView, Problem, View
from alignloop.serving.page.notice import UNSETTLED, Notice
from alignloop.serving.policy import PolicyWorker
from alignloop.serving.service import Service
from alignloop.store.visitors import Visitor
from alignloop.web.cookies import bound_name
from alignloop.web.forms import read_form
from alignloop.web.i18n import LOCALES, Locale, choose_locale
from alignloop.web.limits import RateLimit
from alignloop.web.security import Origins, address_of, own_path

LONGEST = 8000
"""Characters of a message."""
DAY_MS = 86_400_000
_BODY_S = 30.0
_YEAR_S = 365 * 86_400
_TOLD_S = 60
"""The page that is to tell something comes at once, or nobody looks at it any more."""
_TOKEN_LENGTH = 43
"""Characters of a token that this server made."""


@dataclass(frozen=True)
class Site:
    """What the routes work on."""

    service: Service
    origins: Origins
    keeping: Keeping | None = None
    """The store; without one nothing is kept."""
    side_by_side: float = 0.0
    """Chance that a message gets two answers."""
    notice_days: int = 30
    """After so many days the notice is shown in full again."""
    turns: RateLimit = field(default_factory=lambda: RateLimit(30, 60))
    """Answers that an address may ask for."""
    changes: RateLimit = field(default_factory=lambda: RateLimit(20, 60))
    """How often an address may agree, take it back, erase: an erasure of messages writes a SQLite file anew."""
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    """Milliseconds since 1970, UTC."""
    lot: random.Random = field(default_factory=random.SystemRandom)
    """Draws seeds, who gets two answers, of which policies, and their order."""
    conversations: Conversations = field(default_factory=Conversations)

    @property
    def models(self) -> list[str]:
        """Names of the policies that can be talked to."""
        return [name for name, one in self.service.workers.items() if isinstance(one, PolicyWorker)]


class Refused(Exception):
    """A request that ends in an error page."""

    def __init__(self, status: looks.Status) -> None:
        super().__init__(str(status))
        self.status: looks.Status = status


@dataclass
class Ask:
    """One request."""

    site: Site
    request: Request
    token: str
    is_new: bool
    """Whether the browser has no token yet."""
    visitor: Visitor | None
    now: int
    form: FormData
    preferences: dict[str, str]
    locale: Locale
    notice: Notice = UNSETTLED

    @classmethod
    async def of(cls, site: Site, request: Request) -> Ask:
        """Read a request; a form carries a token made from the browser's.

        Raises:
            HTTPException: its form is too large, of another kind, or sent too slowly.
            Refused: 403, its form is of no page of ours.
        """
        ask = cls.bare(site, request)
        if request.method == "POST":
            try:
                async with asyncio.timeout(_BODY_S):
                    ask.form = await read_form(request)
            except TimeoutError:
                raise HTTPException(408) from None
            if ask.is_new or not ask._has_token():
                raise Refused(403)
        if site.keeping is not None:
            ask.notice = await anyio.to_thread.run_sync(site.keeping.notice)
        if site.keeping is not None and not ask.is_new:
            ask.visitor = await anyio.to_thread.run_sync(site.keeping.find, ask.token)
        return ask

    @classmethod
    def bare(cls, site: Site, request: Request) -> Ask:
        """A request without its form, of whom nobody asks the store."""
        given = request.cookies.get(_cookie(site, "visitor"), "")
        is_new = len(given) != _TOKEN_LENGTH or not given.isascii()
        said = request.cookies.get(_cookie(site, "preferences"), "")[:1000]
        preferences = dict(parse_qsl(said))
        chosen = preferences.get("locale")
        accepted = choose_locale(request.headers.get("accept-language", ""))
        return cls(
            site,
            request,
            secrets.token_urlsafe(32) if is_new else given,
            is_new,
            None,
            site.clock(),
            FormData(),
            preferences,
            cast(Locale, chosen) if chosen in LOCALES else accepted,
        )

    @property
    def owner(self) -> str:
        """What conversations know of the browser."""
        return hashlib.sha256(self.token.encode()).hexdigest()

    @property
    def csrf_token(self) -> str:
        """Of every form: made from the cookie, which no other site can read."""
        return hashlib.sha256(f"form {self.token}".encode()).hexdigest()

    @property
    def agrees(self) -> bool:
        """Whether they agree to the notice as it stands."""
        return self.visitor is not None and self.visitor.notice == self.notice.version

    @property
    def wants_stream(self) -> bool:
        """Whether a script asks, which reads events."""
        return "text/event-stream" in self.request.headers.get("accept", "")

    def text(self, name: str) -> str:
        """A field of the form."""
        value = self.form.get(name)
        return value if isinstance(value, str) else ""

    def conversation(self) -> Conversation:
        """The one that the address names.

        Raises:
            Refused: 404, this browser has none of that name, or it was forgotten.
        """
        name = self.request.path_params["name"]
        found = self.site.conversations.find(self.owner, name, self.now)
        if found is None:
            raise Refused(404)
        return found

    def limit(self, which: RateLimit) -> bool:
        """Whether the address may ask once more."""
        return which.allows(address_of(self.request.scope, self.site.origins))

    # --- answers ---

    def view(self) -> View:
        """What surrounds the page."""
        return View(
            csrf_token=self.csrf_token,
            locale=self.locale,
            theme=cast(Any, _one_of(self.preferences.get("theme"), ("auto", "light", "dark"))),
            path=self.request.url.path if self.request.method == "GET" else "/",
            has_store=self.site.keeping is not None,
            agrees=self.agrees,
            is_due=self._is_due(),
            notice=self.notice,
            told=self._told(),
        )

    def page(self, template: str, page: object, status: int = 200) -> Response:
        """A page."""
        html = looks.render(template, self.view(), page=page, longest=LONGEST)
        return self._html(html, status)

    def thread(self, conversation: Conversation) -> str:
        """The conversation alone."""
        return looks.render(
            "thread.html", self.view(), page=ChatView((), conversation), longest=LONGEST
        )

    def chat(
        self,
        conversation: Conversation | None,
        problem: Problem | None = None,
        *,
        text: str = "",
        editing: int | None = None,
    ) -> Response:
        """The conversation's page; or, where a script asks and something is wrong, what is."""
        status = 200 if problem is None else 429 if problem == "limit" else 422
        if problem is not None and self.wants_stream:
            return JSONResponse({"problem": self.words(f"problem.{problem}")}, status_code=status)
        view = ChatView(self.site.models, conversation, problem, text, editing)
        return self.page("chat.html", view, status)

    def error(self, status: looks.Status) -> Response:
        """An error, as a page or, for a script, as JSON."""
        headers = {"Retry-After": "5"} if status in (429, 503) else {}
        accepted = self.request.headers.get("accept", "")
        if "json" in accepted or "event-stream" in accepted:
            words = {"problem": self.words(f"error.text.{status}")}
            return JSONResponse(words, status_code=status, headers=headers)
        html = looks.render("error.html", self.view(), status=status)
        response = self._html(html, status)
        response.headers.update(headers)
        return response

    def words(self, key: str) -> str:
        """A sentence of the catalogue."""
        return looks.words(self.locale).sentence(key)

    def go(self, path: str, told: looks.Tell = "") -> Response:
        """On to an address of ours, and what the page there has to tell, once."""
        response = self.sent(RedirectResponse(own_path(path), status_code=303))
        if told:
            self._set(response, "told", told, _TOLD_S)
        return response

    def sent(self, response: Response) -> Response:
        """With the cookies that the browser is to have: one that is known keeps its token for a year."""
        if self.is_new or self.visitor is not None:
            self._set(response, "visitor", self.token, None if self.visitor is None else _YEAR_S)
        return response

    def remember(self, response: Response, **preferences: str) -> None:
        """Keep a preference in this browser."""
        self._set(response, "preferences", urlencode({**self.preferences, **preferences}), _YEAR_S)

    def seen(self, response: Response) -> None:
        """The notice was seen today."""
        self.remember(response, notice=f"{self.notice.version}.{self.now // DAY_MS}")

    def renew(self, response: Response) -> None:
        """Another token: nothing connects the browser with what was erased."""
        self._set(response, "visitor", secrets.token_urlsafe(32), None)

    def _html(self, html: str, status: int) -> Response:
        response = self.sent(HTMLResponse(html, status_code=status))
        if self._told():
            self._set(response, "told", "", 0)
        return response

    def _told(self) -> looks.Tell:
        """What the form before this page did. A cookie says it: a link of somebody's can tell nobody anything."""
        said = self.request.cookies.get(_cookie(self.site, "told"), "")
        return cast(Any, said) if self.request.method == "GET" and said in looks.TOLD else ""

    def _set(
        self,
        response: Response,
        name: Literal["visitor", "preferences", "told"],
        value: str,
        max_age: int | None,
    ) -> None:
        response.set_cookie(
            _cookie(self.site, name),
            value,
            max_age=max_age,
            httponly=True,
            samesite="lax",
            secure=self.site.origins.behind_tls,
            path="/",
        )

    def _has_token(self) -> bool:
        return hmac.compare_digest(self.text("csrf_token").encode(), self.csrf_token.encode())

    def _is_due(self) -> bool:
        """Whether the notice was not seen yet in this browser, or another one, or too long ago."""
        version, _, day = self.preferences.get("notice", "").partition(".")
        if version != str(self.notice.version) or not day.isdecimal() or len(day) > 9:
            return True
        return self.now // DAY_MS - int(day) >= self.site.notice_days


def _cookie(site: Site, name: str) -> str:
    return bound_name(f"alignloop_chat_{name}", behind_tls=site.origins.behind_tls)


def _one_of(value: str | None, allowed: tuple[str, ...]) -> str:
    return value if value in allowed else allowed[0]
