"""Who is signed in, how they came in, and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from argon2 import PasswordHasher
from httpx import Response
from sqlalchemy import select

from alignloop.errors import BusyError, ConfigError
from alignloop.labeling import serve
from alignloop.labeling.app import access
from alignloop.labeling.app.access import Lab
from alignloop.labeling.app.server import create_app
from alignloop.labeling.serve import SETUP_EMAIL, _setup_token
from alignloop.store import events, people
from alignloop.store.people import INVITATION_MS, SESSION_IDLE_MS, SESSION_LIFE_MS, User
from alignloop.store.schema import invitations, login_attempts, sessions, users
from alignloop.web import passwords
from alignloop.web.security import Origins
from tests.labeling.client import DAY, MINUTE, Client, Site, anonymous, site
from tests.labeling.world import PASSWORD


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as found:
        yield found


@pytest.fixture(autouse=True)
def one_clock(lab: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_now", lab.clock)


@pytest.fixture(autouse=True)
def light_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes as weak as they come: how strong the real ones are is tested where they are made."""
    light = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", light)
    monkeypatch.setattr(passwords, "_NOBODY", light.hash("nobody's"))


def _with_password(lab: Site, user: User, password: str = PASSWORD) -> User:
    with lab.store.write() as connection:
        people.set_password(connection, lab.clock.now, user, passwords.hash_password(password))
    return user


def _sign_in(
    lab: Site, client: Client, email: str, password: str = PASSWORD, **more: str
) -> Response:
    client.get("sign_in")
    name = lab.lab.cookie("form")
    client.csrf_token = client.http.cookies.get(name) or client.csrf_token
    return client.post("sign_in", {"email": email, "password": password, **more})


def _token(lab: Site, client: Client) -> str:
    return client.http.cookies.get(lab.lab.session_cookie) or ""


def _csrf(lab: Site) -> str:
    """The token of the newest session's forms."""
    with lab.store.read() as connection:
        query = select(sessions.c.csrf_token).order_by(sessions.c.created_at.desc())
        return connection.execute(query).scalars().first() or ""


def _is_in(lab: Site, token: str) -> bool:
    """Whether a browser with this cookie, and nothing else, is somebody's."""
    client = anonymous(lab.lab)
    client.http.cookies.set(lab.lab.session_cookie, token)
    return client.get("messages").status_code == 200


# --- sessions ---------------------------------------------------------------------------------------------------


def test_signing_in_gives_a_session_that_the_database_keeps_as_a_hash_alone(lab: Site) -> None:
    ann = _with_password(lab, lab.labeler("Ann"))
    client = anonymous(lab.lab)

    answer = _sign_in(lab, client, " Ann@Example.org ", next="/messages")

    assert (answer.status_code, answer.headers["location"]) == (303, "/messages")
    token = _token(lab, client)
    assert len(token) >= 43  # 256 bits
    assert _is_in(lab, token)
    with lab.store.read() as connection:
        row = connection.execute(select(sessions)).one()
    assert row.user_id == ann.id
    assert token.encode() not in bytes(row.token_sha256) + row.csrf_token.encode()


def test_cookies_are_for_the_server_alone(lab: Site) -> None:
    _with_password(lab, lab.labeler("Ann"))
    client = anonymous(lab.lab)
    answers = [client.get("sign_in"), _sign_in(lab, client, "ann@example.org")]
    answers.append(client.get("home"))
    for answer in answers:
        for cookie in answer.headers.get_list("set-cookie"):
            flags = set(cookie.split("; ")[1:])
            assert {"HttpOnly", "SameSite=lax", "Path=/"} <= flags, cookie
            assert "Secure" not in flags
            assert not any(flag.startswith("Domain") for flag in flags)
    [session] = [c for c in answers[1].headers.get_list("set-cookie") if "session" in c]
    assert f"Max-Age={SESSION_LIFE_MS // 1000}" in session


def test_behind_tls_every_cookie_is_secure_and_this_host_s(lab: Site) -> None:
    _with_password(lab, lab.labeler("Ann"))
    strict = Lab(
        lab.store, Origins.of(["localhost"], behind_tls=True), lab.lab.folder, clock=lab.clock
    )
    client = anonymous(strict)
    client.http.base_url = "https://localhost"  # type: ignore[assignment]
    client.http.get("/sign-in")
    client.csrf_token = client.http.cookies["__Host-alignloop_form"]
    headers = {"Origin": "https://localhost"}
    sent = {"csrf_token": client.csrf_token, "email": "ann@example.org", "password": PASSWORD}
    answer = client.http.post("/sign-in", data=sent, headers=headers)
    out = client.http.post("/sign-out", data={"csrf_token": _csrf(lab)}, headers=headers)

    cookies = answer.headers.get_list("set-cookie") + out.headers.get_list("set-cookie")
    assert any(cookie.startswith("__Host-alignloop=") for cookie in cookies)
    for cookie in cookies:
        assert cookie.startswith("__Host-")
        assert {"HttpOnly", "SameSite=lax", "Path=/", "Secure"} <= set(cookie.split("; ")[1:])


def test_every_sign_in_is_a_new_session_and_ends_the_one_before(lab: Site) -> None:
    _with_password(lab, lab.labeler("Ann"))
    client = anonymous(lab.lab)
    _sign_in(lab, client, "ann@example.org")
    first = _token(lab, client)
    client.csrf_token = _csrf(lab)

    client.post("sign_in", {"email": "ann@example.org", "password": PASSWORD})

    assert _token(lab, client) not in ("", first)
    assert not _is_in(lab, first)
    assert _is_in(lab, _token(lab, client))


def test_a_session_that_somebody_chose_is_none(lab: Site) -> None:
    _with_password(lab, lab.labeler("Ann"))
    client = anonymous(lab.lab)
    chosen = "A" * 43
    client.http.cookies.set(lab.lab.session_cookie, chosen)

    _sign_in(lab, client, "ann@example.org")

    assert not _is_in(lab, chosen)


def test_after_signing_out_the_cookie_is_worth_nothing(lab: Site) -> None:
    client = lab.sign_in(lab.labeler("Ann"))
    token = client.http.cookies.get(lab.lab.session_cookie)
    assert token

    answer = client.post("sign_out")

    assert answer.headers["location"] == "/sign-in"
    assert answer.headers["clear-site-data"] == '"storage"'
    assert not _is_in(lab, token)


@pytest.mark.parametrize("everywhere", ["0", "1"])
def test_signing_out_everywhere_ends_all_of_this_person_s_and_nobody_else_s(
    lab: Site, everywhere: str
) -> None:
    ann, bob = lab.labeler("Ann"), lab.labeler("Bob")
    first, second, other = lab.sign_in(ann), lab.sign_in(ann), lab.sign_in(bob)

    first.post("sign_out", {"everywhere": everywhere})

    assert first.get("messages").status_code == 303
    assert (second.get("messages").status_code == 303) is (everywhere == "1")
    assert other.get("messages").status_code == 200


@pytest.mark.parametrize(
    "change", [{"state": "suspended"}, {"role": "researcher", "cohort": "none"}]
)
def test_a_session_ends_where_rights_change(lab: Site, change: dict[str, str]) -> None:
    ann = lab.labeler("Ann")
    client = lab.sign_in(ann)
    assert client.get("messages").status_code == 200

    with lab.store.write() as connection:
        people.change_user(connection, lab.clock.now, "test", ann, **change)

    assert client.get("messages").status_code == 303
    assert client.post("messages", {"body": "hello"}).status_code == 403
    with lab.store.read() as connection:
        assert connection.execute(select(sessions)).all() == []


def test_a_session_ends_where_the_password_changes(lab: Site) -> None:
    ann = lab.labeler("Ann")
    client = lab.sign_in(ann)
    _with_password(lab, ann)

    assert client.get("messages").status_code == 303


def test_a_session_idles_out(lab: Site) -> None:
    client = lab.sign_in(lab.labeler("Ann"))
    for _ in range(5):  # work keeps it
        lab.clock.pass_(SESSION_IDLE_MS - 2 * MINUTE)
        assert client.get("messages").status_code == 200

    lab.clock.pass_(SESSION_IDLE_MS + 1)

    assert client.get("messages").status_code == 303


def test_a_session_ends_however_much_it_is_used(lab: Site) -> None:
    client = lab.sign_in(lab.labeler("Ann"))
    passed = 0
    while passed < SESSION_LIFE_MS - 6 * 60 * MINUTE:
        lab.clock.pass_(6 * 60 * MINUTE)
        passed += 6 * 60 * MINUTE
        assert client.get("messages").status_code == 200

    lab.clock.pass_(6 * 60 * MINUTE)

    assert client.get("messages").status_code == 303


def test_a_signed_out_browser_goes_where_it_wanted_after_signing_in(lab: Site) -> None:
    answer = anonymous(lab.lab).http.get("/messages?page=2&x=ä")

    assert answer.headers["location"] == "/sign-in?next=%2Fmessages%3Fpage%3D2%26x%3D%25C3%25A4"


# --- wrong passwords --------------------------------------------------------------------------------------------


def test_five_failures_are_free_and_then_each_doubles_the_wait(lab: Site) -> None:
    _with_password(lab, lab.labeler("Ann"))
    client = anonymous(lab.lab)
    for _ in range(5):
        assert _sign_in(lab, client, "ann@example.org", "wrong").status_code == 422
    for wait in (1, 2, 4, 8, 16):
        refused = _sign_in(lab, client, "ann@example.org")  # the right one has to wait as well
        assert (refused.status_code, refused.headers["retry-after"]) == (429, str(wait))
        lab.clock.pass_(wait * 1000)
        assert _sign_in(lab, client, "ann@example.org", "wrong").status_code == 422

    lab.clock.pass_(60 * MINUTE + 1)
    assert _sign_in(lab, client, "ann@example.org").status_code == 303


def test_the_right_password_clears_the_account(lab: Site) -> None:
    _with_password(lab, lab.labeler("Ann"))
    client = anonymous(lab.lab)
    for _ in range(4):
        _sign_in(lab, client, "ann@example.org", "wrong")
    assert _sign_in(lab, client, "ann@example.org").status_code == 303

    client = anonymous(lab.lab)
    for _ in range(4):
        assert _sign_in(lab, client, "ann@example.org", "wrong").status_code == 422
    assert _sign_in(lab, client, "ann@example.org").status_code == 303


def test_many_accounts_from_one_address_have_to_wait(lab: Site) -> None:
    _with_password(lab, lab.labeler("Ann"))
    client = anonymous(lab.lab)
    for number in range(30):
        lab.clock.pass_(1000)
        assert _sign_in(lab, client, f"nobody{number}@example.org", "wrong").status_code == 422

    assert _sign_in(lab, client, "nobody@example.org").status_code == 429
    assert _sign_in(lab, client, "ann@example.org").status_code == 429


def test_a_busy_house_does_not_lock_itself_out(lab: Site) -> None:
    """Thirty people behind one proxy who each mistype once a day and then get it right."""
    everybody = [_with_password(lab, lab.labeler(f"p{number}")) for number in range(25)]
    for user in everybody:
        lab.clock.pass_(1000)
        client = anonymous(lab.lab)
        assert _sign_in(lab, client, user.email, "wrong").status_code == 422
        assert _sign_in(lab, client, user.email).status_code == 303


def test_somebody_else_s_failures_do_not_slow_this_account(lab: Site) -> None:
    _with_password(lab, lab.labeler("Ann"))
    client = anonymous(lab.lab)
    for _ in range(6):
        _sign_in(lab, client, "bob@example.org", "wrong")

    assert _sign_in(lab, client, "bob@example.org", "wrong").status_code == 429
    assert _sign_in(lab, client, "ann@example.org").status_code == 303


def test_an_attempt_counts_before_it_is_looked_at(
    lab: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many at once that none has failed yet: they are counted all the same."""
    seen: list[int] = []

    def look(known: str | None, password: str) -> bool:
        with lab.store.read() as connection:
            seen.append(len(connection.execute(select(login_attempts)).all()))
        return False

    monkeypatch.setattr(passwords, "is_right", look)
    _sign_in(lab, anonymous(lab.lab), "ann@example.org", "wrong")

    assert seen == [2]  # the account and the address


def test_unknown_invited_and_suspended_accounts_are_all_the_same(
    lab: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_password(lab, lab.labeler("Active"))
    _with_password(lab, lab.labeler("Suspended", state="suspended"))
    lab.labeler("Invited", state="invited")
    spent: list[str] = []
    verify = passwords._hasher.verify

    class Counted:
        def verify(self, hashed: str, password: str) -> bool:
            spent.append(hashed.rpartition("$")[0].rpartition("$")[0])
            return verify(hashed, password)

    monkeypatch.setattr(passwords, "_hasher", Counted())
    answers: list[tuple[int, str]] = []
    for name, password in (
        ("active", "wrong"),
        ("suspended", PASSWORD),
        ("suspended", "wrong"),
        ("invited", ""),
        ("nobody", PASSWORD),
    ):
        answer = _sign_in(lab, anonymous(lab.lab), f"{name}@example.org", password)
        answers.append((answer.status_code, answer.text.replace(f"{name}@", "@")))

    assert len(spent) == 5
    assert len(set(spent)) == 1  # the same settings, so the same work
    assert {status for status, _ in answers} == {422}
    assert len({_without_tokens(text) for _, text in answers}) == 1


def _without_tokens(page: str) -> str:
    return "".join(part for part in page.split('"') if len(part) != 43)


def test_a_weak_hash_is_made_anew_at_the_next_sign_in_and_sessions_stay(
    lab: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = _with_password(lab, lab.labeler("Ann"))
    other = lab.sign_in(ann)
    monkeypatch.setattr(
        passwords, "_hasher", PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    )

    assert _sign_in(lab, anonymous(lab.lab), "ann@example.org").status_code == 303

    with lab.store.read() as connection:
        assert "m=16,t=2" in (people.password_of(connection, ann) or "")
    assert other.get("messages").status_code == 200


# --- invitations ------------------------------------------------------------------------------------------------


def _invite(lab: Site, user: User) -> str:
    with lab.store.write() as connection:
        return people.invite(connection, lab.clock.now, "test", user)


def _accept(lab: Site, token: str, **changes: str) -> Response:
    client = anonymous(lab.lab)
    client.get("invite", token=token)
    client.csrf_token = client.http.cookies.get(lab.lab.cookie("form")) or ""
    sent = {"name": "Ann", "password": PASSWORD, "password_again": PASSWORD, "locale": "zh"}
    return client.post("invite", {**sent, **changes}, token=token)


def test_an_invitation_works_once(lab: Site) -> None:
    token = _invite(lab, lab.labeler("Ann", state="invited"))
    first, second = _accept(lab, token), _accept(lab, token)

    assert first.status_code == 303
    assert second.status_code == 404
    assert anonymous(lab.lab).get("invite", token=token).status_code == 404
    with lab.store.read() as connection:
        user = people.find_user(connection, email="ann@example.org")
        kept = connection.execute(select(invitations.c.token_sha256)).scalar_one()
    assert user is not None
    assert (user.state, user.name, user.locale) == ("active", "Ann", "zh")
    assert token.encode() not in bytes(kept)


def test_an_invitation_runs_out(lab: Site) -> None:
    token = _invite(lab, lab.labeler("Ann", state="invited"))
    lab.clock.pass_(INVITATION_MS)

    assert _accept(lab, token).status_code == 404
    assert INVITATION_MS <= 14 * DAY


def test_a_new_invitation_ends_the_one_before(lab: Site) -> None:
    user = lab.labeler("Ann", state="invited")
    first, second = _invite(lab, user), _invite(lab, user)

    assert _accept(lab, first).status_code == 404
    assert _accept(lab, second).status_code == 303


def test_the_suspended_cannot_come_in_by_an_invitation(lab: Site) -> None:
    user = lab.labeler("Ann", state="invited")
    token = _invite(lab, user)
    with lab.store.write() as connection:
        people.change_user(connection, lab.clock.now, "test", user, state="suspended")

    assert _accept(lab, token).status_code == 404


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "%00", "../sign-in", "' or 1=1 --"])
def test_no_invitation_can_be_guessed(lab: Site, token: str) -> None:
    _invite(lab, lab.labeler("Ann", state="invited"))

    assert anonymous(lab.lab).http.get(f"/invite/{token}").status_code in (200, 404)
    assert "ann@example.org" not in anonymous(lab.lab).http.get(f"/invite/{token}").text


@pytest.mark.parametrize(
    "changes",
    [
        {"password": "short", "password_again": "short"},
        {"password": "password1234", "password_again": "password1234"},
        {"password": "ann@example.org", "password_again": "ann@example.org"},
        {"password": "Annelise1234", "password_again": "Annelise1234", "name": "Annelise"},
        {"password": "x" * 257, "password_again": "x" * 257},
        {"password_again": "another horse that staples"},
        {"name": "  "},
        {"name": "x" * 101},
    ],
)
def test_a_bad_answer_uses_nothing_up(lab: Site, changes: dict[str, str]) -> None:
    token = _invite(lab, lab.labeler("Ann", state="invited"))

    refused = _accept(lab, token, **changes)

    assert refused.status_code == 422
    assert PASSWORD not in refused.text
    assert _accept(lab, token).status_code == 303


def test_an_invitation_that_somebody_signed_in_opens_ends_that_session(lab: Site) -> None:
    token = _invite(lab, lab.labeler("Ann", state="invited"))
    client = lab.sign_in(lab.labeler("Bob"))
    before = client.http.cookies.get(lab.lab.session_cookie) or ""
    sent = {"name": "Ann", "password": PASSWORD, "password_again": PASSWORD}

    assert client.post("invite", sent, token=token).status_code == 303

    assert not _is_in(lab, before)


# --- the first researcher ---------------------------------------------------------------------------------------


def test_nobody_has_a_password_at_first(lab: Site) -> None:
    with lab.store.write() as connection:
        token = _setup_token(connection, SETUP_EMAIL)
        hashes = connection.execute(select(users.c.password_hash)).scalars().all()
    assert token is not None
    assert hashes == [None]
    for password in ("", "admin", "password", "alignloop", "researcher", "None"):
        answer = _sign_in(lab, anonymous(lab.lab), SETUP_EMAIL, password)
        assert answer.status_code in (422, 429)


def test_the_first_link_works_once_and_is_new_until_it_was_used(lab: Site) -> None:
    with lab.store.write() as connection:
        first = _setup_token(connection, SETUP_EMAIL)
        second = _setup_token(connection, SETUP_EMAIL)
    assert first
    assert second
    assert _accept(lab, first).status_code == 404
    assert _accept(lab, second).status_code == 303
    assert _accept(lab, second).status_code == 404
    with lab.store.write() as connection:
        assert _setup_token(connection, SETUP_EMAIL) is None


def test_the_first_link_is_for_no_account_of_somebody_else(lab: Site) -> None:
    lab.labeler("Ann")
    boss = lab.researcher("Boss")
    with lab.store.write() as connection:
        people.change_user(connection, lab.clock.now, "test", boss, state="suspended")

    for email in ("ann@example.org", "boss@example.org"):
        with pytest.raises(ConfigError, match="another --email"), lab.store.write() as connection:
            _setup_token(connection, email)
    with lab.store.write() as connection:
        assert _setup_token(connection, "new@example.org")


# --- what is kept of it -----------------------------------------------------------------------------------------


def test_neither_the_log_nor_the_terminal_holds_secrets(
    lab: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    token = _invite(lab, lab.labeler("Ann", state="invited"))
    _accept(lab, token)
    client = anonymous(lab.lab)
    _sign_in(lab, client, "ann@example.org", "a wrong password")
    _sign_in(lab, client, "ann@example.org")
    with lab.store.write() as connection:
        found = people.session_of(connection, lab.clock.now, _token(lab, client))
    assert found is not None
    client.csrf_token = found[1]
    client.post("claim", {"campaign": "\x1b[2J\nalignloop: all is well\n" + PASSWORD * 50})
    client.get("invite", token=token)

    with lab.store.read() as connection:
        entries = [str(row) for row in events.each_event(connection)]
        attempts = [str(row) for row in connection.execute(select(login_attempts))]
    captured = capsys.readouterr()
    said = "\n".join([*entries, *attempts, captured.out, captured.err])
    assert "\x1b" not in said
    assert "all is well" not in said.splitlines()
    for secret in (token, _token(lab, client), "a wrong password", "ann@example.org"):
        assert secret not in said
    assert len(max(captured.err.splitlines(), key=len)) <= 300


# --- a database that is in use ----------------------------------------------------------------------------------


def _broken(lab: Site, error: BusyError, times: int) -> tuple[Client, list[int]]:
    """A labeler's browser, of an app whose page fails so many times first."""
    routes, calls = access.Routes(), list[int]()

    @routes.get("work", access.Access.LABELER)
    def work(ask: access.Ask) -> Response:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return ask.go("home")  # type: ignore[return-value]

    client = lab.sign_in(lab.labeler())
    client.http._transport.app = create_app(lab.lab, [routes])  # type: ignore[attr-defined]
    return client, calls


def test_a_deadlock_is_tried_again_and_a_busy_database_is_503(lab: Site) -> None:
    client, calls = _broken(lab, BusyError("deadlock", at_once=True), 2)
    assert client.get("work").status_code == 303
    assert len(calls) == 3

    client, calls = _broken(lab, BusyError("deadlock", at_once=True), 99)
    assert client.get("work").status_code == 503
    assert len(calls) == 3

    client, calls = _broken(lab, BusyError("locked"), 99)
    answer = client.get("work")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert len(calls) == 1


def test_a_page_is_shown_while_somebody_else_writes_for_long(
    lab: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = lab.sign_in(lab.labeler())
    lab.clock.pass_(2 * MINUTE)  # the session would be noted as seen anew

    def busy(*_: object) -> object:
        raise BusyError("locked")

    monkeypatch.setattr(type(lab.store), "write", busy)

    assert client.get("work").status_code == 200
    assert urlsplit(client.get("home").headers.get("location", "")).path in ("", "/")
