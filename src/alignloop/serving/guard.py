"""What every request passes before a model hears of it: whose it is, how often they ask, and how much they send."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alignloop.errors import ConfigError
from alignloop.serving.metrics import Metrics
from alignloop.serving.problems import ApiProblem
from alignloop.web.limits import RateLimit
from alignloop.web.security import SAFE_METHODS, Origins, address_of, host_name

LARGEST_BODY = 4 * 1024 * 1024
"""Bytes of a request."""
SHORTEST_KEY = 16
"""Characters of an API key."""
OPEN = "/health"
"""What is answered without a key, since whoever watches over servers has none."""

_BODY_S = 30.0
_LONGEST_KEY = 1000


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask, and how much."""

    keys: tuple[bytes, ...] = ()
    """SHA-256 of every API key; without any, everybody may ask who can reach the server."""
    hosts: frozenset[str] | None = None
    """Names that requests may call this server by; None where any will do."""
    limit: RateLimit | None = None
    """Requests per key, or per address where there are no keys."""
    largest_body: int = LARGEST_BODY
    behind_tls: bool = False
    """Whether a proxy of this machine's stands before the server: then the addresses that it names are counted."""


def read_keys(path: Path) -> tuple[bytes, ...]:
    """SHA-256 of the keys in a file, one on each line; empty lines and those that begin with # are none.

    Raises:
        ConfigError: there is no such file, no key in it, or one that is short enough to guess.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}); write one API key on each line"
        ) from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise ConfigError(f"{path}: no API key in it; write one on each line")
    for number, key in enumerate(keys, start=1):
        if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                f"{path}: key {number} is not {SHORTEST_KEY} or more printable ASCII characters; "
                'make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


class Guard:
    """Stands around the app: counts its answers, and refuses what it need not see."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        metrics: Metrics,
        clock: Callable[[], float],
        routes: frozenset[str],
    ) -> None:
        """A guard.

        Args:
            clock: seconds since 1970, as rate limits are kept.
            routes: addresses that are counted by name; all others are one.
        """
        self.app = app
        self._access, self._metrics, self._clock, self._routes = access, metrics, clock, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = scope["path"] if scope["path"] in self._routes else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(route, message["status"])
            await send(message)

        try:
            self._check(scope)
            body = await self._body(scope, receive)
        except ApiProblem as problem:
            await problem.response()(scope, receive, counted)
            return
        waiting = [body]

        async def replayed() -> Message:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            return await receive()

        await self.app(scope, replayed, counted)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._access.hosts is not None:
            named = headers.getlist("host")
            if len(named) != 1 or host_name(named[0].lower()) not in self._access.hosts:
                raise ApiProblem(
                    403,
                    "without API keys this server answers to the names of its own machine alone; see --api-key-file",
                )
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise ApiProblem(403, "pages of other sites may not ask this server")
        if scope["path"] == OPEN:
            return
        asker = self._asker(scope, headers)
        limit = self._access.limit
        if limit is not None and scope["method"] not in SAFE_METHODS and not limit.allows(asker):
            raise ApiProblem(
                429,
                "too many requests; try again later",
                code="rate_limit_exceeded",
                retry_after=limit.seconds_left(asker, self._clock()),
            )

    def _asker(self, scope: Scope, headers: Headers) -> str:
        """Whose requests are counted together: a key's, or an address's where there are no keys."""
        if not self._access.keys:
            return address_of(scope, Origins(frozenset(), self._access.behind_tls))
        given = headers.getlist("authorization")
        scheme, _, key = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        digest = hashlib.sha256(key.strip()[:_LONGEST_KEY].encode()).digest()
        # All of them each time: how long it takes tells nothing of which was nearly right.
        found = [hmac.compare_digest(digest, known) for known in self._access.keys]
        if scheme.lower() != "bearer" or not any(found):
            raise ApiProblem(
                401,
                "a valid API key is needed, as 'Authorization: Bearer KEY'",
                code="invalid_api_key",
            )
        return digest.hex()

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        largest = self._access.largest_body
        too_large = ApiProblem(
            413, f"a request has at most {largest} bytes", code="request_too_large"
        )
        declared = Headers(scope=scope).get("content-length", "0")
        if len(declared) > 12 or (declared.isdecimal() and int(declared) > largest):
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ApiProblem(400, "the request was not sent to its end")
                    body += message.get("body", b"")
                    if len(body) > largest:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise ApiProblem(408, "the request took too long to be sent") from None
