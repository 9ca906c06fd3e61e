"""The chat page for tests: served over tiny models in a thread of its own, and a browser without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from alignloop.serving.app import create_app
from alignloop.serving.guard import Access
from alignloop.serving.page.access import Site
from alignloop.serving.page.app import Front, create_page
from alignloop.serving.page.keeping import Keeping
from alignloop.serving.policy import PolicyWorker, ServedPolicy
from alignloop.serving.service import Limits, Service
from alignloop.store.database import Store
from alignloop.web.limits import RateLimit
from alignloop.web.listening import listen
from alignloop.web.security import Origins
from tests.serving.site import PATIENCE_S, listened

NOW = 1_800_000_000_000
DAY = 86_400_000


@dataclass
class Lot:
    """Chance that a test decides: what `random` and `choice` come to, and whether two answers change places."""

    side_by_side: bool = False
    swaps: bool = False
    seed: int = 0

    def random(self) -> float:
        return 0.0 if self.side_by_side else 1.0

    def getrandbits(self, bits: int) -> int:
        self.seed += 1
        return self.seed

    def choice(self, names: Sequence[str]) -> str:
        return names[0]

    def shuffle(self, items: list[Any]) -> None:
        if self.swaps:
            items.reverse()


@dataclass
class Served:
    """A running page."""

    site: Site
    url: str
    lot: Lot
    now: int = NOW
    browsers: ExitStack = field(default_factory=ExitStack)

    @property
    def service(self) -> Service:
        return self.site.service

    def worker(self, name: str = "tiny") -> PolicyWorker:
        return self.service.policy(name)

    def visit(self, **headers: str) -> Visitor:
        """A new browser, which has looked at the page once."""
        http = httpx.Client(
            base_url=self.url,
            timeout=PATIENCE_S,
            headers={"Accept-Language": "en", "Origin": self.url, **headers},
        )
        visitor = Visitor(self.browsers.enter_context(http))
        visitor.get("/")
        return visitor


@dataclass
class Visitor:
    """Somebody's browser. Redirects are answers, too: they are not followed."""

    http: httpx.Client
    html: str = field(default="", init=False)
    """The page that was looked at last."""

    def get(self, path: str) -> httpx.Response:
        answer = self.http.get(path)
        if "text/html" in answer.headers["content-type"]:
            self.html = answer.text
        return answer

    def post(self, path: str, **fields: str) -> httpx.Response:
        """A form of the page, with its token."""
        return self.http.post(path, data={"csrf_token": self.token, **fields})

    @property
    def token(self) -> str:
        found = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', self.html)
        assert found is not None
        return found[1]

    def say(self, text: str, chat: str = "") -> str:
        """A message, in a new conversation or a further one; returns the conversation's address, which is looked at."""
        answer = self.post(f"{chat}/say" if chat else "/chat", text=text)
        assert answer.status_code == 303, answer.text
        self.get(answer.headers["location"])
        return answer.headers["location"].partition("?")[0]

    def choose(self, chat: str, preference: str) -> httpx.Response:
        """One of the two answers that the page shows."""
        found = re.search(
            r'name="turn" value="(\d+)"><input type="hidden" name="draw" value="(\w+)"', self.html
        )
        assert found is not None
        return self.post(f"{chat}/choose", turn=found[1], draw=found[2], preference=preference)

    def agree(self) -> None:
        """To the notice."""
        found = re.search(r'name="notice" value="(\d+)"', self.get("/").text)
        assert found is not None
        assert self.post("/data/agree", next="/", notice=found[1]).status_code == 303
        self.get("/")

    @contextmanager
    def stream(self, path: str, **fields: str) -> Iterator[Iterator[dict[str, Any]]]:
        """The events that a script gets."""
        data = {"csrf_token": self.token, **fields}
        headers = {"Accept": "text/event-stream"}
        with self.http.stream("POST", path, data=data, headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield (
                json.loads(line.removeprefix("data: "))
                for line in answer.iter_lines()
                if line.startswith("data: ")
            )


@contextmanager
def visited(
    models: Sequence[ServedPolicy],
    store: Store | None = None,
    *,
    limits: Limits | None = None,
    access: Access | None = None,
    turns: int = 1000,
) -> Iterator[Served]:
    """A page for the time of a block, its clock and its lots in the test's hands."""
    service = Service.of(models, limits or Limits(timeout=PATIENCE_S))
    service.start()
    lot = Lot()
    with closing(listen("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        served = Served(None, url, lot)  # type: ignore[arg-type]
        served.site = Site(
            service,
            Origins.of(["127.0.0.1"]),
            None if store is None else Keeping(store, service.metrics.unkept),
            side_by_side=0.5,
            turns=RateLimit(turns, 60),
            changes=RateLimit(1000, 60),
            clock=lambda: served.now,
            lot=lot,  # type: ignore[arg-type]
        )
        app = Front(
            create_app(service, access or Access()), create_page(served.site), service.metrics
        )
        with listened(app, listening, service), served.browsers:
            yield served
