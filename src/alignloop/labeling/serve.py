"""`alignloop label serve`: the app over a project's store, on loopback unless told otherwise."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import uvicorn
from sqlalchemy import Connection

from alignloop.errors import ConfigError
from alignloop.labeling.app.access import Lab
from alignloop.labeling.app.guides import install_guidelines
from alignloop.labeling.app.paths import path_to
from alignloop.labeling.app.server import create_app
from alignloop.store import people
from alignloop.store.project import Project
from alignloop.web.security import Origins

SETUP_EMAIL = "researcher@localhost"
"""What the first account signs in with, unless another address is given."""
_LAST_READ_S = 10


def serve(
    project: Project,
    *,
    host: str,
    port: int,
    allowed_hosts: Sequence[str],
    public: bool,
    behind_tls: bool,
    email: str,
    say: Callable[[str], None],
) -> int:
    """Serve until a signal; returns the exit status.

    Args:
        port: 0 takes a free one.
        allowed_hosts: names under which browsers may ask, beside `host`.
        public: that somebody said so: without it, addresses beyond this machine are refused.
        behind_tls: whether a proxy in front speaks TLS: cookies and headers are strict then.
        email: of the first researcher, where there is none yet.
        say: gets the lines for the terminal.

    Raises:
        ConfigError: the address is beyond this machine and nobody said so, or it is taken.
        StoreError: the store cannot be opened, or another process serves it.
    """
    if not is_loopback(host) and not public:
        raise ConfigError(
            f"{host} is beyond this machine: passwords and labels would cross the network. Put a proxy with TLS before "
            "it, then say --public --behind-tls; plain HTTP in a closed network needs --public alone"
        )
    store = project.open()
    lock = store.alone()
    try:
        with store.write() as connection:
            install_guidelines(connection, _now(), "setup")
            setup = _setup_token(connection, email)
        listening = _listen(host, port)
        with closing(listening):
            address = f"http://{_shown(host)}:{listening.getsockname()[1]}"
            origins = Origins.of([host, *_aliases(host), *allowed_hosts], behind_tls=behind_tls)
            say(f"Labeling {project.folder} at {address}  (Ctrl-C stops)")
            if setup is not None:
                say("Nobody can sign in yet. Open this link once to set up the first account:")
                say(f"  {address}{path_to('invite', token=setup)}")
                say(f"You will sign in as {email}; invite your labelers from the page Labelers.")
            lab = Lab(store, origins, project.folder)
            warming = lab.memory.warm(store)
            try:
                return _run(lab, listening)
            finally:
                warming.join(_LAST_READ_S)  # the store is closed after it
    finally:
        if lock is not None:
            lock.release()
        store.close()


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _run(lab: Lab, listening: socket.socket) -> int:
    config = uvicorn.Config(
        create_app(lab),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=10,
        limit_concurrency=500,
        # Whatever else is installed: this one bounds what it reads of a request's head.
        http="h11",
        h11_max_incomplete_event_size=64 * 1024,
        ws="none",
        lifespan="off",
    )
    # The app has said where a bug is; a traceback would quote what somebody wrote.
    logging.getLogger("uvicorn.error").addFilter(_without_traceback)
    server = uvicorn.Server(config)
    received: list[int] = []
    handle_exit = server.handle_exit

    def noted(number: int, frame: object) -> None:
        received.append(number)
        handle_exit(number, None)

    server.handle_exit = noted  # type: ignore[method-assign]
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:  # raised again by uvicorn, after everything was answered
        received.append(signal.SIGINT)
    return 128 + received[0] if received and received[0] != signal.SIGINT else 0


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info:
        record.exc_info, record.exc_text = None, None
        record.msg, record.args = "a request ended in an error", ()
    return True


def _setup_token(connection: Connection, email: str) -> str | None:
    """A one-time link for the first researcher, new at every start until somebody has used one.

    Raises:
        ConfigError: somebody else has that address.
    """
    if people.has_researcher(connection):
        return None
    user = people.find_user(connection, email=email)
    if user is not None and (user.role != "researcher" or user.state != "invited"):
        raise ConfigError(
            f"no researcher can sign in, and {email} is a {user.state} {user.role}; give the first one another --email"
        )
    if user is None:
        user = people.add_user(
            connection, _now(), "setup", email=email, name="Researcher", role="researcher"
        )
    return people.invite(connection, _now(), "setup", user)


def _listen(host: str, port: int) -> socket.socket:
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


def _aliases(host: str) -> list[str]:
    return ["localhost", "127.0.0.1", "[::1]"] if is_loopback(host) else []


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _now() -> int:
    return time.time_ns() // 1_000_000
