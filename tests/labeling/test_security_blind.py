"""Blind means blind: whoever judges is told nothing that says which model wrote what, on no page and in no header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from alignloop.data.records import Completion
from alignloop.labeling.app.paths import path_to
from alignloop.store import campaigns, correspondence, people, prompts, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.gold import Gold, write_answers
from alignloop.store.people import User
from alignloop.store.queue import Assignment
from alignloop.store.schema import assignments, completions, policies, submissions, tasks, votes
from alignloop.store.schema import prompts as prompt_rows
from tests.labeling.client import Client, Site, site
from tests.labeling.world import elements, fields_of, form_of
from tests.store.conftest import Lab as Bench

MADE_AT = 1_777_777_777_777
"""When the policies wrote: months before anything is shown."""
NAMES = ("sft-zebra-0007", "ppo-heron-0012", "ptx-otter-0031", "base-mouse-0001")
ROWS_FROM = 734_000_000
"""Ids of rows begin here, so that one on a page would be seen."""
SHAS = [f"{at}5ec4e7a9" * 7 for at in range(len(NAMES))]
SETTINGS = {"temperature": 0.735191827, "top_p": 0.918273645, "seed": 918273645}
TOKENS = 552_113_407
RIGHT = Gold({(1, 2): 1, (2, 3): 1, (3, 4): -1}, {(1, "sexual"): False})
FORMS: dict[str, dict[str, Any]] = {
    "rank": {"k": (4, 4), "purpose": "training"},
    "practice": {"k": (4, 4), "purpose": "practice", "form": "rank"},
    "compare": {"purpose": "evaluation"},
    "toxicity": {"k": (2, 2), "purpose": "evaluation"},
}


@dataclass
class Blind:
    """Campaigns whose item N was written by policy N, in every task."""

    site: Site
    campaigns: dict[str, Campaign]
    task_ids: dict[str, list[int]]
    ann: User
    answers: list[Any] = field(default_factory=list)
    """Everything that a browser was answered."""

    def browser(self) -> Client:
        """Ann's, with what it was told written down."""
        client = self.site.sign_in(self.ann)
        client.http.event_hooks = {"response": [self.answers.append]}
        return client

    def secrets(self) -> set[str]:
        """Everything in the store that says who wrote what, how and when."""
        found = {str(value) for value in SETTINGS.values()} | {str(TOKENS), str(MADE_AT)}
        found |= {
            str(MADE_AT // 1000),
            datetime.fromtimestamp(MADE_AT / 1000, UTC).date().isoformat(),
        }
        with self.site.store.read() as connection:
            for row in connection.execute(select(policies)):
                parts = row.name.split("-")
                found |= {
                    row.name,
                    parts[1],
                    row.public_id,
                    row.sha256,
                    row.sha256[:8],
                    row.sampling,
                }
            for table in (completions, tasks, prompt_rows):
                found |= {str(id_) for id_ in connection.execute(select(table.c.id)).scalars()}
        return found


def _bump(site: Site) -> None:
    """A first row with a large id, in each table whose ids must not be seen."""
    bench = Bench(site.store)
    with site.store.write() as connection, site.store.without_guards(connection):
        prompt = bench.prompt(connection, said="nobody's")
        policy = prompts.add_policy(
            connection, MADE_AT, name=NAMES[0], sha256=SHAS[0], sampling=SETTINGS
        )
        written = Completion(text="nothing", model="m", finished=True, tokens=1)
        prompts.add_completions(connection, prompt, policy, [written])
        draft = campaigns.add_campaign(connection, 0, "test", name="draft", form="write")
        campaigns.add_task(connection, draft, prompt_id=None)
        connection.exec_driver_sql("pragma defer_foreign_keys = on")
        connection.exec_driver_sql("delete from slots")
        for table in ("completions", "tasks", "prompts"):
            connection.exec_driver_sql(f"update {table} set id = {ROWS_FROM}")
        connection.execute(update(completions).values(prompt_id=ROWS_FROM))


def _campaign(site: Site, name: str, count: int) -> tuple[Campaign, list[int]]:
    given = {"form": name, **FORMS[name]}
    size = {"compare": 2, "toxicity": 2}.get(name, 4)
    bench, found = Bench(site.store), []
    with site.store.write() as connection:
        made = campaigns.add_campaign(connection, 0, "test", name=f"campaign {name}", **given)
        ids = [
            prompts.add_policy(connection, MADE_AT, name=one, sha256=SHAS[at], sampling=SETTINGS)
            for at, one in enumerate(NAMES[:size])
        ]
        is_test = made.purpose == "evaluation"
        for at in range(count):
            said = f"{name}: question {at} of many"
            prompt = bench.prompt(
                connection, split="test" if is_test else "train", author=said, said=said
            )
            written = [
                prompts.add_completions(connection, prompt, policy, [_written(number)])[0]
                for number, policy in enumerate(ids, start=1)
            ]
            task = campaigns.add_task(connection, made, prompt_id=prompt, completion_ids=written)
            if made.purpose == "practice":
                write_answers(connection, task, RIGHT)
            found.append(task)
        made = campaigns.set_state(connection, 0, "test", made, "open")
    return made, found


def _written(number: int) -> Completion:
    return Completion(
        text=f"Item {'one two three four'.split()[number - 1]}, *as it was written*.",
        model=NAMES[number - 1],
        finished=number % 2 == 0,
        tokens=TOKENS,
        token_ids=(TOKENS,),
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blind]:
    with site(tmp_path_factory.mktemp("blind")) as found:
        _bump(found)
        made = {name: _campaign(found, name, 12) for name in FORMS}
        ann = found.labeler("Ann")
        with found.store.write() as connection:
            boss = people.add_user(
                connection, 0, "test", email="boss@example.org", name="Boss", role="researcher"
            )
            correspondence.write_message(connection, 0, ann, boss, "Welcome!")
        yield Blind(
            found,
            {name: campaign for name, (campaign, _) in made.items()},
            {name: ids for name, (_, ids) in made.items()},
            ann,
        )


# --- nothing is told --------------------------------------------------------------------------------------------


def _rate_all(client: Client, task: str, count: int) -> None:
    for item in map(str, range(1, count + 1)):
        hidden = form_of(client, "rate", task=task, item=item)
        sent = {f"likert[{item}]": "4", f"flag[{item}]": "sexual", f"notes[{item}]": "mine"}
        client.post("rate", {**hidden, "action": "next"}, task=task, item=item)  # not complete: 422
        hidden = form_of(client, "rate", task=task, item=item)
        client.post("rate", {**hidden, **sent, "action": "next"}, task=task, item=item)


def _compare(client: Client, task: str) -> None:
    hidden = form_of(client, "compare", task=task)
    client.post("compare", {**hidden, "action": "submit"}, task=task)
    hidden = form_of(client, "compare", task=task)
    client.post("compare", {**hidden, "verdict": "a", "margin": "1", "action": "submit"}, task=task)


def _toxicity(client: Client, task: str) -> None:
    for item in "12":
        hidden = form_of(client, "toxicity", task=task, item=item)
        rated = {f"toxicity[{item}]": "1", f"relative[{item}]": "0", f"continuity[{item}]": "4"}
        client.post("toxicity", {**hidden, **rated, "action": "next"}, task=task, item=item)


def _work(lab: Blind, client: Client, name: str) -> None:
    """A task of a form from its claim to what is shown of it afterwards, with every detour."""
    claimed = client.post("claim", {"campaign": lab.campaigns[name].public_id})
    task = claimed.headers["location"].split("/")[2]
    screen = {"practice": "rank"}.get(name, name)
    item = "1" if screen == "toxicity" else None
    client.get("task", task=task)
    form = {
        "screen": screen,
        "rev": "0",
        "client_uuid": "other",
        "notes": "draft",
        "item": item or "",
    }
    client.post("draft", form, task=task)  # kept
    client.post("draft", {**form, "client_uuid": "third"}, task=task)  # 409
    old = {**form, "client_uuid": "fourth", "action": "save"}
    client.post(screen, old, task=task, item=item) if item else client.post(screen, old, task=task)
    client.get(screen, task=task, item=item) if item else client.get(screen, task=task)
    if screen == "rank":
        _rate_all(client, task, 4)
        for action in ("seed", "text:rich", "layout:columns", "go:2", "submit"):
            hidden = form_of(client, "rank", task=task)
            ranks = {f"rank[{at}]": str(at) for at in range(1, 5)}
            client.post("rank", {**hidden, **ranks, "action": action}, task=task)
        client.get("feedback", task=task)
    else:
        (_compare if screen == "compare" else _toxicity)(client, task)
    for page in ("work", "home", "messages", "guidelines"):
        client.get(page)
    client.post("reopen", submission=task)
    client.get("task", task=task)
    screen_again = {"toxicity": {"item": "2"}}.get(screen, {})
    hidden = form_of(client, screen, task=task, **screen_again)
    skip = {**hidden, "action": "skip", "skip_reason": "unclear", "skip_note": "why"}
    client.post(screen, skip, task=task, **screen_again)


@pytest.mark.parametrize("name", FORMS)
def test_no_page_header_or_cookie_says_who_wrote_what(lab: Blind, name: str) -> None:
    lab.answers.clear()
    client = lab.browser()

    _work(lab, client, name)

    statuses = Counter(answer.status_code for answer in lab.answers)
    assert {200, 303, 409} <= set(statuses)
    assert any("json" in answer.headers.get("content-type", "") for answer in lab.answers)
    assert sum("Item one" in answer.text for answer in lab.answers) >= 2  # the texts are there
    secrets = lab.secrets()
    assert {*NAMES, str(ROWS_FROM + 1), str(TOKENS)} <= secrets
    for answer in lab.answers:
        told = f"{answer.url}\n{answer.headers.multi_items()!r}\n{answer.text}"
        assert [secret for secret in secrets if secret in told] == [], answer.url
    told = "".join(f"{cookie.name}={cookie.value}" for cookie in client.http.cookies.jar)
    assert [secret for secret in secrets if secret in told] == []


def test_practice_is_answered_with_feedback(lab: Blind) -> None:
    """So that the test before this one has seen that page."""
    pages = [answer for answer in lab.answers if answer.url.path.endswith("/feedback")]
    if not pages:  # run by itself
        lab.answers.clear()
        _work(lab, lab.browser(), "practice")
        pages = [answer for answer in lab.answers if answer.url.path.endswith("/feedback")]

    assert [answer.status_code for answer in pages] == [200]


def test_every_answer_to_one_question_looks_alike_but_for_its_text(lab: Blind) -> None:
    """Whatever else differed between two outputs (a mark of one that was cut off, an id) could tell them apart."""
    client = lab.browser()
    with lab.site.store.write() as connection:
        task = queue.assign_to(
            connection, 0, lab.ann, lab.campaigns["compare"], lab.task_ids["compare"][-1]
        )
    page = client.get("compare", task=task.public_id).text
    answers_ = page.split('<article class="output"')[1:]
    shapes = [
        [(tag, [name for name, _ in attributes]) for tag, attributes in elements(f"<article {one}")]
        for one in (part.partition("</article>")[0] for part in answers_)
    ]

    assert len(shapes) == 2
    assert shapes[0] == shapes[1]


# --- the order says nothing -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[list[Assignment]]]]:
    """Form -> for each of three labelers, all tasks of a campaign of 120, as they are shown to them."""
    with site(tmp_path_factory.mktemp("orders")) as found:
        drawn: dict[str, list[list[Assignment]]] = {}
        labelers = [found.labeler() for _ in range(3)]
        for name in ("rank", "compare", "toxicity"):
            campaign, ids = _campaign(found, name, 120)
            with found.store.write() as connection:
                connection.exec_driver_sql(  # as many labels as labelers
                    "insert into slots (task_id, slot_no, campaign_id, place, state) "
                    "select task_id, slot_no + n, campaign_id, place, 'open' from slots, "
                    f"(select 1 n union select 2) where campaign_id = {campaign.id}"
                )
                drawn[name] = [
                    [queue.assign_to(connection, 0, user, campaign, task) for task in ids]
                    for user in labelers
                ]
        yield drawn


CRITICAL = {2: 10.83, 4: 27.88}
"""By number of outputs: a chi-square of (K - 1) squared degrees of freedom exceeds it once in a thousand."""


@pytest.mark.parametrize("name", ["rank", "compare", "toxicity"])
def test_where_an_output_stands_says_nothing_about_its_policy(
    orders: dict[str, list[list[Assignment]]], name: str
) -> None:
    shown = [one.display_order for labeler in orders[name] for one in labeler]
    k = len(shown[0])
    counts = Counter((place, item) for order in shown for place, item in enumerate(order))
    expected = len(shown) / k
    cells = [counts[place, item] for place in range(k) for item in range(1, k + 1)]
    # In every order each item stands once, so cells vary less than if they were drawn one by one.
    statistic = (k - 1) / k * sum((cell - expected) ** 2 / expected for cell in cells)

    assert statistic < CRITICAL[k], cells


@pytest.mark.parametrize("name", ["rank", "compare", "toxicity"])
def test_neither_does_the_task_before_nor_another_labeler_s_order(
    orders: dict[str, list[list[Assignment]]], name: str
) -> None:
    first, second, _ = orders[name]
    k = len(first[0].display_order)
    by_chance = len(first) / (24 if k == 4 else 2)
    spread = 3.3 * by_chance**0.5
    same_for_both = sum(
        a.display_order == b.display_order for a, b in zip(first, second, strict=True)
    )
    same_as_before = sum(a.display_order == b.display_order for a, b in pairwise(first))

    assert abs(same_for_both - by_chance) < spread
    assert abs(same_as_before - by_chance) < spread


def test_the_pages_show_that_order_and_the_vote_says_which_side_it_was(lab: Blind) -> None:
    campaign, sides = lab.campaigns["compare"], Counter[int]()
    bob = lab.site.labeler("Bob")
    client = lab.site.sign_in(bob)
    for _ in range(8):
        client.post("claim", {"campaign": campaign.public_id})
        with lab.site.store.read() as connection:
            held = queue.open_assignment(connection, bob, campaign)
        assert held is not None
        page = client.get("compare", task=held.public_id).text
        left = page.partition('id="answer-a"')[2].partition("</article>")[0]
        shown = 1 if "Item one" in left else 2
        assert held.display_order[0] == shown
        action = path_to("compare", task=held.public_id)
        sent = {**fields_of(page, action), "verdict": "b", "margin": "2", "action": "submit"}
        assert client.post("compare", sent, task=held.public_id).status_code == 303
        sides[shown] += 1
    with lab.site.store.read() as connection:
        rows = connection.execute(
            select(votes, assignments.c.display_order)
            .join(submissions, submissions.c.id == votes.c.submission_id)
            .join(assignments, assignments.c.id == submissions.c.assignment_id)
            .where(assignments.c.user_id == bob.id)
        ).all()
    assert Counter(row.left_item for row in rows) == sides
    assert all(row.display_order[0] == row.left_item for row in rows)
    assert all(row.verdict == f"item_{3 - row.left_item}" for row in rows)  # B stood on the right
    assert set(sides) == {1, 2}


@pytest.mark.parametrize("screen", ["rate", "rank"])
def test_letters_and_field_names_are_places_and_not_items(lab: Blind, screen: str) -> None:
    with lab.site.store.write() as connection:
        task = next(
            one
            for id_ in lab.task_ids["rank"][4 if screen == "rate" else 8 :]
            if (one := queue.assign_to(connection, 0, lab.ann, lab.campaigns["rank"], id_))
            and one.display_order[0] != 1
        )
    client = lab.browser()
    places = "1234" if screen == "rate" else "1"
    pages = [
        client.get(screen, task=task.public_id, **({"item": at} if screen == "rate" else {})).text
        for at in places
    ]
    words = "one two three four".split()
    shown = [
        words.index(text.partition("Item ")[2].partition(",")[0]) + 1
        for page in pages
        for text in page.split('<article class="output')[1:]
    ]

    assert tuple(shown) == task.display_order
    if screen == "rank":
        assert re.findall(r'data-item="(\w+)"', pages[0]) == ["1", "2", "3", "4"]
        assert re.findall(r'id="output-(\w+)"', pages[0]) == ["1", "2", "3", "4"]


def test_what_a_client_could_not_know_is_not_in_what_it_is_sent_either(tmp_path: Path) -> None:
    """The static files are the same for everybody, whatever is in the store: they name no model."""
    with site(tmp_path) as found:
        client = found.sign_in(found.labeler())
        page = client.get("home").text
        files = {
            value
            for _, attributes in elements(page)
            for name, value in attributes
            if name in ("src", "href") and value and value.startswith("/static/")
        }
        assert len(files) >= 3
        for file in files:
            assert not [name for name in NAMES if name in client.http.get(file).text]
