"""A project to put a load on: accounts that are signed in, and a ranking campaign with work for all of them."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from alignloop.data.records import Completion
from alignloop.labeling.app.guides import install_guidelines
from alignloop.store import campaigns, correspondence, people, prompts
from alignloop.store.database import Store
from alignloop.store.project import open_project


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in."""

    user_id: int
    session: str
    """The cookie's value."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A project ready to be served."""

    folder: Path
    campaign: str
    """Public id."""
    people: tuple[Person, ...]


def make_lab(folder: Path, *, people_count: int, tasks: int, database: str | None = None) -> Lab:
    """`tasks` ranking tasks of four outputs each, wanted once from everybody."""
    store = open_project(folder, database).open()
    now = time.time_ns() // 1_000_000
    try:
        with store.write() as connection:
            install_guidelines(connection, now, "load")
            campaign = campaigns.add_campaign(
                connection,
                now,
                "load",
                name="load",
                form="rank",
                overlap=people_count,
                asks_ratings=False,
            )
            policy = prompts.add_policy(connection, now, name="load", sha256="", sampling={})
            for number in range(tasks):
                new = prompts.NewPrompt(
                    author=f"author {number}",
                    split="train",
                    kind="customer",
                    text=f"Tell me something about number {number}. " * 5,
                    text_digest=uuid.uuid5(uuid.NAMESPACE_OID, str(number)).bytes,
                )
                [prompt] = prompts.add_prompts(connection, now, [new])
                texts = [
                    Completion(text=f"Answer {n}. " * 40, model="load", finished=True, tokens=80)
                    for n in range(4)
                ]
                ids = prompts.add_completions(connection, prompt, policy, texts)
                campaigns.add_task(connection, campaign, prompt_id=prompt, completion_ids=ids)
            campaigns.set_state(connection, now, "load", campaign, "open")
            found = tuple(_person(connection, now, number) for number in range(people_count))
    finally:
        store.close()
    return Lab(folder, campaign.public_id, found)


def open_store(lab: Lab) -> Store:
    """The store of a lab, to look into."""
    return open_project(lab.folder).open(create=False)


def _person(connection, now: int, number: int) -> Person:  # type: ignore[no-untyped-def]
    user = people.add_user(
        connection,
        now,
        "load",
        email=f"person{number}@load.invalid",
        name=f"Person {number}",
        state="active",
        standing="qualified",
    )
    for guideline in correspondence.guideline_ids(connection, purpose="training"):
        correspondence.acknowledge(connection, now, user, guideline)
    return Person(user.id, people.start_session(connection, now, user))
