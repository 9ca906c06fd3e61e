"""What every response and every request has to have, whatever route it belongs to.

Requests that change something must come from our own pages: by `Sec-Fetch-Site`, or by `Origin` where a browser sends
no such header; a request with neither is refused. The session's token in the form is checked besides, by the app.
"""

from __future__ import annotations

import ipaddress
import re
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

HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": with that, forms of our own say "Origin: null", and where there is no TLS that is all that a
    # browser says about where a form comes from. To other sites no referrer goes either way.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
}
"""On every response, errors included."""

_LONGEST_PATH = 2000
"""Characters of an address to go on to."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Origins:
    """Where our pages are served: the hosts that requests may name."""

    hosts: frozenset[str]
    """Host names without ports; IPv6 addresses in brackets."""
    behind_tls: bool = False

    @classmethod
    def of(cls, hosts: Iterable[str], *, behind_tls: bool = False) -> Origins:
        """From names as a person writes them: with a port or without, IPv6 addresses with brackets or without."""
        return cls(frozenset(_written(host) for host in hosts if host.strip()), behind_tls)


class SecurityMiddleware:
    """Checks host and origin, adds the headers, and keeps pages out of caches. Stands around everything else."""

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
                for name, value in HEADERS.items():
                    headers[name] = value
                if self.origins.behind_tls:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                is_file = scope["path"].startswith(self.cached)
                if not (is_file and message["status"] in (200, 206, 304)):
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
        named = headers.getlist("host")
        host = named[0].lower() if len(named) == 1 else ""
        if host_name(host) not in self.origins.hosts:
            return "this server does not answer to that host name (see --allow-host)"
        if scope["method"] in SAFE_METHODS:
            return None
        site = headers.get("sec-fetch-site")
        if site is not None:
            return None if site == "same-origin" else "this request came from another site"
        origin = headers.get("origin")
        if origin is None or origin == "null":
            return "a request that changes something has to say where it comes from"
        return (
            None if self._is_ours(origin.lower(), host) else "this request came from another site"
        )

    def _is_ours(self, origin: str, host: str) -> bool:
        """Whether an origin is that of the page's own host. Behind TLS, a page without it is another's."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        schemes = ("https",) if self.origins.behind_tls else ("http", "https")
        usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
        return parts.scheme in schemes and origin == f"{parts.scheme}://{host.removesuffix(usual)}"


def address_of(scope: Scope, origins: Origins) -> str:
    """Whom a limit by address counts: who asks, or whom our own proxy asks for; of IPv6, the network.

    Only a proxy on this machine is believed, and of what it says only what it added itself, which stands last.
    """
    peer = (scope.get("client") or ("", 0))[0]
    if origins.behind_tls and _is_loopback(peer):
        said = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
        last = said.rpartition(",")[2].strip()
        if _parsed(last) is not None:
            peer = last
    address = _parsed(peer)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return peer if address is None else str(address)


def own_path(path: str) -> str:
    """An address of ours to go on to, as a form or a link names it; anything else becomes the home page."""
    is_plain = path.isprintable() and "\ufffd" not in path and len(path) <= _LONGEST_PATH
    is_own = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_plain and is_own else "/"


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def _is_loopback(address: str) -> bool:
    found = _parsed(address)
    return found is not None and found.is_loopback


def host_name(host: str) -> str | None:
    """A host header, in small letters, without its port; None where it is more than a name, or less."""
    found = _HOST.fullmatch(host)
    return None if found is None else found[1]


def _written(host: str) -> str:
    """A host as somebody wrote it, as a browser would."""
    host = host.strip().lower()
    if host.count(":") > 1 and not host.startswith("["):
        return f"[{host}]"
    return host_name(host) or host
