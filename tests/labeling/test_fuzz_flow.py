"""One labeler in several tabs, pressing whatever there is in any order: nothing is lost, and nothing counts twice."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from alignloop.labeling.app.paths import path_to
from alignloop.store import campaigns, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.schema import (
    ANSWER_TABLES,
    assignments,
    drafts,
    rank_entries,
    submissions,
)
from alignloop.web.limits import RateLimit
from tests.labeling.client import MINUTE, site
from tests.labeling.hostile import Parts
from tests.labeling.world import fields_of
from tests.store.conftest import Lab as Bench
from tests.store.crowd import problems_of

K = 4
EVERYDAY = 12
"""Walks of thirty steps; one that fails is made shorter in the long test alone, which may take its time."""
PLACES = [str(at) for at in range(1, K + 1)]
Fields = dict[str, list[str]]

ranks = st.lists(st.sampled_from(["0", *PLACES, ""]), min_size=K, max_size=K).map(
    lambda drawn: {f"rank[{at}]": [rank] for at, rank in zip(PLACES, drawn, strict=True) if rank}
)
whole_ranks = st.lists(st.sampled_from(PLACES), min_size=K, max_size=K).map(
    lambda drawn: {f"rank[{at}]": [rank] for at, rank in zip(PLACES, drawn, strict=True)}
)
notes = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=12)
rates = st.fixed_dictionaries(
    {"notes": notes.map(lambda text: [text])},
    optional={
        "likert": st.sampled_from([["1"], ["7"], ["8"]]),
        "none_apply": st.just(["1"]),
        "flag": st.sampled_from([["sexual"], ["sexual", "opinion"]]),
    },
)


@dataclasses.dataclass
class Task:
    """What is known of a task that was once in hand."""

    id: str
    has_ratings: bool
    fields: Fields = dataclasses.field(default_factory=dict)
    """The draft that was acknowledged last, or what was submitted."""


@dataclasses.dataclass
class Tab:
    """A page that is open in a tab; its hidden fields grow old."""

    task: Task
    screen: str
    item: str
    hidden: dict[str, str]

    @property
    def place(self) -> dict[str, str]:
        return {"task": self.task.id, **({"item": self.item} if self.item else {})}

    def typed(self, sent: Fields) -> Fields:
        """What this form says, with the names that its fields have."""
        if self.screen == "rank":
            return {name: value for name, value in sent.items() if name.startswith("rank[")}
        return {f"{name}[{self.item}]": sent[name] for name in sent if "[" not in name}

    def is_its_own(self, name: str) -> bool:
        """Whether a field of the draft is replaced by this form."""
        if name in ("skip_reason", "skip_note"):
            return True
        if self.screen == "rank":
            return name.startswith(("rank[", "moves_"))
        return name.endswith(f"[{self.item}]") and not name.startswith("rank[")


class Flow(RuleBasedStateMachine):
    """Ann at work, and Bob, who takes what she lets go of."""

    tabs = Bundle("tabs")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(tempfile.mkdtemp(prefix="flow-"))
        self.stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self.site = self.stack.enter_context(site(folder))
        self.site.lab = dataclasses.replace(
            self.site.lab, submits=RateLimit(10**9, 60), drafts=RateLimit(10**9, 60)
        )
        self.ann, self.bob = self.site.labeler(), self.site.labeler()
        bench = Bench(self.site.store)
        self.campaigns = [
            bench.campaign([K] * 3, asks_ratings=has_ratings) for has_ratings in (False, True)
        ]
        self.client = self.site.sign_in(self.ann)
        self.tasks: dict[str, Task] = {}
        self.final: dict[int, tuple[Any, ...]] = {}
        self.clicks: list[tuple[Tab, dict[str, Any]]] = []

    def teardown(self) -> None:
        try:
            with self.site.store.read() as connection:
                ids = list(connection.execute(select(submissions.c.public_id)).scalars())
                assert problems_of(connection, ids) == []
        finally:
            self.stack.close()

    # --- what a labeler does ------------------------------------------------------------------------------------

    @initialize(target=tabs)
    def begin(self) -> Any:
        """A task of either campaign in a tab."""
        return multiple(self.claim(0), self.claim(1))

    @rule(target=tabs, which=st.integers(0, 1))
    def claim(self, which: int) -> Any:
        """Take a task, or go on with the one in hand, and open its first page."""
        answer = self.client.post("claim", {"campaign": self.campaigns[which].public_id})
        if answer.status_code == 404:
            assert self._campaign(which).state != "open"
            return multiple()
        location = answer.headers["location"]
        if not location.startswith("/tasks/"):
            return multiple()  # none is left
        task = location.split("/")[2]
        known = self.tasks.setdefault(task, Task(task, bool(which)))
        return self._open(known, "rate" if which else "rank", "1" if which else "")

    @rule(target=tabs, tab=tabs, to=st.sampled_from(["rank", *PLACES]))
    def open_another_tab(self, tab: Tab, to: str) -> Any:
        """The same task again, on one of its pages: it shows what was acknowledged."""
        is_rank = to == "rank" or not tab.task.has_ratings
        return self._open(tab.task, "rank" if is_rank else "rate", "" if is_rank else to)

    @rule(tab=tabs, ranks=ranks, rates=rates)
    def keep_a_draft(self, tab: Tab, ranks: Fields, rates: Fields) -> None:
        """What the page's script does."""
        typed = tab.typed(ranks if tab.screen == "rank" else rates)
        answer = self._send("draft", tab, typed)
        assert answer.status_code in (200, 409)
        if answer.status_code == 200:
            tab.hidden["rev"] = str(answer.json()["rev"])
        self._is_kept(tab, typed, is_kept=answer.status_code == 200)

    @rule(
        tab=tabs,
        ranks=ranks,
        rates=rates,
        action=st.sampled_from(["save", "next", "back", "go:rank", "go:2", "text:rich", "seed"]),
    )
    def press_a_button(self, tab: Tab, ranks: Fields, rates: Fields, action: str) -> None:
        """A form that goes on to another page."""
        typed = tab.typed(ranks if tab.screen == "rank" else rates)
        was_open = self._state(tab.task) == "open"
        before = self._count()
        answer = self._send(tab.screen, tab, typed, action)
        assert answer.status_code in (303, 409, 422)
        if not was_open or answer.status_code == 409:
            # Of a submitted task, what is said besides is kept beside it; nothing else comes of it.
            assert self._count() - before in (0, 1)
            self._is_kept(tab, typed, is_kept=False)
        elif action == "seed":
            tab.task.fields = self._fields(tab.task)
        else:
            self._is_kept(tab, typed, is_kept=True)

    @rule(tab=tabs)
    def rate_everything(self, tab: Tab) -> None:
        """Whatever there is to say before one can submit, in a tab of its own."""
        if not tab.task.has_ratings or self._state(tab.task) != "open":
            return
        for item in PLACES:
            if tab.task.fields.get(f"likert[{item}]") == ["5"]:
                continue
            fresh = self._open(tab.task, "rate", item)
            assert isinstance(fresh, Tab)
            typed = {f"likert[{item}]": ["5"], f"none_apply[{item}]": ["1"]}
            assert self._send("rate", fresh, typed, "next").status_code == 303
            self._is_kept(fresh, typed, is_kept=True)

    @rule(tab=tabs, ranks=st.one_of(ranks, whole_ranks))
    def submit(self, tab: Tab, ranks: Fields) -> None:
        """From the page of the ranking: taken whole, or sent back and kept."""
        if tab.screen != "rank":
            # Its address, typed in: the form is that of another page.
            tab.screen, tab.item, tab.hidden["screen"] = "rank", "", "rank"
            tab.hidden.pop("item")
        state, before = self._state(tab.task), self._count()
        answer = self._send("rank", tab, ranks, "submit")
        assert answer.status_code in (303, 409, 422)
        if answer.status_code == 303:
            self.clicks.append((tab, self._form(tab, ranks, "submit")))
            # Never told "submitted" for anything else; twice the same from one tab is once.
            kept = [row for row in self._judgments(tab.task) if _ranks_of(row) == ranks]
            assert kept
            assert self._count() - before in (0, 1)
            assert self._state(tab.task) == "submitted"
            if kept[-1].state == "final":
                tab.task.fields = kept[-1].payload["fields"]
        else:
            assert self._count() == before
            self._is_kept(tab, ranks, is_kept=answer.status_code == 422 and state == "open")

    @precondition(lambda self: self.clicks)
    @rule(which=st.integers(0, 10))
    def click_again(self, which: int) -> None:
        """The same click, whose answer was lost."""
        tab, form = self.clicks[which % len(self.clicks)]
        before = self._count()
        same = [
            row for row in self._judgments(tab.task) if row.payload["by"] == form["client_uuid"]
        ]
        answer = self.client.post("rank", form, **tab.place)
        assert answer.status_code in (303, 409, 422)
        if self._state(tab.task) == "submitted" and answer.status_code == 303 and len(same) == 1:
            assert self._count() - before <= 1

    @rule(tab=tabs, reason=st.sampled_from(["unclear", "", "nonsense"]))
    def skip(self, tab: Tab, reason: str) -> None:
        """Pass a task on."""
        state = self._state(tab.task)
        form = {**self._form(tab, {}, "skip"), "skip_reason": reason}
        answer = self.client.post(tab.screen, form, **tab.place)
        assert answer.status_code in (303, 409, 422)
        if self._state(tab.task) == "skipped" and state == "open":
            assert reason == "unclear"
            assert not [row for row in self._judgments(tab.task) if row.state == "final"]
        tab.task.fields = self._fields(tab.task)

    @rule(tab=tabs)
    def reopen(self, tab: Tab) -> None:
        """Take a submission back: what was submitted is in the fields again."""
        state = self._state(tab.task)
        answer = self.client.post("reopen", submission=tab.task.id)
        assert answer.status_code in (303, 404)
        if answer.status_code == 303:
            [final] = [row for row in self._judgments(tab.task) if row.state == "final"]
            if state == "submitted":
                assert self._fields(tab.task) == final.payload["fields"]
                tab.task.fields = final.payload["fields"]

    # --- what happens to a labeler ------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([1, 1, 11]))
    def time_passes(self, minutes: int) -> None:
        """Re-opening ends after ten minutes."""
        self.site.clock.pass_(minutes * MINUTE)

    @rule(which=st.integers(0, 1), late=st.booleans(), gives_back=st.booleans())
    def somebody_takes_over(self, which: int, late: bool, gives_back: bool) -> None:
        """Bob takes what is free of a campaign; after an hour, what Ann let run out."""
        campaign = self._campaign(which)
        if late:
            self.site.clock.pass_(61 * MINUTE)
        if campaign.state != "open":
            return
        with self.site.store.write() as connection:
            found = queue.claim(connection, self.site.clock.now, self.bob, campaign)
            if found is not None and gives_back:
                queue.skip(connection, self.site.clock.now, self.bob, found.public_id, "other")

    @rule(which=st.integers(0, 1), state=st.sampled_from(["open", "open", "closed"]))
    def researchers_decide(self, which: int, state: Any) -> None:
        """A campaign is closed, or opened again."""
        campaign = self._campaign(which)
        if campaign.state != state:
            with self.site.store.write() as connection:
                campaigns.set_state(connection, self.site.clock.now, "test", campaign, state)

    # --- what is always so --------------------------------------------------------------------------------------

    @invariant()
    def at_most_one_judgment_counts(self) -> None:
        with self.site.store.read() as connection:
            finals = connection.execute(
                select(submissions.c.assignment_id).where(submissions.c.state == "final")
            ).scalars()
            found = list(finals)
        assert len(found) == len(set(found))

    @invariant()
    def ranks_are_dense(self) -> None:
        with self.site.store.read() as connection:
            rows = connection.execute(select(rank_entries)).all()
        of: dict[int, list[int | None]] = {}
        for row in rows:
            of.setdefault(row.submission_id, []).append(row.rank_group)
        for groups in of.values():
            ranked = {group for group in groups if group is not None}
            assert len(groups) == K
            assert ranked == set(range(1, len(ranked) + 1))

    @invariant()
    def what_is_final_never_changes(self) -> None:
        now: dict[int, tuple[Any, ...]] = {}
        states: dict[int, str] = {}
        with self.site.store.read() as connection:
            for row in connection.execute(select(submissions)):
                now[row.id] = tuple(
                    value for name, value in row._mapping.items() if name != "state"
                )
                states[row.id] = row.state
            for table in ANSWER_TABLES:
                for row in connection.execute(select(table).order_by(*table.primary_key.columns)):
                    now[row.submission_id] += (table.name, *row)
        assert not [state for state in states.values() if state == "building"]
        assert {id_: now.get(id_) for id_ in self.final} == self.final
        self.final = now

    # --- short ways ---------------------------------------------------------------------------------------------

    def _campaign(self, which: int) -> Campaign:
        with self.site.store.read() as connection:
            return campaigns.get_campaign(connection, campaign_id=self.campaigns[which].id)

    def _open(self, task: Task, screen: str, item: str) -> Any:
        place = {"task": task.id, **({"item": item} if item else {})}
        answer = self.client.get(screen, **place)
        if self._state(task) != "open":
            assert answer.headers["location"] == "/my-work"
            return multiple()
        assert answer.status_code == 200
        parts = Parts(answer.text)
        chosen = {
            (given["name"], given["value"])
            for tag, given in parts.elements
            if tag == "input" and "checked" in given and "skip" not in given["name"]
        }
        names = ["rank"] if screen == "rank" else ["likert", "flag", "none_apply"]
        expected = {
            (name, value)
            for name, values in task.fields.items()
            for value in values
            if name.partition("[")[0] in names and (screen == "rank" or name.endswith(f"[{item}]"))
        }
        assert chosen == {one for one in expected if one != (f"likert[{item}]", "8")}
        if screen == "rate":
            assert parts.areas[f"notes[{item}]"] == task.fields.get(f"notes[{item}]", [""])[0]
        return Tab(task, screen, item, fields_of(answer.text, path_to(screen, **place)))

    def _form(self, tab: Tab, typed: Fields, action: str = "") -> dict[str, Any]:
        hidden = {
            name: value for name, value in tab.hidden.items() if not name.startswith("moves_")
        }
        return {**hidden, **typed, **({"action": action} if action else {})}

    def _send(self, name: str, tab: Tab, typed: Fields, action: str = "") -> Response:
        place = {"task": tab.task.id} if name == "draft" else tab.place
        return self.client.post(name, self._form(tab, typed, action), **place)

    def _is_kept(self, tab: Tab, typed: Fields, *, is_kept: bool) -> None:
        """The draft is what it was, with this form over it where it was acknowledged."""
        if is_kept:
            others = {k: v for k, v in tab.task.fields.items() if not tab.is_its_own(k)}
            tab.task.fields = {**others, **typed}
        if self._state(tab.task) == "open":
            assert self._fields(tab.task) == tab.task.fields

    def _row(self, task: Task) -> Any:
        with self.site.store.read() as connection:
            query = (
                select(assignments.c.id, assignments.c.state, drafts.c.payload)
                .outerjoin(drafts, drafts.c.assignment_id == assignments.c.id)
                .where(assignments.c.public_id == task.id)
            )
            return connection.execute(query).one()

    def _state(self, task: Task) -> str:
        return self._row(task).state

    def _fields(self, task: Task) -> Fields:
        return (self._row(task).payload or {}).get("fields", {})

    def _judgments(self, task: Task) -> list[Any]:
        with self.site.store.read() as connection:
            query = (
                select(submissions)
                .join(assignments, assignments.c.id == submissions.c.assignment_id)
                .where(assignments.c.public_id == task.id)
                .order_by(submissions.c.revision)
            )
            return list(connection.execute(query).all())

    def _count(self) -> int:
        with self.site.store.read() as connection:
            return len(connection.execute(select(submissions.c.id)).all())


def _ranks_of(submission: Any) -> Fields:
    fields = submission.payload["fields"]
    return {name: value for name, value in fields.items() if name.startswith("rank[")}


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Flow,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[phase for phase in Phase if examples > EVERYDAY or phase is Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_whatever_a_labeler_presses_nothing_is_lost_or_counted_twice() -> None:
    _run(EVERYDAY, 30)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_whatever_a_labeler_presses_for_long() -> None:
    _run(400, 60)
