"""How both web apps listen: on loopback unless somebody says otherwise, until a signal, and then to the last answer."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket

import uvicorn
from starlette.types import ASGIApp

from alignloop.errors import ConfigError

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""What this machine calls itself."""


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Args:
        port: 0 takes a free one.

    Raises:
        ConfigError: the address is taken, or is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host.strip("[]"), port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({error.strerror}); try --port 0 for any free one"
        ) from None
    return found


def address_shown(host: str, listening: socket.socket) -> str:
    """The address as a browser takes it."""
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{shown}:{listening.getsockname()[1]}"


def run_until_signal(
    app: ASGIApp,
    listening: socket.socket,
    *,
    grace: int,
    connections: int,
    has_lifespan: bool = False,
) -> int | None:
    """Serve until SIGTERM or Ctrl-C; returns that signal's number.

    Args:
        grace: seconds that answers under way have left after the signal.
        connections: more at once are answered with 503.
        has_lifespan: whether the app has duties of its own, from its start to its end (ASGI's lifespan).
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=grace,
        limit_concurrency=connections,
        # Whatever else is installed: this one bounds what it reads of a request's head.
        http="h11",
        h11_max_incomplete_event_size=64 * 1024,
        ws="none",
        lifespan="on" if has_lifespan else "off",
    )
    # The app has said where a bug is; a traceback would quote what somebody wrote.
    logging.getLogger("uvicorn.error").addFilter(_without_traceback)
    server = uvicorn.Server(config)
    received: list[int] = []

    def noted(number: int, frame: object) -> None:
        # uvicorn's own would raise the signal once more after the last answer, and so end the process.
        del frame
        server.force_exit = server.should_exit and number == signal.SIGINT
        server.should_exit = True
        received.append(number)

    server.handle_exit = noted  # type: ignore[method-assign]
    server.run(sockets=[listening])
    return received[0] if received else None


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info:
        record.exc_info, record.exc_text = None, None
        record.msg, record.args = "a request ended in an error", ()
    return True
