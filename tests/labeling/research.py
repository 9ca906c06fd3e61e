"""A project with people, prompts, models and some work in it, for the tests of the researchers' pages."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select, update

from alignloop.data.records import Completion
from alignloop.store import campaigns, correspondence, flag_sets, judgments, people, prompts, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.judgments import RankedOutputs, Rating, Vote, WrittenDemonstration
from alignloop.store.people import User
from alignloop.store.schema import policies, tasks, users
from tests.labeling.client import NOW, Client, Site, site
from tests.store.conftest import Lab as Bench

SECRET_MODELS = ("sft-secret", "ppo-secret")
NOT_FLAGGED = dict.fromkeys(flag_sets.TABLE_3_FLAGS, False)


@dataclass
class Desk:
    """A researcher at work: their browser, and short ways to what labelers do meanwhile."""

    site: Site
    boss: User
    browser: Client
    bench: Bench
    policies: dict[str, str] = field(default_factory=dict)
    """Name -> public id."""

    # --- what there is to work on -------------------------------------------------------------------------------

    def prompts(self, split: str = "train", count: int = 3, texts: int = 4) -> list[int]:
        """Prompts with so many different completions of either model."""
        found: list[int] = []
        with self.site.store.write() as connection:
            ids = [
                prompts.add_policy(connection, NOW, name=name, sha256=name * 4, sampling={})
                for name in SECRET_MODELS
            ]
            for _ in range(count):
                prompt = self.bench.prompt(connection, split=split)
                found.append(prompt)
                for policy in ids:
                    written = [
                        Completion(
                            text=f"{policy}.{at} of {prompt}",
                            model="m",
                            finished=True,
                            tokens=5 + at,
                        )
                        for at in range(texts)
                    ]
                    prompts.add_completions(connection, prompt, policy, written)
        with self.site.store.read() as connection:
            rows = connection.execute(select(policies)).all()
            self.policies = {row.name: row.public_id for row in rows if row.name in SECRET_MODELS}
        return found

    def campaign(self, sizes: Sequence[int] = (4,), **given: object) -> Campaign:
        """An open campaign that somebody made by other means."""
        return self.bench.campaign(sizes, **given)

    # --- what labelers do ---------------------------------------------------------------------------------------

    def rank(
        self,
        user: User,
        campaign: Campaign,
        groups: Sequence[int | None],
        *,
        likert: Sequence[int] = (),
        flags: dict[str, bool] | None = None,
        seconds: float = 60,
        comment: str = "",
    ) -> str:
        """Take the next task and rank it; returns the task's public id."""
        rated = {
            item: Rating(score, {**NOT_FLAGGED, **(flags or {})})
            for item, score in enumerate(likert, start=1)
        }
        answer = RankedOutputs(dict(enumerate(groups, start=1)), rated)
        return self._submit(user, campaign, answer, seconds, comment)

    def vote(self, user: User, campaign: Campaign, verdict: str, seconds: float = 30) -> str:
        """Compare the next pair, with the item on the left that the page would show there."""
        margin = 1 if verdict.startswith("item") else None
        return self._submit(user, campaign, Vote(verdict, 1, margin), seconds)  # type: ignore[arg-type]

    def demonstrate(self, user: User, campaign: Campaign, text: str, seconds: float = 300) -> str:
        return self._submit(user, campaign, WrittenDemonstration(text), seconds)

    def _submit(
        self, user: User, campaign: Campaign, answer: object, seconds: float, comment: str = ""
    ) -> str:
        now = self.site.clock.now
        with self.site.store.write() as connection:
            task = queue.claim(connection, now, user, campaign)
            assert task is not None, "nothing is left"
            judgments.submit(
                connection,
                now,
                user,
                task.public_id,
                answer,  # type: ignore[arg-type]
                client_uuid=uuid.uuid4().hex,
                comment=comment,
                active_ms=int(seconds * 1000),
            )
            found = select(tasks.c.public_id).where(tasks.c.id == task.task_id)
            return connection.execute(found).scalar_one()

    def skip(self, campaign: Campaign, reason: str) -> None:
        user, now = self.site.labeler(), self.site.clock.now
        with self.site.store.write() as connection:
            task = queue.claim(connection, now, user, campaign)
            assert task is not None
            queue.skip(connection, now, user, task.public_id, reason)

    def set_password(self, user: User) -> None:
        with self.site.store.write() as connection:
            connection.execute(update(users).where(users.c.id == user.id).values(password_hash="x"))

    # --- what is there now --------------------------------------------------------------------------------------

    def find(self, name: str) -> Campaign:
        with self.site.store.read() as connection:
            return campaigns.get_campaign(connection, name=name)

    def again(self, campaign: Campaign) -> Campaign:
        with self.site.store.read() as connection:
            return campaigns.get_campaign(connection, campaign_id=campaign.id)

    def user(self, user: User) -> User:
        with self.site.store.read() as connection:
            return people.get_user(connection, user.public_id)


@contextmanager
def desk(folder: Path, place: str | None = None) -> Iterator[Desk]:
    """A new project in a folder, with guidelines and a researcher who is signed in."""
    with site(folder, place) as lab:
        with lab.store.write() as connection:
            for purpose in ("training", "evaluation"):
                correspondence.add_guideline(
                    connection,
                    NOW,
                    "setup",
                    purpose=purpose,
                    version=1,
                    locale="en",
                    body="## Helpful\nBe.",
                )
        boss = lab.researcher("Boss")
        yield Desk(lab, boss, lab.sign_in(boss), Bench(lab.store))


def figure(html: str, title: str) -> str:
    """The value of a figure on a page, by its title, as text."""
    found = re.search(rf"<dt>{re.escape(title)}</dt><dd[^>]*>(.*?)</dd>", html, re.DOTALL)
    assert found is not None, f"no figure '{title}'"
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


def cells(html: str, row: str) -> list[str]:
    """The cells of the table row that begins with a name, as text; of several the widest, since charts have tables."""
    found = [
        [
            " ".join(re.sub(r"<[^>]+>", " ", cell).split())
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL)
        ]
        for line in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    ]
    named = [texts for texts in found if texts and texts[0].startswith(row)]
    assert named, f"no row '{row}'"
    return max(named, key=len)


def errors_in(html: str) -> set[str]:
    """Names of the fields that a page says something is wrong with."""
    return set(re.findall(r'id="error-([^"]+)"', html))


def form_values(html: str) -> dict[str, str]:
    """What the inputs and selects of a page hold."""
    found = dict(re.findall(r'<input[^>]* name="([^"]+)"[^>]* value="([^"]*)"', html))
    for name, options in re.findall(
        r'<select[^>]* name="([^"]+)"[^>]*>(.*?)</select>', html, re.DOTALL
    ):
        chosen = re.search(r'<option value="([^"]*)"[^>]* selected', options)
        found[name] = chosen[1] if chosen else ""
    return found


def practice(lab: Desk, sizes: tuple[int, ...] = (4, 4)) -> Campaign:
    """A campaign for practice, with a task of each size."""
    return lab.campaign(
        sizes, purpose="practice", cohort="any", asks_ratings=True, overlap=9, k=(2, 9)
    )
