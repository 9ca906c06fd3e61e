"""Answers while somebody waits for them: work that ends when the client goes away, and server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

DONE = b"data: [DONE]\n\n"
"""The last event of a stream."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class ClientGone(Exception):
    """Whoever asked is not there any more."""


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """What the work comes to, if the client stays that long.

    Raises:
        ClientGone: it did not; the work was cancelled.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def event(value: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + as_json(value) + b"\n\n"


def as_json(value: Any) -> bytes:
    """JSON, compact, characters as they are."""
    return _ENCODER.encode(value).encode()


class EventStream(Response):
    """Server-sent events. `close` is called whatever becomes of the client."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncIterator[bytes], close: Callable[[], None], longest: float
    ) -> None:
        """A stream.

        Args:
            longest: seconds after which a client that does not read is given up.
        """
        super().__init__()
        self._events, self._close, self._longest = events, close, longest
        del self.headers["content-length"]
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"  # proxies are to pass events on as they come

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            async with asyncio.timeout(self._longest):
                await while_connected(receive, self._send_all(send))
        except (ClientGone, TimeoutError, OSError):
            pass
        finally:
            self._close()

    async def _send_all(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async for body in self._events:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def after(first: T, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    """What was had already, then the rest."""
    yield first
    async for one in rest:
        yield one
