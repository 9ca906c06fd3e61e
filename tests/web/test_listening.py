"""Addresses that are this machine's own, and sockets on them."""

from __future__ import annotations

import pytest

from alignloop.errors import ConfigError
from alignloop.web.listening import address_shown, is_loopback, listen


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, is_own: bool) -> None:
    assert is_loopback(host) == is_own


def test_a_free_port_is_found_and_shown() -> None:
    with listen("127.0.0.1", 0) as found:
        port = found.getsockname()[1]
        assert address_shown("127.0.0.1", found) == f"http://127.0.0.1:{port}"
        assert address_shown("::1", found) == f"http://[::1]:{port}"


def test_a_taken_port_is_told_of() -> None:
    with listen("127.0.0.1", 0) as found:
        port = found.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"127.0.0.1:{port} cannot be listened on .*--port 0"
        ):
            listen("127.0.0.1", port)
