"""A store on each database, and a small lab in it: people, prompts, answers, a campaign."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from alignloop.data.records import Completion
from alignloop.store import campaigns, judgments, people, prompts, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.database import Store
from alignloop.store.judgments import RankedOutputs, Rating, Submitted
from alignloop.store.people import User
from alignloop.store.queue import Assignment
from tests import postgres
from tests.store.fresh import fresh_store

NOW = 1_800_000_000_000
MINUTE = 60_000


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if postgres.programs() is None:
        pytest.skip(postgres.NOT_INSTALLED)
    # A socket's path may be no longer than 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with postgres.server(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_tables(postgres_url: str) -> str:
    """Name of a database that has the tables, and nothing in them: to be copied."""
    with _as_admin(postgres_url) as connection:
        connection.execute(text("create database tables"))
    Store.open(postgres_url.replace("/postgres?", "/tables?")).close()
    return "tables"


@contextmanager
def scratch_database(server: str, template: str = "template1") -> Iterator[str]:
    """A database of its own on the server; without tables, or a copy of `template`."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with _as_admin(server) as connection:
        connection.execute(text(f"create database {name} template {template}"))
    try:
        yield server.replace("/postgres?", f"/{name}?")
    finally:
        with _as_admin(server) as connection:
            connection.execute(text(f"drop database {name} with (force)"))


@contextmanager
def _as_admin(server: str) -> Iterator[Connection]:
    engine = create_engine(
        server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store can be, and none is yet: the same tests run on both."""
    if request.param == "sqlite":
        yield str(tmp_path / "project")
        return
    with scratch_database(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A new store on either."""
    if request.param == "sqlite":
        opened = fresh_store(tmp_path / "project")
        yield opened
        opened.close()
        return
    tables = request.getfixturevalue("postgres_tables")
    with scratch_database(request.getfixturevalue("postgres_url"), tables) as url:
        opened = Store.open(url)
        yield opened
        opened.close()


@dataclass
class Lab:
    """People and prompts in a store, and short ways to do things."""

    store: Store
    now: int = NOW
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def labeler(self, name: str = "", cohort: str = "training", **changes: str) -> User:
        name = name or f"labeler{next(self.numbers)}"
        given = {"state": "active", "standing": "qualified", **changes}
        with self.store.write() as connection:
            return people.add_user(
                connection,
                self.now,
                "test",
                email=f"{name}@x.org",
                name=name,
                cohort=cohort,
                **given,
            )

    def researcher(self, name: str = "Researcher") -> User:
        with self.store.write() as connection:
            return people.add_user(
                connection,
                self.now,
                "test",
                email=f"{name.lower()}{next(self.numbers)}@x.org",
                name=name,
                role="researcher",
                state="active",
            )

    def prompt(
        self, connection: Connection, *, split: str = "train", author: str = "", said: str = ""
    ) -> int:
        number = next(self.numbers)
        new = prompts.NewPrompt(
            author=author or f"author-{number}",
            split=split,
            kind="customer",
            text=said or f"Tell me about number {number}.",
            text_digest=uuid.uuid5(uuid.NAMESPACE_OID, f"{said or number}").bytes,
        )
        return prompts.add_prompts(connection, self.now, [new])[0]

    def campaign(
        self,
        sizes: Sequence[int] = (4,),
        *,
        split: str = "train",
        gold: Sequence[campaigns.Gold] = (),
        opened: bool = True,
        **given: object,
    ) -> Campaign:
        """A campaign with a task per size, open; rankings without ratings unless told otherwise."""
        given = {"form": "rank", "asks_ratings": False, **given}
        with self.store.write() as connection:
            campaign = campaigns.add_campaign(
                connection, self.now, "test", name=f"campaign {next(self.numbers)}", **given
            )
            policy = prompts.add_policy(
                connection, self.now, name="secret-model", sha256="abc", sampling={"t": 1.0}
            )
            for size in sizes:
                self._task(connection, campaign, policy, size, split)
            for answer in gold:
                self._task(connection, campaign, policy, 4, split, answer)
            if opened:
                campaign = campaigns.set_state(connection, self.now, "test", campaign, "open")
        return campaign

    def _task(
        self,
        connection: Connection,
        campaign: Campaign,
        policy: int,
        size: int,
        split: str,
        gold: campaigns.Gold | None = None,
    ) -> int:
        if campaign.form == "write":
            return campaigns.add_task(connection, campaign, prompt_id=None)
        prompt = self.prompt(connection, split=split)
        ids: list[int] = []
        if campaign.form != "demonstrate":
            texts = [
                Completion(text=f"answer {n} to {prompt}", model="m", finished=True, tokens=3)
                for n in range(1, size + 1)
            ]
            ids = prompts.add_completions(connection, prompt, policy, texts)
        return campaigns.add_task(
            connection, campaign, prompt_id=prompt, completion_ids=ids, gold=gold
        )

    def claim(self, user: User, campaign: Campaign, *, after: int = 0) -> Assignment | None:
        with self.store.write() as connection:
            return queue.claim(connection, self.now + after, user, campaign)

    def rank(
        self,
        user: User,
        assignment: Assignment,
        groups: Sequence[int | None],
        *,
        after: int = 0,
        uuid_: str = "",
        ratings: Sequence[Rating] = (),
    ) -> Submitted:
        answer = RankedOutputs(dict(enumerate(groups, start=1)), dict(enumerate(ratings, start=1)))
        with self.store.write() as connection:
            return judgments.submit(
                connection,
                self.now + after,
                user,
                assignment.public_id,
                answer,
                client_uuid=uuid_ or uuid.uuid4().hex,
                payload={"groups": list(groups)},
            )


@pytest.fixture
def lab(store: Store) -> Lab:
    return Lab(store)
