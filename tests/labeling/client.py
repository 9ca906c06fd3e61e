"""A browser for the tests: signs in, carries the session, its token and the origin, and names pages as the app does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from httpx import Response
from starlette.testclient import TestClient

from alignloop.labeling.app.access import Lab
from alignloop.labeling.app.paths import path_to
from alignloop.labeling.app.server import create_app
from alignloop.store import people
from alignloop.store.database import Store
from alignloop.store.people import User
from alignloop.web.security import Origins
from tests.store.fresh import fresh_store

HOST = "localhost"
ORIGIN = f"http://{HOST}"
NOW = 1_800_000_000_000
"""A Friday in 2027, 08:00 UTC, in milliseconds."""
MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000

Fields = Mapping[str, str | Sequence[str]]


@dataclass
class Clock:
    """A clock that a test moves."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now

    def pass_(self, milliseconds: int) -> None:
        self.now += milliseconds


@dataclass
class Client:
    """Somebody's browser. Redirects are answers, too: they are not followed."""

    http: TestClient
    csrf_token: str = ""
    user: User | None = None

    def get(self, name: str, **params: object) -> Response:
        """Ask for a page by its name in PATHS; what its address has no place for becomes the query."""
        return self.http.get(path_to(name, **params))

    def post(self, name: str, fields: Fields | None = None, **params: object) -> Response:
        """Send a form to a page, as the page's own form would: with the token and from the same origin."""
        return self.http.post(
            path_to(name, **params),
            data={"csrf_token": self.csrf_token, **(fields or {})},
            headers={"Origin": ORIGIN},
        )

    def follow(self, response: Response) -> Response:
        """Go where a 303 sends to."""
        assert response.status_code == 303, (response.status_code, response.text[:2000])
        return self.http.get(response.headers["location"])


def anonymous(lab: Lab) -> Client:
    """A browser in which nobody is signed in."""
    return Client(TestClient(create_app(lab), base_url=ORIGIN, follow_redirects=False))


def signed_in(lab: Lab, user: User) -> Client:
    """A browser with a session of this user's."""
    client = anonymous(lab)
    with lab.store.write() as connection:
        token = people.start_session(connection, lab.clock(), user)
        found = people.session_of(connection, lab.clock(), token)
    assert found is not None, f"{user.email} is {user.state} and cannot sign in"
    client.http.cookies.set(lab.session_cookie, token, domain=f"{HOST}.local", path="/")
    client.csrf_token, client.user = found[1], user
    return client


_numbers = itertools.count(1)


@dataclass
class Site:
    """A lab over a store of its own, and short ways to people in it."""

    lab: Lab
    clock: Clock
    names: Iterator[int] = field(default_factory=lambda: _numbers)

    @property
    def store(self) -> Store:
        return self.lab.store

    def labeler(self, name: str = "", cohort: str = "training", **changes: str) -> User:
        """An active, qualified labeler, unless told otherwise."""
        return self._add(name or f"labeler{next(self.names)}", "labeler", cohort, changes)

    def researcher(self, name: str = "") -> User:
        """An active researcher."""
        return self._add(name or f"researcher{next(self.names)}", "researcher", None, {})

    def sign_in(self, user: User) -> Client:
        return signed_in(self.lab, user)

    def _add(self, name: str, role: str, cohort: str | None, changes: dict[str, str]) -> User:
        given = {"state": "active", **({"standing": "qualified"} if role == "labeler" else {})}
        with self.store.write() as connection:
            return people.add_user(
                connection,
                self.clock.now,
                "test",
                email=f"{name.lower().replace(' ', '.')}@example.org",
                name=name,
                role=role,  # type: ignore[arg-type]
                cohort=cohort,  # type: ignore[arg-type]
                **{**given, **changes},
            )


@contextmanager
def site(folder: Path, place: str | Path | None = None) -> Iterator[Site]:
    """A lab over a new store in a folder (SQLite), or over the store at `place`."""
    store = fresh_store(folder) if place is None else Store.open(place)
    clock = Clock()
    try:
        yield Site(Lab(store, Origins.of([HOST]), folder, clock=clock), clock)
    finally:
        store.close()
