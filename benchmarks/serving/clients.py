"""Clients that read streamed answers one after another, each on a connection of its own, with little work per token."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Log:
    """What the clients saw."""

    seconds: float = 0.0
    tokens: int = 0
    """Of answers, by the server's own count; of those that the end cut off, pieces of text."""
    answers: int = 0
    first_seconds: list[float] = field(default_factory=list)
    """From a request to the first piece of its answer."""
    errors: list[str] = field(default_factory=list)
    broken: int = 0
    """Pieces with a character that is none."""


def load(
    port: int, model: str, prompts: Sequence[str], *, clients: int, seconds: float, max_tokens: int
) -> Log:
    """Let so many clients ask without a pause for so long."""
    return asyncio.run(_load(port, model, prompts, clients, seconds, max_tokens))


async def _load(
    port: int, model: str, prompts: Sequence[str], clients: int, seconds: float, max_tokens: int
) -> Log:
    log = Log()
    began = time.monotonic()
    end = began + seconds
    work = [
        _client(port, model, prompts, number, clients, end, max_tokens, log)
        for number in range(clients)
    ]
    await asyncio.gather(*work)
    log.seconds = min(time.monotonic() - began, seconds)
    return log


async def _client(
    port: int,
    model: str,
    prompts: Sequence[str],
    number: int,
    clients: int,
    end: float,
    max_tokens: int,
    log: Log,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    turn = number
    try:
        while time.monotonic() < end:
            asked = {
                "model": model,
                "messages": [{"role": "user", "content": prompts[turn % len(prompts)]}],
                "max_tokens": max_tokens,
                "seed": turn,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            try:
                async with asyncio.timeout(max(end - time.monotonic(), 0.001)):
                    await _answer(reader, writer, asked, log)
            except TimeoutError:
                return  # the time is up, in the middle of an answer
            turn += clients
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        log.errors.append(f"{type(error).__name__}: {error}")
    finally:
        writer.close()


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[str, object], log: Log
) -> None:
    body = json.dumps(asked).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    sent = time.monotonic()
    writer.write(head.encode() + body)
    status = await reader.readline()
    while (await reader.readline()).strip():
        pass
    if b" 200 " not in status:
        raise ValueError(status.decode().strip())
    pieces, is_begun = 0, False
    try:
        while size := int(await reader.readline(), 16):
            chunk = await reader.readexactly(size + 2)
            log.broken += b"\xef\xbf\xbd" in chunk
            words = chunk.count(b'"content":"') - chunk.count(b'"content":""')
            pieces += words
            if words and not is_begun:
                is_begun = True
                log.first_seconds.append(time.monotonic() - sent)
            if b'"error":' in chunk:
                raise ValueError(chunk.decode())
            if b'"usage":{' in chunk:
                usage = chunk[chunk.index(b'"usage":{') + 8 :]
                log.tokens += json.loads(usage[: usage.index(b"}") + 1])["completion_tokens"]
                log.answers += 1
                pieces = 0
        await reader.readline()
    finally:
        log.tokens += pieces
