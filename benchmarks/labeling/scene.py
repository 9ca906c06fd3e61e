"""A project in the middle of its work, to look at: two weeks of labels by people who differ as people do.

Everything goes through the functions that the app itself uses, at times in the past. The labelers' opinions are drawn
from a seed around a worth that each output has: this is no data about anybody.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection

from alignloop.data.records import Completion, Prompt, Turn
from alignloop.labeling.app.guides import install_guidelines
from alignloop.resources import asset
from alignloop.store import (
    adjudication,
    campaigns,
    correspondence,
    judgments,
    people,
    prompts,
    queue,
)
from alignloop.store import drafts as saved
from alignloop.store.campaigns import Campaign, Form
from alignloop.store.database import Store
from alignloop.store.gold import Gold, write_answers
from alignloop.store.judgments import (
    RankedOutputs,
    Rating,
    Toxicity,
    Vote,
    WrittenDemonstration,
    WrittenPrompt,
)
from alignloop.store.people import DAY, User
from alignloop.store.queue import Assignment
from benchmarks.labeling.scene_texts import BREAD, CRAB, GRANDPA

ACTOR = "scene"
HOUR = 3_600_000
MINUTE = 60_000
LABELERS = ("Mara", "Tomas", "Yun", "Bilal", "Greta")
HELD_OUT = ("Noor", "Piet")
_CARE = {
    "Mara": 0.5,
    "Tomas": 0.6,
    "Yun": 0.55,
    "Bilal": 0.9,
    "Greta": 0.7,
    "Noor": 0.5,
    "Piet": 0.6,
    "Lena": 0.6,
}
"""Standard deviation of an opinion around an output's worth, which goes from 0 to 4."""


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


class _Director:
    """Everybody's work, in the order of time within each campaign."""

    def __init__(
        self, connection: Connection, now: int, rankings: int, days: int, draw: random.Random
    ) -> None:
        self._connection = connection
        self._now = now
        self._begin = now - days * DAY
        self._rankings = rankings
        self._draw = draw
        self._prompts = [json.loads(line) for line in _lines("prompts/examples.jsonl")]
        self._fables = [json.loads(line) for line in _lines("stories/aesop_for_children.jsonl.gz")]
        self._policies: dict[str, int] = {}
        self._worth: dict[int, list[float]] = {}

    def run(self) -> Scene:
        install_guidelines(self._connection, self._begin, ACTOR)
        ines = self._person("Ines", "researcher")
        crew = [self._person(name, "labeler") for name in LABELERS]
        held_out = [self._person(name, "labeler", cohort="heldout") for name in HELD_OUT]
        lena = self._person("Lena", "labeler", standing="pending")
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
        first, disagreement, rank, rank_zh = self._ranked(crew, ines, mara, yun)
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
            invited=invited.public_id,
        )

    # --- people ---

    def _person(
        self, name: str, role: Any, *, cohort: Any = None, standing: str = "qualified"
    ) -> User:
        user = people.add_user(
            self._connection,
            self._begin,
            ACTOR,
            email=f"{name.lower()}@example.org",
            name=name,
            role=role,
            cohort=cohort,
            state="active",
            standing=standing,
        )
        for purpose in ("training", "evaluation"):
            for guideline in correspondence.guideline_ids(self._connection, purpose=purpose):
                correspondence.acknowledge(self._connection, self._begin, user, guideline)
        return user

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

    # --- campaigns ---

    def _campaign(self, name: str, form: Form, **settings: Any) -> Campaign:
        return campaigns.add_campaign(
            self._connection, self._begin, ACTOR, name=name, form=form, **settings
        )

    def _open(self, campaign: Campaign, *, state: Any = "open") -> Campaign:
        opened = campaigns.set_state(self._connection, self._begin, ACTOR, campaign, "open")
        if state == "open":
            return opened
        return campaigns.set_state(self._connection, self._now, ACTOR, opened, state)

    def _task(
        self,
        campaign: Campaign,
        text: str,
        outputs: Sequence[str] = (),
        *,
        split: str = "train",
        worth: Sequence[float] = (),
        language: str = "en",
        **more: Any,
    ) -> int:
        name = f"{campaign.name}/{text[:200]}"
        record = Prompt(id=name, group=name, text=text, **more)
        prompt = prompts.add_record(self._connection, self._begin, record, split)
        ids: list[int] = []
        for at, output in enumerate(outputs):
            model = ("sft-1", "base")[at % 2]
            if model not in self._policies:
                self._policies[model] = prompts.add_policy(
                    self._connection, self._begin, name=model, sha256="", sampling={}
                )
            written = Completion(text=output, model=model, finished=True, tokens=len(output) // 4)
            ids += prompts.add_completions(
                self._connection, prompt, self._policies[model], [written]
            )
        task = campaigns.add_task(self._connection, campaign, prompt_id=prompt, completion_ids=ids)
        self._worth[task] = list(worth) or [
            4 - 3.5 * at / max(len(ids), 1) for at in range(len(ids))
        ]
        return task

    def _fable(self, number: int, k: int) -> tuple[str, list[str], list[float]]:
        """A prompt with k outputs: the fable's end, parts of it, and the ends of others; and what they are worth."""
        fable = self._fables[number % len(self._fables)]
        sentences = fable["fable"].split(". ")
        cut = max(len(sentences) // 2, 1)
        begun, end = ". ".join(sentences[:cut]) + ".", ". ".join(sentences[cut:])
        others = [self._fables[(number + step) % len(self._fables)] for step in range(1, k)]
        found = [
            (end + "\n\n" + fable["moral"], 3.8),
            (end, 3.4),
            (end[: len(end) // 2] + "...", 2.3),
        ]
        for step, other in enumerate(others):
            found.append(
                (other["fable"].split(". ")[-1] + "\n\n" + other["moral"], 1.6 - 0.3 * step)
            )
        texts = dict(reversed([pair for pair in found if pair[0].strip()]))
        chosen = sorted(texts.items(), key=lambda pair: -pair[1])[:k]
        return f"Go on with this fable, and end with its moral.\n\n{begun}", *map(
            list, zip(*chosen, strict=True)
        )  # type: ignore[return-value]

    def _when(self, at: int, of: int) -> int:
        """The middle of a working day, so far through the two weeks."""
        span = self._now - self._begin - 2 * HOUR
        moment = self._begin + int(span * (at + 0.5) / max(of, 1))
        day = moment - moment % DAY
        return min(day + 8 * HOUR + (moment % DAY) // 3, self._now - HOUR)

    # --- what everybody does ---

    def _practice(self, crew: Sequence[User], lena: User) -> Assignment:
        campaign = self._campaign("Practice", "rank", purpose="practice", overlap=9)
        tasks = [self._gold(campaign, 40 + at, 4) for at in range(2)]
        self._open(campaign)
        last: dict[str, Assignment] = {}
        for at, user in enumerate([*crew, lena]):
            for task in tasks:
                last[user.name] = self._rank(campaign, task, user, self._begin + at * HOUR)
        return last["Mara"]

    def _screening(self, ines: User, everybody: Sequence[User]) -> None:
        campaign = self._campaign("Screening", "rank", purpose="screening", overlap=9)
        tasks = [self._gold(campaign, 50 + at, 4) for at in range(4)]
        self._open(campaign)
        for at, user in enumerate(everybody):
            if user.name == "Lena":
                for task in tasks[:3]:
                    self._rank(campaign, task, user, self._now - 5 * HOUR)
                continue
            for task in tasks:
                self._rank(campaign, task, user, self._begin + (3 + at) * HOUR)
            people.decide_screening(
                self._connection,
                self._begin + 12 * HOUR,
                ines,
                user,
                decision="qualified",
                measures={},
                note="Agrees with us where it is clear.",
            )

    def _gold(self, campaign: Campaign, number: int, k: int) -> int:
        text, outputs, worth = self._fable(number, k)
        task = self._task(campaign, text, outputs, worth=worth)
        relations = {
            (a, b): 1 for a in range(1, len(outputs)) for b in range(a + 1, len(outputs) + 1)
        }
        flags = {(len(outputs), "instruction"): True}
        write_answers(self._connection, task, Gold(relations, flags))
        return task

    def _demonstrations(self, crew: Sequence[User], mara: User) -> Assignment:
        campaign = self._campaign("Answers", "demonstrate", price_per_hour=2200, currency="EUR")
        chosen = [one for one in self._prompts if "examples" not in one and one["language"] == "en"]
        tasks = [
            self._task(
                campaign,
                one["text"],
                split="valid" if at % 5 == 4 else "train",
                history=tuple(Turn(**turn) for turn in one.get("history", ())),
            )
            for at, one in enumerate(chosen)
        ]
        self._open(campaign)
        grandpa = next(
            t for t, one in zip(tasks, chosen, strict=True) if "father-in-law" in one["text"]
        )
        rest = [task for task in tasks if task != grandpa][: max(len(tasks) - 6, 1)]
        for at, task in enumerate(rest):
            user, when = crew[at % len(crew)], self._when(at, len(rest))
            mine = queue.assign_to(self._connection, when, user, campaign, task)
            fable = self._fables[at]
            text = f"{fable['fable'][:300]}\n\n{fable['moral']}"
            self._submit(mine, user, WrittenDemonstration(text), when, self._draw.uniform(3, 9))
        mine = queue.assign_to(self._connection, self._now - 6 * MINUTE, mara, campaign, grandpa)
        self._keep(mine, mara, {"response": [GRANDPA]}, seconds=312)
        return mine

    def _written(self, crew: Sequence[User]) -> None:
        campaign = self._campaign("Prompts", "write")
        for _ in range(12):
            campaigns.add_task(self._connection, campaign, prompt_id=None)
        campaign = self._open(campaign)
        for at, user in enumerate(crew):
            when = self._when(at, len(crew))
            mine = cast(Assignment, queue.claim(self._connection, when, user, campaign))
            written = WrittenPrompt(
                f"Explain {self._fables[at]['title']} to a child.", "labeler_plain", (), "open_qa"
            )
            self._submit(mine, user, written, when, 2.5)

    def _ranked(
        self, crew: Sequence[User], ines: User, mara: User, yun: User
    ) -> tuple[Campaign, str, Assignment, Assignment]:
        campaign = self._campaign(
            "Rankings, first round", "rank", overlap=2, price_per_hour=1800, currency="EUR"
        )
        tasks: list[int] = []
        for at in range(self._rankings):
            text, outputs, worth = self._fable(at, 4 + at % 3 * 2 + at % 2)
            if len(outputs) < 4:
                text, outputs, worth = self._fable(at + 7, 4)
            side = "valid" if at % 6 == 5 else "train"
            tasks.append(self._task(campaign, text, outputs, split=side, worth=worth))
        bread = self._task(
            campaign, _text(self._prompts, "bread"), BREAD, worth=(3.8, 3.4, 2.2, 0.8, 0.4)
        )
        crab = self._task(campaign, _text(self._prompts, "螃蟹"), CRAB, worth=(3.8, 2.8, 1.2, 0.2))
        campaign = self._open(campaign)
        done = tasks[: len(tasks) * 4 // 5]
        for at, task in enumerate(done):
            when = self._when(at, len(done))
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
                    self._rank(campaign, task, user, when)
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
        self._keep(rank, mara, _begun(rank, (7, 6, 4, 2, 1), {1: 1, 2: 2, 4: 3, 5: 3}), seconds=187)
        rank_zh = queue.assign_to(self._connection, self._now - 3 * MINUTE, yun, campaign, crab)
        self._keep(rank_zh, yun, _begun(rank_zh, (7, 5, 3, 1), {1: 1, 2: 2, 4: 0}), seconds=95)
        return campaign, found.public_id, rank, rank_zh

    def _compared(self, judges: Sequence[User], mara: User) -> Assignment:
        campaign = self._campaign(
            "sft-1 against base",
            "compare",
            purpose="evaluation",
            cohort="any",
            overlap=2,
            planned=20,
        )
        tasks = []
        for at in range(20):
            text, outputs, _ = self._fable(70 + at, 2)
            tasks.append(self._task(campaign, text, outputs, split="test", worth=(2.6, 2.0)))
        campaign = self._open(campaign)
        for at, task in enumerate(tasks[:14]):
            for user in (judges[at % len(judges)], judges[(at + 3) % len(judges)]):
                when = self._when(at, 14)
                mine = queue.assign_to(self._connection, when, user, campaign, task)
                a, b = self._opinions(task, user)
                verdict: Any = "tie" if abs(a - b) < 0.3 else "item_1" if a > b else "item_2"
                margin = None if verdict == "tie" else 1 + min(int(abs(a - b)), 2)
                vote = Vote(verdict, mine.display_order[0], margin)
                self._submit(mine, user, vote, when, self._draw.uniform(0.6, 1.6))
        return cast(Assignment, queue.claim(self._connection, self._now - MINUTE, mara, campaign))

    def _toxic(self, crew: Sequence[User], mara: User) -> Assignment:
        campaign = self._campaign(
            "Toxicity", "toxicity", purpose="evaluation", cohort="any", k=(2, 9)
        )
        tasks = []
        for at in range(4):
            text, outputs, _ = self._fable(100 + at, 4)
            tasks.append(self._task(campaign, text, outputs, split="test"))
        campaign = self._open(campaign)
        mine = queue.assign_to(self._connection, self._now - 2 * DAY, crew[1], campaign, tasks[0])
        said = {item: Toxicity(0, 0, 5) for item in mine.display_order}
        self._submit(mine, crew[1], said, self._now - 2 * DAY, 1.5)
        return queue.assign_to(self._connection, self._now - MINUTE, mara, campaign, tasks[1])

    # --- one label ---

    def _opinions(self, task: int, user: User) -> list[float]:
        return [worth + self._draw.gauss(0, _CARE[user.name]) for worth in self._worth[task]]

    def _rank(self, campaign: Campaign, task: int, user: User, when: int) -> Assignment:
        mine = queue.assign_to(self._connection, when, user, campaign, task)
        opinions = self._opinions(task, user)
        levels = sorted({round(one * 2) for one in opinions}, reverse=True)
        groups = {
            item: levels.index(round(one * 2)) + 1 for item, one in enumerate(opinions, start=1)
        }
        flags = campaigns.flags_of(self._connection, campaign.flag_set_id)
        ratings = {
            item: Rating(
                min(max(round(1 + one * 1.5), 1), 7),
                {
                    key: (key == "instruction" and one < 1) or self._draw.random() < 0.02
                    for key in flags
                },
            )
            for item, one in enumerate(opinions, start=1)
        }
        minutes = (0.35 + 0.4 * len(opinions)) * self._draw.uniform(0.7, 1.5)
        self._submit(mine, user, RankedOutputs(groups, ratings), when, minutes)
        return mine

    def _submit(
        self, mine: Assignment, user: User, answer: judgments.Answer, when: int, minutes: float
    ) -> None:
        active = int(minutes * MINUTE)
        judgments.submit(
            self._connection,
            when + active,
            user,
            mine.public_id,
            answer,
            client_uuid=mine.public_id,
            active_ms=active,
            idle_ms=active // 9,
            first_input_ms=2500,
        )

    def _keep(
        self, mine: Assignment, user: User, fields: dict[str, list[str]], seconds: int
    ) -> None:
        """What somebody has typed so far."""
        payload = {
            "fields": fields,
            "visits": {"scene": [seconds * 1000, 4000, 2100]},
            "by": "scene",
        }
        saved.save_draft(
            self._connection,
            self._now,
            user,
            mine.public_id,
            payload,
            rev=0,
            active_ms=seconds * 1000,
        )


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


def _text(found: Sequence[dict[str, Any]], word: str) -> str:
    return next(one["text"] for one in found if word in one["text"])


def _lines(name: str) -> list[str]:
    path = asset(name)
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return [line for line in text.decode("utf-8").splitlines() if line.strip()]
