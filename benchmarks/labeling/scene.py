"""A project in the middle of its work, to look at: two weeks of labels by people who differ as people do.

Everything goes through the functions that the app itself uses, at times in the past. The labelers' opinions are drawn
from a seed around a worth that each output has: this is no data about anybody.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection

from alignloop.data.records import Turn
from alignloop.labeling.app.guides import install_guidelines
from alignloop.store import adjudication, campaigns, correspondence, people, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.database import Store
from alignloop.store.judgments import Toxicity, Vote, WrittenDemonstration, WrittenPrompt
from alignloop.store.people import DAY, User
from alignloop.store.queue import Assignment
from benchmarks.labeling.scene_hand import ACTOR, HOUR, MINUTE, Hand
from benchmarks.labeling.scene_texts import (
    BREAD,
    CRAB,
    GRANDPA,
    INVENTED,
    example,
    examples,
    fable_task,
    fables,
)

LABELERS = ("Mara", "Tomas", "Yun", "Bilal", "Greta")
HELD_OUT = ("Noor", "Piet")


@dataclass(frozen=True, slots=True)
class Seat:
    """Somebody who is signed in."""

    user: User
    session: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Who is there, and what they have in hand."""

    researcher: Seat
    labeler: Seat
    """Mara, with a task of every kind begun."""
    reader_of_chinese: Seat
    """Yun, with a ranking of Chinese answers begun."""
    tasks: dict[str, str]
    """Kind of work -> public id of Mara's task; `rank_zh` is Yun's."""
    campaign: str
    """Public id of the rankings."""
    disagreement: str
    """Public id of a task on which labelers differ."""
    weak_item: int
    """Place, on the page of Mara's ranking, of an output that makes something up."""
    invited: str
    """A labeler's public id."""

    def paths(self, role: str) -> list[str]:
        """Addresses of every page of a role."""
        if role == "researcher":
            return [
                "/overview",
                "/overview?period=all",
                "/campaigns",
                "/campaigns/new",
                f"/campaigns/{self.campaign}",
                f"/campaigns/{self.campaign}/edit",
                "/labelers",
                f"/labelers/{self.labeler.user.public_id}",
                f"/labelers/{self.invited}",
                "/disagreements",
                f"/disagreements/{self.disagreement}",
                "/economics",
                "/agreement",
                "/exports",
                "/audit",
                "/inbox",
                f"/inbox/{self.labeler.user.public_id}",
                "/guidelines",
            ]
        task = self.tasks
        return [
            "/",
            f"/tasks/{task['rank']}/rate/1",
            f"/tasks/{task['rank']}/rank",
            f"/tasks/{task['demonstrate']}/demonstrate",
            f"/tasks/{task['compare']}/compare",
            f"/tasks/{task['toxicity']}/toxicity/1",
            f"/tasks/{task['practice']}/feedback",
            "/prompts/new",
            "/prompts/new?kind=few_shot",
            "/my-work",
            "/guidelines",
            "/guidelines?purpose=evaluation",
            "/messages",
        ]


def make_scene(
    store: Store, now: int, *, rankings: int = 60, days: int = 14, seed: int = 1
) -> Scene:
    """Fill an empty project: so many ranking tasks over so many days, and some of everything else.

    Args:
        now: milliseconds since 1970, UTC; the work ends just before.
    """
    with store.write() as connection:
        return _Director(connection, now, rankings, days, random.Random(seed)).run()


class _Director(Hand):
    """Everybody's work, in the order of time within each campaign."""

    def __init__(
        self, connection: Connection, now: int, rankings: int, days: int, draw: random.Random
    ) -> None:
        super().__init__(connection, now - days * DAY, now, draw)
        self._rankings = rankings

    def run(self) -> Scene:
        install_guidelines(self._connection, self._begin, ACTOR)
        ines = self.person("Ines", "researcher")
        crew = [self.person(name, "labeler") for name in LABELERS]
        held_out = [self.person(name, "labeler", cohort="heldout") for name in HELD_OUT]
        lena = self.person("Lena", "labeler", standing="pending")
        invited = people.add_user(
            self._connection,
            self._now - HOUR,
            ines.public_id,
            email="otto@example.org",
            name="Otto",
        )
        mara, yun = crew[0], crew[2]

        practice = self._practice(crew, lena)
        self._screening(ines, [*crew, lena])
        demonstrate = self._demonstrations(crew, mara)
        self._written(crew)
        first, disagreement, rank = self._ranked(crew, ines, mara)
        rank_zh = self._ranked_in_chinese(yun)
        compare = self._compared([*crew, *held_out], mara)
        toxicity = self._toxic(crew, mara)
        self._talk(ines, mara, yun)
        return Scene(
            researcher=self._seat(ines),
            labeler=self._seat(mara),
            reader_of_chinese=self._seat(yun),
            tasks={
                "rank": rank.public_id,
                "rank_zh": rank_zh.public_id,
                "demonstrate": demonstrate.public_id,
                "compare": compare.public_id,
                "toxicity": toxicity.public_id,
                "practice": practice.public_id,
            },
            campaign=first.public_id,
            disagreement=disagreement,
            weak_item=rank.display_order.index(BREAD.index(INVENTED) + 1) + 1,
            invited=invited.public_id,
        )

    def _seat(self, user: User) -> Seat:
        return Seat(user, people.start_session(self._connection, self._now, user))

    def _talk(self, ines: User, mara: User, yun: User) -> None:
        said = [
            (50, mara, mara, "Two outputs are the same but for a comma. Do I tie them?"),
            (
                49,
                mara,
                ines,
                "Yes, please: a tie says exactly that. I have put it into the guidelines as an example.",
            ),
            (3, mara, mara, "Thank you! The new buttons are much quicker, by the way."),
            (2, mara, ines, "Glad to hear it. On Monday we begin with the Chinese prompts."),
            (
                5,
                yun,
                yun,
                "I skipped a task about tax law; I could not tell which answer was right.",
            ),
        ]
        for hours, labeler, author, text in said:
            at = self._now - hours * HOUR
            correspondence.write_message(self._connection, at, labeler, author, text)

    def _practice(self, crew: Sequence[User], lena: User) -> Assignment:
        campaign = self.campaign("Practice", "rank", purpose="practice", overlap=9)
        tasks = [self.gold(campaign, 40 + at, 4) for at in range(2)]
        self.open(campaign)
        last: dict[str, Assignment] = {}
        for at, user in enumerate([*crew, lena]):
            for task in tasks:
                last[user.name] = self.rank(campaign, task, user, self._begin + (1 + 7 * at) * HOUR)
        return last["Mara"]

    def _screening(self, ines: User, everybody: Sequence[User]) -> None:
        campaign = self.campaign("Screening", "rank", purpose="screening", overlap=9)
        tasks = [self.gold(campaign, 50 + at, 4) for at in range(4)]
        self.open(campaign)
        for at, user in enumerate(everybody):
            if user.name == "Lena":
                for task in tasks[:3]:
                    self.rank(campaign, task, user, self._now - 5 * HOUR)
                continue
            for task in tasks:
                self.rank(campaign, task, user, self._begin + (4 + 7 * at) * HOUR)
            people.decide_screening(
                self._connection,
                self._begin + (8 + 7 * at) * HOUR,
                ines,
                user,
                decision="qualified",
                measures={},
                note="Agrees with us where it is clear.",
            )

    def _demonstrations(self, crew: Sequence[User], mara: User) -> Assignment:
        campaign = self.campaign("Answers", "demonstrate", price_per_hour=2200, currency="EUR")
        chosen = [one for one in examples() if "examples" not in one and one["language"] == "en"]
        tasks = [
            self.task(
                campaign,
                one["text"],
                split="valid" if at % 5 == 4 else "train",
                history=tuple(Turn(**turn) for turn in one.get("history", ())),
            )
            for at, one in enumerate(chosen)
        ]
        self.open(campaign)
        grandpa = next(
            t for t, one in zip(tasks, chosen, strict=True) if "father-in-law" in one["text"]
        )
        rest = [task for task in tasks if task != grandpa][: max(len(tasks) - 6, 1)]
        for at, task in enumerate(rest):
            user, when = crew[at % len(crew)], self.when(at, len(rest))
            mine = queue.assign_to(self._connection, when, user, campaign, task)
            fable = fables()[at]
            text = f"{fable['fable'][:300]}\n\n{fable['moral']}"
            self.submit(mine, user, WrittenDemonstration(text), when, self._draw.uniform(3, 9))
        mine = queue.assign_to(self._connection, self._now - 6 * MINUTE, mara, campaign, grandpa)
        self.keep(mine, mara, {"response": [GRANDPA]}, seconds=312)
        return mine

    def _written(self, crew: Sequence[User]) -> None:
        campaign = self.campaign("Prompts", "write")
        for _ in range(12):
            campaigns.add_task(self._connection, campaign, prompt_id=None)
        campaign = self.open(campaign)
        for at, user in enumerate(crew):
            when = self.when(at, len(crew))
            mine = cast(Assignment, queue.claim(self._connection, when, user, campaign))
            written = WrittenPrompt(
                f"Explain {fables()[at]['title']} to a child.", "labeler_plain", (), "open_qa"
            )
            self.submit(mine, user, written, when, 2.5)
        queue.claim(self._connection, self._now - 2 * MINUTE, crew[0], campaign)

    def _ranked(
        self, crew: Sequence[User], ines: User, mara: User
    ) -> tuple[Campaign, str, Assignment]:
        campaign = self.campaign(
            "Rankings, first round", "rank", overlap=2, price_per_hour=1800, currency="EUR"
        )
        tasks: list[int] = []
        for at in range(self._rankings):
            text, outputs, worth = fable_task(at, 4 + at % 3 * 2 + at % 2)
            side = "valid" if at % 6 == 5 else "train"
            tasks.append(self.task(campaign, text, outputs, split=side, worth=worth))
        bread = self.task(campaign, example("bread"), BREAD, worth=(3.8, 3.4, 2.2, 0.8, 0.4))
        campaign = self.open(campaign)
        done = tasks[: len(tasks) * 4 // 5]
        for at, task in enumerate(done):
            when = self.when(at, len(done))
            pair = [crew[at % len(crew)], crew[(at + 1 + at // len(crew) % 4) % len(crew)]]
            for user in pair[: 1 if at % 3 == 2 else 2]:
                if at % 17 == 7 and user is pair[0]:
                    mine = queue.assign_to(self._connection, when, user, campaign, task)
                    queue.skip(
                        self._connection,
                        when,
                        user,
                        mine.public_id,
                        "unclear: which of the two animals?",
                    )
                else:
                    self.rank(campaign, task, user, when)
        found = campaigns.task_of(self._connection, done[0])
        decided = adjudication.find_task(
            self._connection, campaigns.task_of(self._connection, done[1]).public_id
        )
        adjudication.decide(
            self._connection,
            self._now - 2 * DAY,
            ines,
            decided,
            outcome="ambiguous",
            reason="taste",
            note="Both are fine.",
        )
        rank = queue.assign_to(self._connection, self._now - 4 * MINUTE, mara, campaign, bread)
        self.keep(rank, mara, _begun(rank, (7, 6, 4, 2, 1), {1: 1, 2: 2, 4: 3, 5: 3}), seconds=187)
        return campaign, found.public_id, rank

    def _ranked_in_chinese(self, yun: User) -> Assignment:
        campaign = self.campaign("中文排序", "rank", price_per_hour=1800, currency="EUR")
        crab = self.task(campaign, example("螃蟹"), CRAB)
        campaign = self.open(campaign)
        mine = queue.assign_to(self._connection, self._now - 3 * MINUTE, yun, campaign, crab)
        self.keep(mine, yun, _begun(mine, (7, 5, 3, 1), {1: 1, 2: 2, 4: 0}), seconds=95)
        return mine

    def _compared(self, judges: Sequence[User], mara: User) -> Assignment:
        campaign = self.campaign(
            "sft-1 against base",
            "compare",
            purpose="evaluation",
            cohort="any",
            overlap=2,
            planned=20,
        )
        tasks = []
        for at in range(20):
            text, outputs, _ = fable_task(70 + at, 2)
            tasks.append(self.task(campaign, text, outputs, split="test", worth=(2.6, 2.0)))
        campaign = self.open(campaign)
        for at, task in enumerate(tasks[:14]):
            for user in (judges[at % len(judges)], judges[(at + 3) % len(judges)]):
                when = self.when(at, 14)
                mine = queue.assign_to(self._connection, when, user, campaign, task)
                a, b = self.opinions(task, user)
                verdict: Any = "tie" if abs(a - b) < 0.3 else "item_1" if a > b else "item_2"
                margin = None if verdict == "tie" else 1 + min(int(abs(a - b)), 2)
                vote = Vote(verdict, mine.display_order[0], margin)
                self.submit(mine, user, vote, when, self._draw.uniform(0.6, 1.6))
        return cast(Assignment, queue.claim(self._connection, self._now - MINUTE, mara, campaign))

    def _toxic(self, crew: Sequence[User], mara: User) -> Assignment:
        campaign = self.campaign(
            "Toxicity", "toxicity", purpose="evaluation", cohort="any", k=(2, 9)
        )
        tasks = []
        for at in range(4):
            text, outputs, _ = fable_task(100 + at, 4)
            tasks.append(self.task(campaign, text, outputs, split="test"))
        campaign = self.open(campaign)
        mine = queue.assign_to(self._connection, self._now - 2 * DAY, crew[1], campaign, tasks[0])
        said = {item: Toxicity(0, 0, 5) for item in mine.display_order}
        self.submit(mine, crew[1], said, self._now - 2 * DAY, 1.5)
        return queue.assign_to(self._connection, self._now - MINUTE, mara, campaign, tasks[1])


def _begun(mine: Assignment, grades: Sequence[int], ranks: dict[int, int]) -> dict[str, list[str]]:
    """Grades of all outputs, flags of the bad ones, and ranks of some: by their place on the page."""
    fields: dict[str, list[str]] = {}
    for at, item in enumerate(mine.display_order, start=1):
        fields[f"likert[{at}]"] = [str(grades[item - 1])]
        if grades[item - 1] > 2:
            fields[f"none_apply[{at}]"] = ["1"]
        else:
            fields[f"flag[{at}]"] = ["instruction"] if item == len(grades) else ["hallucination"]
            fields[f"notes[{at}]"] = (
                ["Says the opposite of what happens."] if item < len(grades) else [""]
            )
        if item in ranks:
            fields[f"rank[{at}]"] = [str(ranks[item])]
    return fields
