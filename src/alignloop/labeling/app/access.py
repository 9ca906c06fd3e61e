"""Who may ask for what. A route says whose it is, or it cannot be declared; everything else follows from that here:
the session, the token of every form, the limits, and what a refusal looks like.
"""

from __future__ import annotations

import enum
import hmac
import secrets
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

from anyio import to_thread
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from alignloop.errors import BusyError, ConflictError, JudgmentError
from alignloop.labeling.app import cookies, pages
from alignloop.labeling.app.described import described
from alignloop.labeling.app.lab import Lab
from alignloop.labeling.app.pages.common import Notice, Page, View
from alignloop.labeling.app.pages.labeler import ErrorPage
from alignloop.labeling.app.paths import PATHS, path_to
from alignloop.labeling.app.render import render
from alignloop.progress import say
from alignloop.store import correspondence, people
from alignloop.store.people import User
from alignloop.web.forms import LARGEST_FORM, clean, read_form
from alignloop.web.i18n import LOCALES, Locale, choose_locale
from alignloop.web.logged import line, trace
from alignloop.web.security import own_path

_SEEN_EVERY_MS = 60_000
_BUSY_SECONDS = 5
_PAGES = (403, 404, 413, 429, 500)
"""Statuses with words of their own; 503 has those of 429, to wait and send it again."""


class Access(enum.Enum):
    """Whose a route is."""

    ANYBODY = "anybody"
    SIGNED_IN = "signed in"
    LABELER = "labeler"
    RESEARCHER = "researcher"


class Refused(Exception):
    """A request that ends in an error page."""

    def __init__(self, status: int, wait_seconds: int = 0) -> None:
        super().__init__(str(status))
        self.status = status
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, checked: who asks, and what they sent."""

    lab: Lab
    request: Request
    user: User | None
    session: str
    """Token of the session; empty where nobody is signed in."""
    csrf_token: str
    now: int
    form: FormData
    preferences: Mapping[str, str]
    locale: Locale

    @property
    def who(self) -> User:
        """The signed-in user of a route that is not for anybody."""
        if self.user is None:
            raise Refused(403)
        return self.user

    def field(self, name: str, default: str = "") -> str:
        """A field of the form, as text; a file is nothing."""
        value = self.form.get(name)
        return value if isinstance(value, str) else default

    def fields(self) -> dict[str, list[str]]:
        """Every field with all of its values."""
        found: dict[str, list[str]] = {}
        for name, value in self.form.multi_items():
            if isinstance(value, str):
                found.setdefault(name, []).append(value)
        return found

    def whole_number(self, name: str, default: int = 0) -> int:
        """A field as a whole number that fits a column; the default where it is none."""
        text = self.field(name).strip()
        is_number = text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 15
        return int(text) if is_number else default

    def path(self, name: str) -> str:
        """A part of the address."""
        return clean(self.request.path_params[name])

    def query(self, name: str, default: str = "") -> str:
        """A value of the query."""
        return clean(self.request.query_params.get(name, default))

    def show(self, page: Page, status: int = 200, notice: Notice | None = None) -> Response:
        """The page as this visitor sees it."""
        view, seen = self._view(notice)
        response = HTMLResponse(render(page, view), status_code=status)
        if seen:
            self._forget(response, "notice")
        if self.user is None and self._cookie("form") != self.csrf_token:
            self._set(response, "form", self.csrf_token)
        return response

    def go(self, name: str, notice: Notice | None = None, **values: object) -> Response:
        """On to a page, by GET, with something to tell there."""
        return self.go_to(path_to(name, **values), notice)

    def go_to(self, path: str, notice: Notice | None = None) -> Response:
        """On to an address of ours; anything else becomes the home page."""
        response = RedirectResponse(own_path(path), status_code=303)
        if notice is not None:
            self._set(response, "notice", cookies.written(notice))
        return response

    def remember(self, response: Response, **preferences: str) -> None:
        """Keep a preference in this browser."""
        kept = {**self.preferences, **preferences}
        self._set(response, "preferences", urlencode(kept), max_age=365 * 86_400)

    def sign_in(self, response: Response, token: str) -> None:
        """Hand the browser its session."""
        self._set(response, "session", token, max_age=people.SESSION_LIFE_MS // 1000)
        self._forget(response, "form")

    def sign_out(self, response: Response) -> None:
        """Take the session from the browser."""
        self._forget(response, "session")
        response.headers["Clear-Site-Data"] = '"storage"'

    def _cookie(self, name: cookies.Name) -> str:
        return self.request.cookies.get(self.lab.cookie(name), "")

    def _forget(self, response: Response, name: cookies.Name) -> None:
        self._set(response, name, "", max_age=0)

    def _set(
        self, response: Response, name: cookies.Name, value: str, max_age: int | None = None
    ) -> None:
        response.set_cookie(
            self.lab.cookie(name),
            value,
            max_age=max_age,
            path="/",
            httponly=True,
            samesite="lax",
            secure=self.lab.origins.behind_tls,
        )

    def _view(self, notice: Notice | None) -> tuple[View, bool]:
        told = notice or cookies.told(self._cookie("notice"))
        unread = 0
        if self.user is not None:
            with self.lab.store.read() as connection:
                unread = sum(correspondence.unread(connection, self.user).values())
        url = self.request.url
        view = View(
            csrf_token=self.csrf_token,
            now=datetime.fromtimestamp(self.now / 1000, UTC),
            path=url.path + (f"?{url.query}" if url.query else ""),
            locale=self.locale,
            theme=cast(Any, _one_of(self.preferences.get("theme"), ("auto", "light", "dark"))),
            user=None
            if self.user is None
            else pages.common.User(self.user.name, cast(Any, self.user.role)),
            unread=unread,
            notice=told,
            single_keys=self.preferences.get("single_keys") != "off",
            blur=self.preferences.get("blur") == "on",
        )
        return view, notice is None and told is not None


Handler = Callable[[Ask], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """A route and whose it is."""

    name: str
    method: str
    access: Access
    handler: Handler
    fields: tuple[str, ...]
    """What its form may send, for the API's description."""


class Routes:
    """Routes on their way into the app. There is no default for whose they are."""

    def __init__(self) -> None:
        self.found: list[Route] = []

    def get(self, name: str, access: Access) -> Callable[[Handler], Handler]:
        """A page."""
        return self._add(name, "GET", access, ())

    def post(self, name: str, access: Access, fields: str = "") -> Callable[[Handler], Handler]:
        """Something that changes; `fields` are the names of its form, apart by spaces."""
        return self._add(name, "POST", access, tuple(fields.split()))

    def _add(
        self, name: str, method: str, access: Access, fields: tuple[str, ...]
    ) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self.found.append(Route(name, method, access, handler, fields))
            return handler

        return register


def install(app: FastAPI, lab: Lab, routes: Routes) -> None:
    """Put routes into the app, each behind its check."""
    for route in routes.found:
        app.add_api_route(
            PATHS[route.name],
            _endpoint(lab, route),
            methods=[route.method],
            name=f"{route.name}_{route.method.lower()}",
            response_class=HTMLResponse,
            openapi_extra=described(
                PATHS[route.name], route.fields if route.method == "POST" else None
            ),
        )


def _endpoint(lab: Lab, route: Route) -> Callable[[Request], Any]:
    is_figures = route.access is Access.RESEARCHER and route.method == "GET"
    limiter = lab.figures if is_figures else lab.work

    async def endpoint(request: Request) -> Response:
        form = await read_form(request) if route.method == "POST" else FormData()
        return await to_thread.run_sync(_answer, lab, route, request, form, limiter=limiter)

    endpoint.access = route.access  # type: ignore[attr-defined]  # a test walks the routes
    endpoint.page = route.name  # type: ignore[attr-defined]  # the log names pages, not addresses
    return endpoint


def _answer(lab: Lab, route: Route, request: Request, form: FormData) -> Response:
    ask = _ask(lab, request, form)
    try:
        if (response := _refusal(route, ask)) is not None:
            return response
        return _handled(route, ask)
    except BusyError:
        return error_response(ask, 503, _BUSY_SECONDS)
    except Refused as refused:
        return error_response(ask, refused.status, refused.wait_seconds)
    except ConflictError:
        return error_response(ask, 404)
    except JudgmentError as error:
        # A rule of the store, met outside a form that could show it: a page made for another state of things.
        say(line(f"alignloop: refused {route.method} {route.name}: {error}"))
        return error_response(ask, 404)


def _handled(route: Route, ask: Ask) -> Response:
    """What the route answers; again where the database asks for that, since sending a form twice is harmless."""
    for _ in range(2):
        try:
            return route.handler(ask)
        except BusyError as error:
            if not error.at_once:
                raise
    return route.handler(ask)


def _ask(lab: Lab, request: Request, form: FormData, *, with_user: bool = True) -> Ask:
    now = lab.clock()
    token = request.cookies.get(lab.session_cookie, "") if with_user else ""
    user: User | None = None
    csrf_token = request.cookies.get(lab.cookie("form")) or secrets.token_urlsafe(32)
    if token:
        with lab.store.read() as connection:
            found = people.session_of(connection, now, token)
        if found is not None:
            user, csrf_token, seen_at = found
            if now - seen_at > _SEEN_EVERY_MS:
                # Looking at a page does not wait for long writers, a large import for one.
                with suppress(BusyError), lab.store.write() as connection:
                    people.touch_session(connection, now, token)
    preferences = dict(parse_qsl(request.cookies.get(lab.cookie("preferences"), "")[:1000]))
    chosen = user.locale if user is not None else preferences.get("locale", "")
    locale = chosen if chosen in LOCALES else None
    return Ask(
        lab=lab,
        request=request,
        user=user,
        session=token if user is not None else "",
        csrf_token=csrf_token,
        now=now,
        form=form,
        preferences=preferences,
        locale=locale or choose_locale(request.headers.get("accept-language", "")),
    )


def _refusal(route: Route, ask: Ask) -> Response | None:
    """What an unwelcome request gets: the sign-in page, or 403."""
    if route.access is not Access.ANYBODY and ask.user is None:
        if route.method == "GET":
            url = ask.request.url
            return ask.go("sign_in", next=url.path + (f"?{url.query}" if url.query else ""))
        return error_response(ask, 403)
    if route.method == "POST" and not _has_token(ask):
        return error_response(ask, 403)
    role = None if ask.user is None else ask.user.role
    wanted = {Access.LABELER: "labeler", Access.RESEARCHER: "researcher"}.get(route.access)
    return error_response(ask, 403) if wanted is not None and role != wanted else None


def _has_token(ask: Ask) -> bool:
    sent = ask.request.headers.get("x-csrf-token") or ask.field("csrf_token")
    known = ask.csrf_token
    if ask.user is None:
        known = ask.request.cookies.get(ask.lab.cookie("form"), "")
    return bool(known) and hmac.compare_digest(sent.encode(), known.encode())


def error_response(ask: Ask, status: int, wait_seconds: int = 0) -> Response:
    """An error, as a page or, for a script, as JSON."""
    headers = {"Retry-After": str(wait_seconds)} if wait_seconds else {}
    if "json" in ask.request.headers.get("accept", ""):
        return JSONResponse({"status": status}, status_code=status, headers=headers)
    page = ErrorPage(
        status=cast(Any, {503: 429}.get(status, status if status in _PAGES else 404)),
        wait_seconds=wait_seconds,
        limit_bytes=LARGEST_FORM,
    )
    response = ask.show(page, status)
    response.headers.update(headers)
    return response


def handle_errors(app: FastAPI, lab: Lab) -> None:
    """Errors outside a route: no such address, a body that is too large, a bug of ours."""

    async def http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        ask = await run_in_threadpool(_ask, lab, request, FormData())
        response = await run_in_threadpool(
            error_response, ask, {400: 404, 405: 404, 422: 404}.get(status, status)
        )
        response.status_code = status
        return response

    async def bug(request: Request, error: Exception) -> Response:
        reference = uuid.uuid4().hex[:12]
        page = getattr(request.scope.get("endpoint"), "page", "an unknown address")
        say(f"alignloop: error {reference} at {line(request.method)} {page}: {trace(error)}")
        # Without looking anybody up: it may be the database that does not answer.
        ask = await run_in_threadpool(_ask, lab, request, FormData(), with_user=False)
        return ask.show(ErrorPage(500, reference=reference), 500)

    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, bug)


def _one_of(value: str | None, allowed: tuple[str, ...]) -> str:
    return value if value in allowed else allowed[0]
