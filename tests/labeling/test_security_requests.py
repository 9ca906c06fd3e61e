"""What every request has to show and every response has to say, whatever route it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx import Response

from alignloop.labeling.app import access
from alignloop.labeling.app.access import Lab
from alignloop.labeling.app.paths import PATHS, path_to
from alignloop.labeling.app.render import FILES
from alignloop.labeling.app.server import ALL_ROUTES, create_app
from alignloop.web.forms import LARGEST_FORM, MOST_FIELDS
from alignloop.web.security import CSP, Origins
from tests.labeling.client import ORIGIN, Client, anonymous
from tests.labeling.world import World, changed, digests, world

POSTS = [route for routes in ALL_ROUTES for route in routes.found if route.method == "POST"]
GETS = [route for routes in ALL_ROUTES for route in routes.found if route.method == "GET"]
FROM_US = {"Origin": ORIGIN}
STRANGERS = {
    "nothing": {},
    "foreign origin": {"Origin": "https://evil.example"},
    "null origin": {"Origin": "null"},
    "origin of another port": {"Origin": f"{ORIGIN}:8081"},
    "origin that ends like ours": {"Origin": "http://evillocalhost"},
    "origin that begins like ours": {"Origin": f"{ORIGIN}.evil.example"},
    "origin with ours as a user": {"Origin": "http://localhost@evil.example"},
    "no url": {"Origin": "localhost"},
    "broken url": {"Origin": "http://[::1"},
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "same-site": {"Sec-Fetch-Site": "same-site"},
    "none": {"Sec-Fetch-Site": "none"},
    "cross-site that claims our origin": {"Sec-Fetch-Site": "cross-site", **FROM_US},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("requests")) as found:
        yield found


@pytest.fixture
def people_(lab: World) -> dict[str, Client]:
    return {"labeler": lab.site.sign_in(lab.ann), "researcher": lab.site.sign_in(lab.boss)}


def _whole_form(route: access.Route, token: str) -> dict[str, str]:
    return {"csrf_token": token, **dict.fromkeys(route.fields, "1")}


def _client(clients: dict[str, Client], route: access.Route) -> Client:
    return clients["researcher" if route.access is access.Access.RESEARCHER else "labeler"]


def test_there_are_posts_to_try() -> None:
    assert len(POSTS) >= 15


@pytest.mark.parametrize("stranger", STRANGERS)
def test_no_form_of_a_stranger_changes_anything(
    lab: World, people_: dict[str, Client], stranger: str
) -> None:
    addresses, before = lab.addresses(), digests(lab.store)
    for route in POSTS:
        client = _client(people_, route)
        response = client.http.post(
            addresses[route.name],
            data=_whole_form(route, client.csrf_token),
            headers=STRANGERS[stranger],
        )
        assert response.status_code == 403, route.name
        assert "set-cookie" not in response.headers, route.name

    assert changed(before, digests(lab.store)) == []


@pytest.mark.parametrize("token", ["", "made-up", "another session's", "the form's of a stranger"])
def test_no_form_without_this_session_s_token_changes_anything(
    lab: World, people_: dict[str, Client], token: str
) -> None:
    other = lab.site.sign_in(lab.bob)
    visitor = anonymous(lab.site.lab)
    visitor.get("sign_in")
    tokens = {
        "another session's": other.csrf_token,
        "the form's of a stranger": visitor.http.cookies[lab.site.lab.cookie("form")],
    }
    addresses, before = lab.addresses(), digests(lab.store)
    for route in POSTS:
        client = _client(people_, route)
        sent = _whole_form(route, tokens.get(token, token))
        in_form = client.http.post(addresses[route.name], data=sent, headers=FROM_US)
        in_header = client.http.post(
            addresses[route.name],
            data={**sent, "csrf_token": client.csrf_token},
            headers={**FROM_US, "X-CSRF-Token": tokens.get(token, token) or "-"},
        )
        assert (in_form.status_code, in_header.status_code) == (403, 403), route.name

    assert changed(before, digests(lab.store)) == []


def test_a_visitor_s_form_needs_the_token_of_that_browser(lab: World) -> None:
    first, second = anonymous(lab.site.lab), anonymous(lab.site.lab)
    first.get("sign_in")
    second.get("sign_in")
    theirs = first.http.cookies[lab.site.lab.cookie("form")]
    sent = {"email": "a@example.org", "password": "x", "theme": "dark", "csrf_token": theirs}
    for name in ("sign_in", "settings"):
        assert second.http.post(path_to(name), data=sent, headers=FROM_US).status_code == 403
        assert first.http.post(path_to(name), data=sent, headers=FROM_US).status_code != 403


def test_sec_fetch_site_of_our_own_pages_will_do(lab: World, people_: dict[str, Client]) -> None:
    client = people_["labeler"]
    answer = client.http.post(
        path_to("settings"),
        data={"csrf_token": client.csrf_token, "theme": "dark"},
        headers={"Sec-Fetch-Site": "same-origin"},
    )

    assert answer.status_code == 303


def test_looking_changes_nothing(lab: World, people_: dict[str, Client]) -> None:
    addresses = lab.addresses()
    visitor = anonymous(lab.site.lab)
    lab.site.clock.pass_(61_000)  # so that every session is noted as seen anew
    before = digests(lab.store)
    for route in GETS:
        for client in (*people_.values(), visitor):
            for query in ("", "?purpose=evaluation&kind=few_shot&next=/&page=2&campaign=x"):
                answer = client.http.get(addresses[route.name] + query)
                assert answer.status_code < 500, route.name
        assert changed(before, digests(lab.store)) == [], route.name


def test_a_labeler_who_only_looks_takes_no_task(tmp_path: Path) -> None:
    with world(tmp_path) as lab:
        bob = lab.site.sign_in(lab.bob)
        before = digests(lab.store)
        for route in GETS:
            bob.http.get(lab.addresses()[route.name])

        assert changed(before, digests(lab.store)) == []


@pytest.mark.parametrize(
    "method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "OPTIONS", "HEAD"]
)
def test_other_methods_are_refused(lab: World, people_: dict[str, Client], method: str) -> None:
    before = digests(lab.store)
    for name, address in lab.addresses().items():
        answer = people_["labeler"].http.request(method, address, headers=FROM_US)
        assert answer.status_code in (403, 404, 405), (name, answer.status_code)

    assert changed(before, digests(lab.store)) == []


# --- headers ----------------------------------------------------------------------------------------------------


def _check_headers(response: Response, *, cached: bool = False) -> None:
    headers = response.headers
    assert headers["content-security-policy"] == CSP
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers
    if cached:
        assert headers["cache-control"] == "public, max-age=31536000, immutable"
    else:
        assert headers["cache-control"] == "no-store"


def test_the_policy_allows_our_own_files_and_nothing_else() -> None:
    allowed = dict(part.strip().split(" ", 1) for part in CSP.split(";"))
    assert allowed["default-src"] == "'none'"
    assert allowed["frame-ancestors"] == allowed["base-uri"] == "'none'"
    assert set(allowed.values()) == {"'none'", "'self'"}


def test_every_page_has_the_headers(lab: World, people_: dict[str, Client]) -> None:
    addresses = lab.addresses()
    for route in GETS:
        for client in (*people_.values(), anonymous(lab.site.lab)):
            _check_headers(client.http.get(addresses[route.name]))
    for route in POSTS:
        for client in people_.values():
            _check_headers(client.http.post(addresses[route.name], headers=FROM_US))


def test_files_have_the_headers_and_may_be_kept(lab: World) -> None:
    http = anonymous(lab.site.lab).http
    address = path_to("static", version=FILES.version, file="app.css")
    found = http.get(address)
    again = http.get(address, headers={"If-None-Match": found.headers["etag"]})
    part = http.get(address, headers={"Range": "bytes=0-9"})

    assert (found.status_code, again.status_code, part.status_code) == (200, 304, 206)
    for response in (found, again, part):
        _check_headers(response, cached=True)


@pytest.mark.parametrize(
    "file",
    [
        "nothing.css",
        "../render.py",
        "..%2frender.py",
        "%2e%2e/render.py",
        "/etc/passwd",
        "..\\render.py",
        "",
        ".",
    ],
)
def test_nothing_else_is_served_as_a_file(lab: World, file: str) -> None:
    answer = anonymous(lab.site.lab).http.get(f"/static/{FILES.version}/{file}")

    assert answer.status_code in (404, 405)
    assert "def " not in answer.text
    _check_headers(answer)


def test_errors_have_the_headers(lab: World, people_: dict[str, Client]) -> None:
    client = people_["labeler"]
    too_large = {"csrf_token": client.csrf_token, "next": "x" * LARGEST_FORM}
    answers = {
        404: client.http.get("/no/such/page"),
        405: client.http.delete("/", headers=FROM_US),
        403: client.http.get("/", headers={"Host": "evil.example"}),
        413: client.http.post("/settings", data=too_large, headers=FROM_US),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        _check_headers(answer)


def test_a_bug_has_the_headers_and_tells_nothing(
    lab: World, capsys: pytest.CaptureFixture[str]
) -> None:
    routes = access.Routes()

    @routes.get("work", access.Access.LABELER)
    def broken(ask: access.Ask) -> Response:
        raise RuntimeError("the prompt was: tell me a secret")

    client = lab.site.sign_in(lab.ann)
    client.http.app = create_app(lab.site.lab, [routes])
    client.http._transport.app = client.http.app  # type: ignore[attr-defined]
    client.http._transport.raise_server_exceptions = False  # type: ignore[attr-defined]

    answer = client.get("work")

    told = capsys.readouterr().err
    assert answer.status_code == 500
    _check_headers(answer)
    assert "secret" not in answer.text + told
    assert "RuntimeError in test_security_requests.py" in told
    assert re.search(r"error ([0-9a-f]{12}) at GET work", told)[1] in answer.text  # type: ignore[index]


def test_the_page_of_a_bug_asks_no_database(
    lab: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = lab.site.sign_in(lab.ann)
    client.http._transport.raise_server_exceptions = False  # type: ignore[attr-defined]

    def gone(*_: object) -> object:
        raise OSError("the disk with 'a prompt' is gone")

    monkeypatch.setattr(type(lab.store), "read", gone)
    monkeypatch.setattr(type(lab.store), "write", gone)
    for answer in (client.get("home"), client.http.get("/no/such/page")):
        assert answer.status_code == 500
        _check_headers(answer)
    assert "a prompt" not in capsys.readouterr().err


# --- hosts and TLS ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "localhost:80@evil.example",
        "localhost:80/evil",
        "localhost:port",
        "localhost?",
        "localhost ",
        "localhost\t",
        "[::1",
        "",
        "localhost, evil.example",
    ],
)
def test_a_host_that_is_not_ours_is_refused(lab: World, host: str) -> None:
    http = anonymous(lab.site.lab).http

    assert http.get("/sign-in", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost:8080", "localhost:80"])
def test_our_host_is_ours_with_any_port(lab: World, host: str) -> None:
    assert anonymous(lab.site.lab).http.get("/sign-in", headers={"Host": host}).status_code == 200


def test_two_hosts_are_none(lab: World) -> None:
    http = anonymous(lab.site.lab).http
    request = http.build_request("GET", "/sign-in")
    request.headers = type(request.headers)([("host", "localhost"), ("host", "localhost")])

    assert http.send(request).status_code == 403


def _behind_tls(lab: World) -> Client:
    origins = Origins.of(["labels.example.org"], behind_tls=True)
    strict = Lab(lab.store, origins, lab.site.lab.folder, clock=lab.site.clock)
    client = anonymous(strict)
    client.http.base_url = "https://labels.example.org"  # type: ignore[assignment]
    return client


def test_behind_tls_cookies_and_headers_are_strict(lab: World) -> None:
    client = _behind_tls(lab)
    shown = client.http.get("/sign-in")

    assert shown.headers["strict-transport-security"] == "max-age=31536000"
    [cookie] = shown.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-alignloop_form=")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


@pytest.mark.parametrize(
    ("origin", "status"), [("https://labels.example.org", 303), ("http://labels.example.org", 403)]
)
def test_behind_tls_a_page_without_it_is_another_s(lab: World, origin: str, status: int) -> None:
    client = _behind_tls(lab)
    client.http.get("/sign-in")
    token = client.http.cookies["__Host-alignloop_form"]

    answer = client.http.post(
        "/settings", data={"csrf_token": token, "theme": "dark"}, headers={"Origin": origin}
    )

    assert answer.status_code == status


def test_a_proxy_that_names_the_port_of_tls_is_understood(lab: World) -> None:
    client = _behind_tls(lab)
    client.http.get("/sign-in")
    token = client.http.cookies["__Host-alignloop_form"]
    headers = {"Origin": "https://labels.example.org", "Host": "labels.example.org:443"}

    answer = client.http.post("/settings", data={"csrf_token": token}, headers=headers)

    assert answer.status_code == 303


# --- where a redirect goes --------------------------------------------------------------------------------------


ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\nSet-Cookie: a=b",
    "/\x00/evil.example",
    "/\u2028/evil.example",
    " //evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "",
    "http:evil.example",
    "/" + "x" * 5000,
]


@pytest.mark.parametrize("goal", ELSEWHERE)
def test_nobody_is_sent_elsewhere(lab: World, people_: dict[str, Client], goal: str) -> None:
    client = people_["labeler"]
    answers = [
        client.post("settings", {"theme": "dark", "next": goal}),
        client.get("sign_in", next=goal),
        client.post("guidelines", {"version": "training/1", "next": goal}),
    ]
    for answer in answers:
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        assert "evil" not in "".join(answer.headers.get_list("set-cookie"))


def test_a_place_of_ours_is_gone_to(people_: dict[str, Client]) -> None:
    goal = "/guidelines?purpose=evaluation#zusätze"
    answer = people_["labeler"].post("settings", {"theme": "dark", "next": goal})

    assert answer.headers["location"] == "/guidelines?purpose=evaluation#zus%C3%A4tze"


# --- limits -----------------------------------------------------------------------------------------------------


def _urlencoded(
    client: Client, body: bytes | Iterator[bytes], kind: str = "application/x-www-form-urlencoded"
) -> Response:
    headers = {**FROM_US, "X-CSRF-Token": client.csrf_token, "Content-Type": kind}
    return client.http.post("/messages", content=body, headers=headers)


def test_a_body_that_is_too_large_is_413(people_: dict[str, Client], lab: World) -> None:
    client, before = people_["labeler"], digests(lab.store)
    too_large = b"body=" + b"x" * LARGEST_FORM

    def in_parts() -> Iterator[bytes]:
        yield b"body="
        for _ in range(LARGEST_FORM // 10_000 + 1):
            yield b"x" * 10_000

    for body in (too_large, in_parts()):
        answer = _urlencoded(client, body)
        assert answer.status_code == 413
        assert "976 KB" in answer.text or "976" in answer.text
    assert changed(before, digests(lab.store)) == []


@pytest.mark.parametrize(
    "body",
    [
        "&".join(f"f{at}=1" for at in range(MOST_FIELDS + 1)).encode(),
        b"&" * 10_000 + b"=" * 10_000,
        b"a&" * 400_000,
    ],
)
def test_too_many_fields_are_413(people_: dict[str, Client], body: bytes) -> None:
    assert _urlencoded(people_["labeler"], body).status_code == 413


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="body"\r\n\r\nhello\r\n--x--',
        ),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n" * 100_000),
        ("multipart/form-data; boundary=x; charset=idna", b"--x\r\n"),
        ("multipart/mixed; boundary=x", b"--x\r\n"),
        ("application/json", b'{"body": "hello"}'),
        ("text/plain", b"body=hello"),
    ],
)
def test_no_other_kind_of_body_is_read(
    lab: World, people_: dict[str, Client], kind: str, body: bytes
) -> None:
    before = digests(lab.store)

    assert _urlencoded(people_["labeler"], body, kind).status_code == 415
    assert changed(before, digests(lab.store)) == []


@pytest.mark.parametrize(
    "body",
    [
        b"body=%00%01%ff%fe",
        b"body=%ed%a0%80",
        b"body=\xff\xfe",
        b"body=%",
        b"body=%zz",
        b"=&=&&&",
        b"body",
        b"\x00",
        "body=\u202egnp.exe\u200b\ufeff".encode(),
        b"csrf_token=%ed%a0%80",
    ],
)
def test_bytes_that_are_no_text_are_no_bug(people_: dict[str, Client], body: bytes) -> None:
    assert _urlencoded(people_["labeler"], body).status_code in (303, 403, 422)


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "alignloop_session=" + "x" * 50_000},
        {"Cookie": 'alignloop_session="\\303\\777"; alignloop_form="\\000"'},
        {"Cookie": ";;;=;a;=b"},
        {"Accept-Language": ",".join(["zh;q=0.1"] * 5000)},
        {"Accept-Language": "zh;q=nan, en;q=inf, *;q=-1, ;;;"},
        {"Accept": "application/json" * 2000},
        {"X-CSRF-Token": "\xff\xfe"},
        {"Content-Length": "-1"},
        {"Content-Length": "9" * 5000},
        {"Content-Length": "١"},
        {
            "X-Forwarded-For": "evil",
            "X-Forwarded-Host": "evil.example",
            "Forwarded": "host=evil.example",
        },
    ],
)
def test_odd_headers_are_no_bug(lab: World, headers: dict[str, str]) -> None:
    http = anonymous(lab.site.lab).http
    raw = {name: value.encode("utf-8") for name, value in headers.items()}
    shown = http.get("/sign-in", headers=raw)
    sent = http.post(
        "/sign-in", data={"email": "x"}, headers={**raw, **{"Origin": b"http://localhost"}}
    )

    assert shown.status_code == 200
    assert "evil" not in shown.text
    assert sent.status_code in (403, 413)


@pytest.mark.parametrize(
    "cookie",
    [
        "n=",
        "n=%7B",
        "n=[]",
        "n=" + "[" * 3000,
        'n={"key":"saved","kind":"good","values":{"key":"x"}}',
        'n={"key":"saved","kind":"good","values":{"self":"x"}}',
        'n={"key":"invited","kind":"good","values":{}}',
        'n={"key":"invited","kind":"bad","values":{"link":"x"}}',
        'n={"key":"invited","kind":"good","values":{"link":["x"]}}',
        'n={"key":["saved"],"kind":"good","values":{}}',
        'n={"key":"saved","kind":["good"],"values":{}}',
        'n={"key":"no such","kind":"good","values":{}}',
        'n={"key":"saved","kind":"good","values":[[1,2]]}',
    ],
)
def test_a_notice_that_somebody_made_up_tells_nothing(lab: World, cookie: str) -> None:
    http = anonymous(lab.site.lab).http
    http.cookies.set(lab.site.lab.cookie("notice"), cookie)

    shown = http.get("/sign-in")

    assert shown.status_code == 200
    assert 'class="notice' not in shown.text


@pytest.mark.parametrize(
    "part", ["%00", "%ff", "%ed%a0%80", "a" * 5000, "%2e%2e", "%F0%9F%92%A9", "'", "1", "-1", "0x1"]
)
def test_odd_addresses_are_not_there(lab: World, people_: dict[str, Client], part: str) -> None:
    for name, pattern in PATHS.items():
        if "{" not in pattern:
            continue
        address = re.sub(r"\{[^}]*\}", part, pattern)
        for client in people_.values():
            for answer in (
                client.http.get(address),
                client.http.post(address, data={"csrf_token": client.csrf_token}, headers=FROM_US),
            ):
                assert answer.status_code in (303, 307, 403, 404, 405, 422), (
                    name,
                    answer.status_code,
                )
