"""The app in a process of its own over a real project, people who are signed in, and what its database holds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page
from sqlalchemy import Connection, select, update

from alignloop.data.records import Completion, Prompt
from alignloop.labeling.app.guides import install_guidelines
from alignloop.labeling.app.tasks import LETTERS
from alignloop.store import campaigns, correspondence, events, labels, people, prompts
from alignloop.store import schema as tables
from alignloop.store.campaigns import Campaign, Form, Gold
from alignloop.store.database import Store
from alignloop.store.people import User
from alignloop.store.project import open_project
from benchmarks.labeling.scene import Seat
from benchmarks.labeling.server import Server

COOKIE = "alignloop_session"
ACTOR = "test"


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Person:
    """An account, and a session of its own in which it is signed in."""

    user: User
    session: str

    @property
    def name(self) -> str:
        """How the others see them."""
        return self.user.name


@dataclass(frozen=True, slots=True)
class Label:
    """A submission as it lies in the database, its items by their letter on the labeler's page."""

    state: str
    revision: int
    surplus: bool
    active_ms: int
    idle_ms: int
    ranks: dict[str, int | None]
    """None where an output was called not rankable."""
    likert: dict[str, int]
    flags: dict[str, set[str]]
    """Flags that were ticked; one that was not is there all the same, as False."""
    flag_values: int
    notes: dict[str, str]


@dataclass
class App:
    """A project, the server of it, and its store, which tests look into beside the server."""

    folder: Path
    server: Server
    store: Store
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def start(cls, folder: Path) -> App:
        """Make a project and serve it."""
        store = open_project(folder).open()
        with store.write() as connection:
            install_guidelines(connection, now(), ACTOR)
        app = cls(folder, Server(folder), store)
        app.server.start()
        return app

    def stop(self) -> None:
        """End it all."""
        self.server.kill()
        self.store.close()

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.server.url

    # --- people ---

    def person(
        self,
        name: str = "Ann",
        *,
        locale: str = "en",
        standing: str = "qualified",
        has_read: bool = True,
        cohort: Any = None,
    ) -> Person:
        """A labeler who may begin at once, unless told otherwise."""
        return self._add(name, "labeler", locale, standing, has_read, cohort)

    def researcher(self, name: str = "Rita", *, locale: str = "en") -> Person:
        """A researcher."""
        return self._add(name, "researcher", locale, "qualified", True, None)

    def _add(
        self, name: str, role: Any, locale: str, standing: str, has_read: bool, cohort: Any
    ) -> Person:
        number = next(self._numbers)
        with self.store.write() as connection:
            user = people.add_user(
                connection,
                now(),
                ACTOR,
                email=f"{number}@example.invalid",
                name=name,
                role=role,
                cohort=cohort,
                state="active",
                standing=standing,
            )
            user = people.change_user(connection, now(), ACTOR, user, locale=locale)
            if has_read:
                for purpose in ("training", "evaluation"):
                    for guideline in correspondence.guideline_ids(connection, purpose=purpose):
                        correspondence.acknowledge(connection, now(), user, guideline)
            return Person(user, people.start_session(connection, now(), user))

    def cookie(self, session: str) -> Any:
        """What the browser of somebody signed in keeps."""
        return {"name": COOKIE, "value": session, "url": self.url}

    def qualify(self, person: Person) -> None:
        """What a researcher's decision comes to."""
        with self.store.write() as connection:
            user = people.get_user(connection, person.user.public_id)
            people.change_user(connection, now(), ACTOR, user, standing="qualified")

    def speak(self, user: User, locale: str) -> None:
        """The language of an account."""
        with self.store.write() as connection:
            people.change_user(connection, now(), ACTOR, user, locale=locale)

    def invitation(self) -> str:
        """Token of an invitation that nobody has accepted."""
        number = next(self._numbers)
        with self.store.write() as connection:
            user = people.add_user(
                connection, now(), ACTOR, email=f"{number}@example.invalid", name="Otto"
            )
            return people.invite(connection, now(), ACTOR, user)

    # --- work ---

    def campaign(
        self,
        form: Form = "rank",
        *,
        tasks: int = 1,
        k: int = 4,
        outputs: Sequence[str] = (),
        prompt: str = "",
        split: str = "",
        answers: Gold | None = None,
        **settings: Any,
    ) -> Campaign:
        """An open campaign with so many tasks; the only one that is open."""
        number = next(self._numbers)
        purpose = settings.get("purpose") or (
            "evaluation" if form in ("compare", "toxicity") else "training"
        )
        side = split or ("test" if purpose == "evaluation" else "train")
        settings = {"name": f"campaign {number}", **settings, "purpose": purpose}
        if form in ("rank", "toxicity"):
            settings.setdefault("k", (min(k, 4), max(k, 4)))
        with self.store.write() as connection:
            for one in campaigns.all_campaigns(connection, state="open"):
                campaigns.set_state(connection, now(), ACTOR, one, "closed")
            made = campaigns.add_campaign(connection, now(), ACTOR, form=form, **settings)
            policy = prompts.add_policy(connection, now(), name="m", sha256="", sampling={})
            for at in range(tasks):
                prompt_id, ids = None, []
                if form != "write":
                    name = f"{number}.{at}"
                    record = Prompt(id=name, group=name, text=prompt or f"Tell story {name}.")
                    prompt_id = prompts.add_record(connection, now(), record, side)
                count = 2 if form == "compare" else k if form in ("rank", "toxicity") else 0
                if count:
                    texts = outputs or [
                        f"Story {at}.{n}: once there was a fox. " * (n + 2) for n in range(count)
                    ]
                    ids = prompts.add_completions(
                        connection,
                        prompt_id or 0,
                        policy,
                        [Completion(text=t, model="m", finished=True, tokens=9) for t in texts],
                    )
                task = campaigns.add_task(connection, made, prompt_id=prompt_id, completion_ids=ids)
                if answers is not None:
                    _give_answers(connection, task, answers)
            return campaigns.set_state(connection, now(), ACTOR, made, "open")

    # --- what the database holds ---

    def labels(self, person: Person, *, all_states: bool = False) -> list[Label]:
        """What somebody submitted, oldest first: what counts, or every revision."""
        s, a = tables.submissions, tables.assignments
        query = (
            select(s, a.c.display_order)
            .join(a, a.c.id == s.c.assignment_id)
            .where(a.c.user_id == person.user.id)
            .order_by(s.c.id)
        )
        if not all_states:
            query = query.where(s.c.state == "final")
        with self.store.read() as connection:
            return [_label(connection, row) for row in connection.execute(query).all()]

    def label(self, person: Person) -> Label:
        """The one thing that somebody submitted."""
        (found,) = self.labels(person)
        return found

    def drafts(self, person: Person) -> list[dict[str, list[str]]]:
        """Fields of somebody's drafts, oldest first."""
        query = (
            select(tables.drafts.c.payload)
            .join(tables.assignments, tables.assignments.c.id == tables.drafts.c.assignment_id)
            .where(tables.assignments.c.user_id == person.user.id)
            .order_by(tables.drafts.c.assignment_id)
        )
        with self.store.read() as connection:
            return [payload["fields"] for payload in connection.execute(query).scalars()]

    def draft(self, person: Person) -> dict[str, list[str]]:
        """Fields of somebody's one draft."""
        (found,) = self.drafts(person)
        return found

    def draft_count(self, person: Person) -> int:
        """How many drafts somebody has."""
        return len(self.drafts(person))

    def rows(self, table: str, person: Person) -> list[Any]:
        """Rows of an answer's table in somebody's final submissions, oldest first."""
        answers = getattr(tables, table)
        s, a = tables.submissions, tables.assignments
        query = (
            select(answers)
            .join(s, s.c.id == answers.c.submission_id)
            .join(a, a.c.id == s.c.assignment_id)
            .where(a.c.user_id == person.user.id, s.c.state == "final")
            .order_by(s.c.id)
        )
        with self.store.read() as connection:
            return list(connection.execute(query).all())

    def order(self, person: Person) -> tuple[int, ...]:
        """Item numbers of somebody's one task, by their place on the page."""
        query = select(tables.assignments.c.display_order).where(
            tables.assignments.c.user_id == person.user.id
        )
        with self.store.read() as connection:
            return tuple(connection.execute(query).scalar_one())

    def assignments(self, campaign: Campaign) -> list[Any]:
        """Who got which task, and what became of it."""
        a, t = tables.assignments, tables.tasks
        query = (
            select(a.c.user_id, a.c.task_id, a.c.slot_no, a.c.state, a.c.skip_reason)
            .join(t, t.c.id == a.c.task_id)
            .where(t.c.campaign_id == campaign.id)
            .order_by(a.c.id)
        )
        with self.store.read() as connection:
            return list(connection.execute(query).all())

    def instructions(self, person: Person) -> list[labels.Label]:
        """Rankings of somebody's, as the exporter reads them."""
        with self.store.read() as connection:
            found = list(labels.each_label(connection, "rank", task_of=person.user.id))
        return [label for label in found if label.labeler_id == person.user.id]

    def assert_sound(self) -> None:
        """The log's chain holds, and every label is what was written."""
        with self.store.read() as connection:
            assert events.audit(connection).findings == ()

    def close_all(self) -> None:
        """No campaign is open."""
        with self.store.write() as connection:
            connection.execute(
                update(tables.campaigns)
                .where(tables.campaigns.c.state == "open")
                .values(state="closed", closed_at=now())
            )


def _give_answers(connection: Connection, task: int, answers: Gold) -> None:
    """Right answers of a practice task, which everybody meets like any other."""
    for (a, b), relation in (answers.relations or {}).items():
        row = {"task_id": task, "item_a": a, "item_b": b, "relation": relation}
        connection.execute(tables.gold_pairs.insert().values(row))
    for (item, key), value in (answers.flags or {}).items():
        row = {"task_id": task, "item_no": item, "flag_key": key, "value": value}
        connection.execute(tables.gold_flags.insert().values(row))


def _label(connection: Connection, row: Any) -> Label:
    letter = {item: LETTERS[at] for at, item in enumerate(row.display_order)}
    rated = labels.ratings_of(connection, row.id)
    flags = labels.flags_in(connection, row.id)
    return Label(
        state=row.state,
        revision=row.revision,
        surplus=row.is_surplus,
        active_ms=row.active_ms,
        idle_ms=row.idle_ms,
        ranks=_sorted(
            {letter[i]: rank for i, rank in labels.groups_of(connection, row.id).items()}
        ),
        likert=_sorted({letter[i]: likert for i, (likert, _) in rated.items()}),
        flags=_sorted({letter[i]: {k for k, v in of.items() if v} for i, of in flags.items()}),
        flag_values=sum(len(of) for of in flags.values()),
        notes=_sorted({letter[i]: notes for i, (_, notes) in rated.items() if notes}),
    )


def _sorted(by_letter: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(by_letter.items()))


# --- what a page shows ------------------------------------------------------------------------------------------


def shown_ranks(page: Page) -> dict[str, int | None]:
    """The board of the ranking page: letter -> rank, None for not rankable; what is not placed is not there."""
    lanes: dict[str, list[str]] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".lane")].map((lane) =>
             [lane.dataset.lane, [...lane.querySelectorAll(".chip")].map((chip) => chip.textContent)]))"""
    )
    placed = {
        letter: int(lane) or None
        for lane, letters in lanes.items()
        if lane != "pool"
        for letter in letters
    }
    return _sorted(placed)


def press(page: Page, keys: str) -> None:
    """Press keys, apart by spaces, one after another."""
    for key in keys.split():
        page.keyboard.press(key)


def begin(page: Page, name: str = "Start") -> None:
    """From the labeler's home into the one task that waits."""
    page.get_by_role("button", name=name).first.click()
    page.wait_for_selector("#task")
    page.wait_for_load_state()  # with its scripts


def wait_for_saved(page: Page) -> None:
    """Until the page says that everything is saved."""
    page.wait_for_selector("[data-save-state][data-state=saved]")


def sign_in(context: BrowserContext, app: App, person: Person | Seat) -> None:
    """Give a browser somebody's session."""
    context.add_cookies([app.cookie(person.session)])
