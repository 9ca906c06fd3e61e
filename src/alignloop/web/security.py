"""What every response and every request has to have, whatever route it belongs to.

Requests that change something must come from our own pages: by `Sec-Fetch-Site`, or by `Origin` where a browser sends
no such header; a request with neither is refused. The session's token in the form is checked besides, by the app.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Scripts and styles from our own files alone, none in a page; no frame, no other host."""

_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
}


@dataclass(frozen=True, slots=True)
class Origins:
    """Where our pages are served: the hosts that requests may name."""

    hosts: frozenset[str]
    """Host names without ports."""
    behind_tls: bool = False

    @classmethod
    def of(cls, hosts: Iterable[str], *, behind_tls: bool = False) -> Origins:
        """From names as a person writes them."""
        return cls(frozenset(host.strip().lower() for host in hosts if host.strip()), behind_tls)


class SecurityMiddleware:
    """Checks host and origin, adds the headers, and keeps pages out of caches."""

    def __init__(self, app: ASGIApp, origins: Origins, cached: str = "/static/") -> None:
        self.app = app
        self.origins = origins
        self.cached = cached

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self.origins.behind_tls:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                if not (scope["path"].startswith(self.cached) and message["status"] == 200):
                    headers["Cache-Control"] = "no-store"
                del headers["server"]
            await send(message)

        problem = self._problem(scope)
        if problem is not None:
            await PlainTextResponse(f"{problem}\n", status_code=403)(scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)

    def _problem(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self.origins.hosts:
            return "this server does not answer to that host name (see --allow-host)"
        if scope["method"] in SAFE_METHODS:
            return None
        site = headers.get("sec-fetch-site")
        if site is not None:
            return None if site == "same-origin" else "this request came from another site"
        origin = headers.get("origin")
        if origin is None or origin == "null":
            return "a request that changes something has to say where it comes from"
        if urlsplit(origin).netloc.lower() != host.lower():
            return "this request came from another site"
        return None


def _name(host: str) -> str:
    """A host header without its port; brackets of an IPv6 address stay."""
    host = host.lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
