"""The checks around an app, by themselves: hosts, origins, headers, and whom a limit counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from alignloop.web.security import CSP, HEADERS, Origins, SecurityMiddleware, address_of

OURS = Origins.of(["localhost", "LAB.example.org:8080", "::1", "[fd00::2]", " 10.0.0.1 ", ""])


def test_hosts_are_as_a_browser_writes_them() -> None:
    assert OURS.hosts == {"localhost", "lab.example.org", "[::1]", "[fd00::2]", "10.0.0.1"}


def _asked(
    origins: Origins, headers: list[tuple[str, str]], method: str = "POST", **changes: Any
) -> tuple[int, dict[str, str]]:
    """(status, headers) of a request to an app that answers 200 to everything."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        given_ = [(b"server", b"x"), (b"content-security-policy", b"none of ours")]
        await send({"type": "http.response.start", "status": 200, "headers": given_})
        await send({"type": "http.response.body", "body": b""})

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": "/", "headers": raw, **changes}
    asyncio.run(SecurityMiddleware(app, origins)(scope, receive, send))
    found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:80", 200),
        ("LOCALHOST:65535", 200),
        ("lab.example.org", 200),
        ("[::1]", 200),
        ("[::1]:8080", 200),
        ("[FD00::2]:1", 200),
        ("10.0.0.1:99", 200),
        ("localhost.", 403),
        ("localhost:", 403),
        ("localhost:x", 403),
        ("localhost:123456", 403),
        ("localhost:80@evil.example", 403),
        ("localhost/evil", 403),
        ("evil.example", 403),
        ("xlocalhost", 403),
        ("::1", 403),
        ("[::1]evil", 403),
        ("[::2]", 403),
        ("", 403),
        ("localhost\x00", 403),
    ],
)
def test_hosts(host: str, status: int) -> None:
    assert _asked(OURS, [("host", host)], "GET")[0] == status


def test_no_host_and_two_hosts_are_refused() -> None:
    assert _asked(OURS, [], "GET")[0] == 403
    assert _asked(OURS, [("host", "localhost"), ("host", "localhost")], "GET")[0] == 403


LOCAL = ("host", "localhost:8080")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("origin", "http://localhost:8080")], 200),
        ([("origin", "HTTP://LOCALHOST:8080")], 200),
        ([("origin", "https://localhost:8080")], 200),  # a proxy with TLS that nobody told us of
        ([("sec-fetch-site", "same-origin")], 200),
        ([("sec-fetch-site", "same-origin"), ("origin", "null")], 200),
        ([], 403),
        ([("origin", "null")], 403),
        ([("origin", "http://localhost")], 403),
        ([("origin", "http://localhost:8081")], 403),
        ([("origin", "http://localhost:8080.evil.example")], 403),
        ([("origin", "http://localhost:8080@evil.example")], 403),
        ([("origin", "http://localhost:8080/x")], 403),
        ([("origin", "ftp://localhost:8080")], 403),
        ([("origin", "localhost:8080")], 403),
        ([("origin", "http://[")], 403),
        ([("sec-fetch-site", "same-site"), ("origin", "http://localhost:8080")], 403),
        ([("sec-fetch-site", "cross-site"), ("origin", "http://localhost:8080")], 403),
        ([("sec-fetch-site", "none"), ("origin", "http://localhost:8080")], 403),
        ([("sec-fetch-site", "")], 403),
    ],
)
def test_where_a_form_comes_from(headers: list[tuple[str, str]], status: int) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "MADEUP"):
        assert _asked(OURS, [LOCAL, *headers], method)[0] == status
    for method in ("GET", "HEAD", "OPTIONS"):
        assert _asked(OURS, [LOCAL, *headers], method)[0] == 200


def test_behind_tls_the_scheme_counts() -> None:
    strict = Origins.of(["lab.example.org"], behind_tls=True)
    host = ("host", "lab.example.org")

    assert _asked(strict, [host, ("origin", "https://lab.example.org")])[0] == 200
    assert _asked(strict, [host, ("origin", "http://lab.example.org")])[0] == 403
    named = ("host", "lab.example.org:443")
    assert _asked(strict, [named, ("origin", "https://lab.example.org")])[0] == 200
    assert _asked(strict, [named, ("origin", "https://lab.example.org:8443")])[0] == 403


def test_headers_are_ours_whatever_the_app_says() -> None:
    for status, headers in (_asked(OURS, [LOCAL], "GET"), _asked(OURS, [LOCAL], "POST")):
        assert status in (200, 403)
        assert headers["content-security-policy"] == CSP
        assert {name.lower() for name in HEADERS} <= set(headers)
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
        assert "strict-transport-security" not in headers


def test_what_is_no_http_passes() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> Any:
        raise AssertionError

    asyncio.run(SecurityMiddleware(app, OURS)({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_no_other_host_than_ours_gets_in(host: str) -> None:
    status, _ = _asked(OURS, [("host", host)], "GET")

    bare = host.lower().rsplit(":", 1)[0] if not host.endswith("]") else host.lower()
    assert status == 403 or bare in OURS.hosts or host.lower() in OURS.hosts


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_no_other_origin_than_ours_gets_in(origin: str) -> None:
    status, _ = _asked(OURS, [LOCAL, ("origin", origin)])

    assert status == 403 or origin.lower() in ("http://localhost:8080", "https://localhost:8080")


PLAIN, TLS = Origins.of(["x"]), Origins.of(["x"], behind_tls=True)


@pytest.mark.parametrize(
    ("origins", "peer", "forwarded", "counted"),
    [
        (PLAIN, "10.0.0.9", [], "10.0.0.9"),
        (PLAIN, "127.0.0.1", ["6.6.6.6"], "127.0.0.1"),
        (TLS, "127.0.0.1", ["6.6.6.6"], "6.6.6.6"),
        (TLS, "::1", ["6.6.6.6"], "6.6.6.6"),
        (TLS, "127.0.0.1", ["1.1.1.1, 6.6.6.6"], "6.6.6.6"),
        (TLS, "127.0.0.1", ["1.1.1.1", "6.6.6.6"], "6.6.6.6"),
        (TLS, "127.0.0.1", ["6.6.6.6, nonsense"], "127.0.0.1"),
        (TLS, "127.0.0.1", [], "127.0.0.1"),
        (TLS, "10.0.0.9", ["6.6.6.6"], "10.0.0.9"),
        (TLS, "127.0.0.1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        (PLAIN, "2001:db8:1:2::9", [], "2001:db8:1:2::/64"),
        (PLAIN, "::ffff:10.0.0.9", [], "10.0.0.9"),
        (PLAIN, "", [], ""),
    ],
)
def test_whom_a_limit_counts(
    origins: Origins, peer: str, forwarded: list[str], counted: str
) -> None:
    scope = {
        "client": (peer, 1) if peer else None,
        "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded],
    }

    assert address_of(scope, origins) == counted
