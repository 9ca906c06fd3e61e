"""`alignloop label serve`: the app over a project's store, on loopback unless told otherwise."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from sqlalchemy import Connection

from alignloop.errors import ConfigError
from alignloop.labeling.app.access import Lab
from alignloop.labeling.app.guides import install_guidelines
from alignloop.labeling.app.paths import path_to
from alignloop.labeling.app.server import create_app
from alignloop.store import people
from alignloop.store.project import Project
from alignloop.web.listening import (
    LOCAL_NAMES,
    address_shown,
    is_loopback,
    listen,
    run_until_signal,
)
from alignloop.web.security import Origins

SETUP_EMAIL = "researcher@localhost"
"""What the first account signs in with, unless another address is given."""
_LAST_READ_S = 10
_GRACE_S = 10
_CONNECTIONS = 500


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
        listening = listen(host, port)
        with closing(listening):
            address = address_shown(host, listening)
            aliases = LOCAL_NAMES if is_loopback(host) else ()
            origins = Origins.of([host, *aliases, *allowed_hosts], behind_tls=behind_tls)
            say(f"Labeling {project.folder} at {address}  (Ctrl-C stops)")
            if setup is not None:
                say("Nobody can sign in yet. Open this link once to set up the first account:")
                say(f"  {address}{path_to('invite', token=setup)}")
                say(f"You will sign in as {email}; invite your labelers from the page Labelers.")
            lab = Lab(store, origins, project.folder)
            warming = lab.memory.warm(store)
            try:
                number = run_until_signal(
                    create_app(lab), listening, grace=_GRACE_S, connections=_CONNECTIONS
                )
                return 0 if number in (None, signal.SIGINT) else 128 + number
            finally:
                warming.join(_LAST_READ_S)  # the store is closed after it
    finally:
        if lock is not None:
            lock.release()
        store.close()


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


def _now() -> int:
    return time.time_ns() // 1_000_000
