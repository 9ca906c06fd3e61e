"""A small lab for attacks: a task of every form in somebody's hands, with texts that a test chooses."""

from __future__ import annotations

import hashlib
import html.parser
import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, select

from alignloop.data.records import Completion
from alignloop.labeling.app.guides import install_guidelines
from alignloop.labeling.app.paths import PATHS, path_to
from alignloop.store import campaigns, correspondence, people, prompts, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.database import Store
from alignloop.store.people import User
from alignloop.store.queue import Assignment
from alignloop.store.schema import metadata
from tests.labeling.client import Client, Site, site

PASSWORD = "a horse that staples batteries"
SECRET_MODEL = "policy-zebra-7"
SECRET_SHA = "5ec4e7" * 10
FORMS: Mapping[str, dict[str, object]] = {
    "demonstrate": {},
    "write": {},
    "rank": {"k": (4, 4)},
    "compare": {"purpose": "evaluation"},
    "toxicity": {"purpose": "evaluation", "k": (2, 2)},
}
OUTPUTS = {"rank": 4, "compare": 2, "toxicity": 2}
SCREENS = {
    "demonstrate": "demonstrate",
    "rank": "rank",
    "compare": "compare",
    "write": "write_prompt",
}

Text = Callable[[str], str]
"""From a place (`prompt`, `answer 1`, ...) to what is written there."""


@dataclass
class World:
    """The lab, its people, a campaign of every form, and the tasks that Ann has begun."""

    site: Site
    ann: User
    bob: User
    boss: User
    campaigns: dict[str, Campaign]
    tasks: dict[str, Assignment] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return self.site.store

    def begin(self, user: User, form: str) -> Assignment:
        """The next task of a form, in this labeler's hands."""
        with self.store.write() as connection:
            found = queue.claim(connection, self.site.clock.now, user, self.campaigns[form])
        assert found is not None, f"no {form} task is left"
        return found

    def addresses(self) -> dict[str, str]:
        """Route name -> an address of Ann's, or of the lab's, that is really there."""
        values = {
            "task": self.tasks["rank"].public_id,
            "item": "1",
            "submission": self.tasks["rank"].public_id,
            "token": "no-such-token",
            "campaign": self.campaigns["rank"].public_id,
            "labeler": self.ann.public_id,
            "export": "no-such-export",
            "file": "labels.jsonl",
            "version": "0",
        }
        of_form = {
            form: self.tasks[form].public_id for form in ("demonstrate", "compare", "toxicity")
        }
        found: dict[str, str] = {}
        for name, pattern in PATHS.items():
            needed = {key: value for key, value in values.items() if f"{{{key}" in pattern}
            if name in of_form:
                needed["task"] = of_form[name]
            found[name] = path_to(name, **needed)
        return found


def plain(place: str) -> str:
    """Texts that nobody has to fear."""
    return f"This is the {place}."


@contextmanager
def world(
    folder: Path, place: str | Path | None = None, text: Text = plain, tasks: int = 3
) -> Iterator[World]:
    """The lab over a new store, with guidelines that everybody has read."""
    with site(folder, place) as lab:
        made = _people(lab)
        with lab.store.write() as connection:
            found = {
                form: _campaign(lab, form, text, tasks, connection) for form, _ in FORMS.items()
            }
        made.campaigns.update(found)
        for form in FORMS:
            made.tasks[form] = made.begin(made.ann, form)
        yield made


def _people(lab: Site) -> World:
    ann, bob, boss = lab.labeler("Ann"), lab.labeler("Bob"), lab.researcher("Boss")
    with lab.store.write() as connection:
        install_guidelines(connection, lab.clock.now, "test")
        for user, purpose in itertools.product((ann, bob), ("training", "evaluation")):
            for version in correspondence.guideline_ids(connection, purpose=purpose):
                correspondence.acknowledge(connection, lab.clock.now, user, version)
        people.change_user(connection, lab.clock.now, "test", boss, name="Boss")
    return World(lab, ann, bob, boss, {})


def _campaign(lab: Site, form: str, text: Text, count: int, connection: Connection) -> Campaign:
    given = dict(FORMS[form])
    campaign = campaigns.add_campaign(
        connection,
        lab.clock.now,
        "test",
        name=f"{form} {text('campaign')}",
        form=form,  # type: ignore[arg-type]
        **given,  # type: ignore[arg-type]
    )
    policy = prompts.add_policy(
        connection,
        lab.clock.now,
        name=SECRET_MODEL,
        sha256=SECRET_SHA,
        sampling={"temperature": 0.7},
    )
    for number in range(1, count + 1):
        if form == "write":
            campaigns.add_task(connection, campaign, prompt_id=None)
            continue
        said = text("prompt")
        new = prompts.NewPrompt(
            author=f"{form} {number}",
            split="test" if given.get("purpose") == "evaluation" else "train",
            kind="customer",
            text=said,
            text_digest=uuid.uuid5(uuid.NAMESPACE_OID, f"{form} {number}").bytes,
            history=[("user", text("question")), ("assistant", text("reply"))],
        )
        [prompt] = prompts.add_prompts(connection, lab.clock.now, [new])
        outputs = [
            Completion(text=text(f"answer {at}"), model=SECRET_MODEL, finished=True, tokens=3)
            for at in range(1, OUTPUTS.get(form, 0) + 1)
        ]
        ids = prompts.add_completions(connection, prompt, policy, outputs) if outputs else []
        campaigns.add_task(connection, campaign, prompt_id=prompt, completion_ids=ids)
    return campaigns.set_state(connection, lab.clock.now, "test", campaign, "open")


# --- what is in the database ------------------------------------------------------------------------------------


UNIMPORTANT = {("sessions", "seen_at"), ("messages", "read_at")}
"""What looking at a page may change: that somebody was here, and has read a message."""


def digests(store: Store) -> dict[str, str]:
    """Table -> a digest of all of its rows, without what is unimportant."""
    found: dict[str, str] = {}
    with store.read() as connection:
        for table in metadata.sorted_tables:
            columns = [c for c in table.columns if (table.name, c.name) not in UNIMPORTANT]
            rows = connection.execute(select(*columns).order_by(*table.primary_key.columns)).all()
            found[table.name] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Tables that differ."""
    return [name for name in before if before[name] != after[name]]


# --- what is in a page ------------------------------------------------------------------------------------------


class _Elements(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(attrs)))


def elements(page: str) -> list[tuple[str, tuple[tuple[str, str | None], ...]]]:
    """Every element of a page with its attributes, in order."""
    parser = _Elements()
    parser.feed(page)
    parser.close()
    return parser.found


def fields_of(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the page's form that goes to an address."""
    found: dict[str, str] = {}
    is_inside = False
    for tag, attributes in elements(page):
        given = dict(attributes)
        if tag == "form":
            is_inside = given.get("action") == action
        elif is_inside and tag == "input" and given.get("type") == "hidden":
            found[given.get("name") or ""] = given.get("value") or ""
    return found


def form_of(client: Client, name: str, **params: object) -> dict[str, str]:
    """The hidden fields of the form on a page of a task."""
    return fields_of(client.get(name, **params).text, path_to(name, **params))
