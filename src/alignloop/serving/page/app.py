"""The page as one app, and the app that answers for the page and the API together."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alignloop.progress import say
from alignloop.serving.metrics import Metrics
from alignloop.serving.page.access import Site
from alignloop.serving.page.looks import FILES, PATHS
from alignloop.serving.page.routes import refusal, routes
from alignloop.web.logged import trace
from alignloop.web.security import SecurityMiddleware

FORGET_S = 60.0
"""How often the server looks for conversations that are old enough to be forgotten."""
_OF_API = ("/health", "/metrics", "/openapi.json")


def create_page(site: Site) -> ASGIApp:
    """The page, inside its checks."""
    prefix = PATHS["static"].partition("{")[0] + FILES.version

    async def http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return await refusal(site, request, status)

    async def bug(request: Request, error: Exception) -> Response:
        # What kind of error and where, without what somebody wrote.
        reference = uuid.uuid4().hex[:12]
        say(f"alignloop: error {reference} on the chat page: {trace(error)}")
        return await refusal(site, request, 500)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        forgetting = asyncio.create_task(_forget(site))
        try:
            yield
        finally:
            forgetting.cancel()
            with suppress(asyncio.CancelledError):
                await forgetting

    app = Starlette(
        lifespan=lifespan,
        routes=[*routes(site), Mount(prefix, FILES.app(), name="static")],
        exception_handlers={HTTPException: http_error, Exception: bug},
    )
    return SecurityMiddleware(app, site.origins)


async def _forget(site: Site) -> None:
    """Conversations that are too old go while the server runs, whether anybody asks for one or not."""
    while True:
        site.conversations.forget(site.clock())
        await asyncio.sleep(FORGET_S)


class Front:
    """The API at its addresses, and the page at all others, and at the server's start and end."""

    def __init__(self, api: ASGIApp, page: ASGIApp, metrics: Metrics) -> None:
        """Both, and where the page's answers are counted."""
        self._api, self._page, self._metrics = api, page, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._page(scope, receive, send)
            return
        if scope["type"] != "http" or _is_of_api(scope["path"]):
            await self._api(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered("page", message["status"])
            await send(message)

        await self._page(scope, receive, counted)


def _is_of_api(path: str) -> bool:
    return path.startswith("/v1/") or path in _OF_API
