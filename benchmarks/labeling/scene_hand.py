"""What the scene is made with: people, campaigns, tasks and single labels, all of them at times in the past."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from alignloop.data.records import Completion, Prompt
from alignloop.store import campaigns, correspondence, flag_sets, judgments, people, prompts, queue
from alignloop.store import drafts as saved
from alignloop.store.campaigns import Campaign, Form
from alignloop.store.gold import Gold, write_answers
from alignloop.store.judgments import RankedOutputs, Rating
from alignloop.store.people import DAY, User
from alignloop.store.queue import Assignment
from benchmarks.labeling.scene_texts import fable_task

ACTOR = "scene"
HOUR = 3_600_000
MINUTE = 60_000
_CARE = {
    "Mara": 0.7,
    "Tomas": 0.8,
    "Yun": 0.75,
    "Bilal": 1.2,
    "Greta": 0.9,
    "Noor": 0.7,
    "Piet": 0.8,
    "Lena": 0.8,
}
"""Standard deviation of an opinion around an output's worth, which goes from 0 to 4."""


class Hand:
    """A connection, the span of time, and a lot to draw."""

    def __init__(self, connection: Connection, begin: int, now: int, draw: random.Random) -> None:
        self._connection = connection
        self._begin = begin
        self._now = now
        self._draw = draw
        self._policies: dict[str, int] = {}
        self._worth: dict[int, list[float]] = {}

    def person(
        self, name: str, role: Any, *, cohort: Any = None, standing: str = "qualified"
    ) -> User:
        """Somebody who has read the guidelines."""
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

    def campaign(self, name: str, form: Form, **settings: Any) -> Campaign:
        """A campaign in draft."""
        return campaigns.add_campaign(
            self._connection, self._begin, ACTOR, name=name, form=form, **settings
        )

    def open(self, campaign: Campaign) -> Campaign:
        """Open a campaign, at the beginning."""
        return campaigns.set_state(self._connection, self._begin, ACTOR, campaign, "open")

    def task(
        self,
        campaign: Campaign,
        text: str,
        outputs: Sequence[str] = (),
        *,
        split: str = "train",
        worth: Sequence[float] = (),
        **more: Any,
    ) -> int:
        """A task with its outputs, and what each of them is worth: from 4, the best, to 0."""
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

    def gold(self, campaign: Campaign, number: int, k: int) -> int:
        """A task of a fable whose right answers are known."""
        text, outputs, worth = fable_task(number, k)
        task = self.task(campaign, text, outputs, worth=worth)
        relations = {
            (a, b): 1 for a in range(1, len(outputs)) for b in range(a + 1, len(outputs) + 1)
        }
        flags = {(len(outputs), "instruction"): True}
        write_answers(self._connection, task, Gold(relations, flags))
        return task

    def when(self, at: int, of: int) -> int:
        """The middle of a working day, so far through the two weeks."""
        span = self._now - self._begin - 2 * HOUR
        moment = self._begin + int(span * (at + 0.5) / max(of, 1))
        day = moment - moment % DAY
        return min(day + 8 * HOUR + (moment % DAY) // 3, self._now - HOUR)

    def opinions(self, task: int, user: User) -> list[float]:
        """What somebody thinks each output of a task is worth."""
        return [worth + self._draw.gauss(0, _CARE[user.name]) for worth in self._worth[task]]

    def rank(self, campaign: Campaign, task: int, user: User, when: int) -> Assignment:
        """One ranking: ratings, flags, ranks by what this person thinks each output is worth."""
        mine = queue.assign_to(self._connection, when, user, campaign, task)
        opinions = self.opinions(task, user)
        levels = sorted({round(one * 2) for one in opinions}, reverse=True)
        groups = {
            item: levels.index(round(one * 2)) + 1 for item, one in enumerate(opinions, start=1)
        }
        flags = flag_sets.flags_of(self._connection, campaign.flag_set_id)
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
        self.submit(mine, user, RankedOutputs(groups, ratings), when, minutes)
        return mine

    def submit(
        self, mine: Assignment, user: User, answer: judgments.Answer, when: int, minutes: float
    ) -> None:
        """Hand something in, at a time in the past."""
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

    def keep(
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
