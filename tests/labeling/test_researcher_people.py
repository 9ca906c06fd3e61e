"""Labelers: invited, screened, moved, suspended; and what one page says about one of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from alignloop.store import answer_keys, audit, events, grading, people, supply
from alignloop.store.campaigns import Campaign
from alignloop.store.gold import Gold, relations_of
from alignloop.store.people import User
from alignloop.store.schema import screenings, users
from tests.labeling.client import DAY, HOUR, anonymous
from tests.labeling.research import Desk, cells, desk, errors_in, figure


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def invite(lab: Desk, **sent: str) -> tuple[int, str]:
    given = {
        "email": "New@Example.org",
        "role": "labeler",
        "cohort": "train",
        "locale": "zh",
        **sent,
    }
    response = lab.browser.post("send_invite", given)
    return response.status_code, response.text


def link_in(html: str) -> str:
    found = re.search(r"http://localhost/invite/([\w-]+)", html)
    assert found is not None
    return found[1]


def page(lab: Desk, user: User) -> str:
    response = lab.browser.get("labeler", labeler=user.public_id)
    assert response.status_code == 200
    return response.text


def screening_campaign(lab: Desk) -> Campaign:
    """Two tasks to rank with right answers, of which one text is violent."""
    campaign = lab.campaign([4, 4], purpose="screening", cohort="any", asks_ratings=True, overlap=9)
    with lab.site.store.write() as connection:
        for task in answer_keys.tasks_without(connection, campaign, 9):
            answers = Gold(
                relations_of({1: 1, 2: 2, 3: 3, 4: 4}),
                {(item, "violent"): item == 1 for item in range(1, 5)},
            )
            answer_keys.give_answers(connection, 0, "boss", campaign, task.public_id, answers)
    return campaign


# --- inviting ---------------------------------------------------------------------------------------------------


def test_the_link_is_shown_once_and_lets_somebody_in(lab: Desk) -> None:
    status, html = invite(lab)
    token = link_in(html)

    assert status == 200
    assert token not in lab.browser.get("labelers").text
    with lab.site.store.read() as connection:
        user = people.find_user(connection, email="new@example.org")
        log = [row.detail for row in events.each_event(connection)]
    assert user is not None
    assert (user.state, user.cohort, user.standing, user.locale) == (
        "invited",
        "training",
        "pending",
        "zh",
    )
    assert not any(token in detail for detail in log)
    visitor = anonymous(lab.site.lab)
    assert "new@example.org" in visitor.get("invite", token=token).text
    assert cells(lab.browser.get("labelers").text, "new")[1] == "Invited"


def test_an_invitation_made_again_takes_the_first_ones_place(lab: Desk) -> None:
    first = link_in(invite(lab)[1])
    second = link_in(invite(lab)[1])

    visitor = anonymous(lab.site.lab)
    assert visitor.get("invite", token=first).status_code == 404
    assert visitor.get("invite", token=second).status_code == 200


def test_held_out_labelers_are_not_screened_and_researchers_have_no_cohort(lab: Desk) -> None:
    invite(lab, email="held@example.org", cohort="heldout")
    invite(lab, email="boss2@example.org", role="researcher", cohort="pilot")

    with lab.site.store.read() as connection:
        held = people.find_user(connection, email="held@example.org")
        boss = people.find_user(connection, email="boss2@example.org")
    assert held is not None and boss is not None
    assert (held.cohort, held.standing) == ("heldout", "qualified")
    assert (boss.role, boss.cohort) == ("researcher", "none")


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": ""}, "email"),
        ({"email": "a@b, c@d"}, "email"),
        ({"role": "admin"}, "role"),
        ({"role": "adjudicator"}, "role"),
        ({"cohort": "pilot"}, "cohort"),
        ({"email": "boss@example.org"}, "email"),
    ],
    ids=str,
)
def test_a_wrong_invitation_is_told_and_what_was_typed_is_kept(
    lab: Desk, sent: dict[str, str], wrong: str
) -> None:
    status, html = invite(lab, **sent)

    assert (status, errors_in(html)) == (422, {wrong})
    assert "http://localhost/invite/" not in html
    if sent.get("email"):
        assert f'value="{sent["email"].lower()}"' in html


# --- the list ---------------------------------------------------------------------------------------------------


def test_the_list_has_everybody_with_what_they_did(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob", cohort="heldout")
    lab.site.labeler("Cyd", state="suspended")
    lab.site.labeler("Dan", standing="pending")
    one = lab.campaign([4] * 3, overlap=2)
    for _ in range(3):
        lab.rank(ann, one, [1, 2, 3, 4], seconds=1200)

    html = lab.browser.get("labelers").text

    ann_row = cells(html, "Ann")
    assert ann_row[1:3] == ["Active", "Training"]
    assert ann_row[-3:-1] == ["3", "1.0"]
    assert cells(html, "Bob")[2] == "Held-out"
    assert cells(html, "Cyd")[1] == "Suspended"
    assert cells(html, "Dan")[1] == "In screening"
    assert cells(html, "Boss")[1:3] == ["Active", "–"]
    assert bob.name not in lab.browser.get("labelers", cohort="train").text
    only = lab.browser.get("labelers", state="suspended").text
    assert "Cyd" in only and "Ann" not in only
    assert "Ann" in lab.browser.get("labelers", state="asleep", cohort="all").text


def test_practice_comes_before_screening(lab: Desk) -> None:
    dan = lab.site.labeler("Dan", standing="pending")
    practice = lab.campaign([4], purpose="practice", cohort="any", overlap=9)

    before = cells(lab.browser.get("labelers").text, "Dan")[1]
    lab.rank(dan, practice, [1, 2, 3, 4])

    assert (before, cells(lab.browser.get("labelers").text, "Dan")[1]) == (
        "Practising",
        "In screening",
    )


# --- screening --------------------------------------------------------------------------------------------------


def test_the_four_measures_and_a_decision(lab: Desk) -> None:
    campaign = screening_campaign(lab)
    dan = lab.site.labeler("Dan", standing="pending")
    with lab.site.store.write() as connection:
        topics = ["politics in Germany"]
        connection.execute(update(users).where(users.c.id == dan.id).values(topics=topics))
    # All is seen as the researchers see it but the last pair of the first task, and the violent text, once each.
    lab.rank(dan, campaign, [1, 2, 4, 3], likert=[7, 6, 5, 4], flags={"violent": False})
    lab.rank(dan, campaign, [1, 2, 3, 4], likert=[7, 6, 5, 4])
    demos = lab.campaign(form="demonstrate", purpose="screening", cohort="any")
    lab.demonstrate(dan, demos, "I would rather not.")
    with lab.site.store.write() as connection:
        [row] = grading.to_grade(connection, lab.boss)
        grading.give_grade(connection, 0, lab.boss, row.submission, 5)

    html = page(lab, dan)

    assert figure(html, "Rankings").startswith("92%")  # 11 of 12
    assert figure(html, "Sensitive texts").startswith("75%")  # 6 of 8
    assert figure(html, "Demonstrations").startswith("5.0")
    assert "below the cut-off" in figure(html, "Demonstrations")
    assert figure(html, "Topics of their own") == "politics in Germany"
    row_in_list = cells(lab.browser.get("labelers").text, "Dan")
    assert [text[:3] for text in row_in_list[3:6]] == ["75%", "92%", "5.0"]

    response = lab.browser.post(
        "labeler_decision",
        {"decision": "accept", "note": "Careful; talked it over."},
        labeler=dan.public_id,
    )

    assert response.status_code == 303
    assert lab.user(dan).standing == "qualified"
    with lab.site.store.read() as connection:
        kept = connection.execute(select(screenings)).one()
    assert (kept.decision, kept.note, kept.decided_by_id) == (
        "qualified",
        "Careful; talked it over.",
        lab.boss.id,
    )
    assert kept.measures["ranking"]["value"] == pytest.approx(11 / 12)
    assert kept.measures["sensitive"]["value"] == pytest.approx(6 / 8)
    assert kept.measures["demonstrations"]["value"] == 5
    assert kept.measures["topics"] == ["politics in Germany"]
    assert kept.measures["suggestion"] in ("look closer", "decline")
    html = page(lab, dan)
    assert "Screening: Accept" in html and "Careful; talked it over." in html


def test_a_decision_is_taken_again(lab: Desk) -> None:
    dan = lab.site.labeler("Dan", standing="pending")
    for decision, standing in (
        ("reject", "declined"),
        ("accept", "qualified"),
        ("reject", "declined"),
    ):
        sent = {"decision": decision, "note": "Why not."}
        assert lab.browser.post("labeler_decision", sent, labeler=dan.public_id).status_code == 303
        assert lab.user(dan).standing == standing
    assert page(lab, dan).count("Screening: ") == 3


@pytest.mark.parametrize(
    ("sent", "status", "wrong"),
    [
        ({"decision": "accept", "note": " "}, 422, {"note"}),
        ({"decision": "accept", "note": "x" * 1001}, 422, {"note"}),
        ({"decision": "maybe", "note": "Hm."}, 404, set[str]()),
    ],
    ids=["no reason", "too long a reason", "no decision"],
)
def test_a_decision_needs_a_reason(
    lab: Desk, sent: dict[str, str], status: int, wrong: set[str]
) -> None:
    dan = lab.site.labeler("Dan", standing="pending")

    response = lab.browser.post("labeler_decision", sent, labeler=dan.public_id)

    assert response.status_code == status
    assert 'role="alert"' in response.text or not wrong
    assert lab.user(dan).standing == "pending"


def test_nobody_decides_about_the_held_out(lab: Desk) -> None:
    held = lab.site.labeler("Held", cohort="heldout")
    sent = {"decision": "reject", "note": "No."}

    assert lab.browser.post("labeler_decision", sent, labeler=held.public_id).status_code == 404


# --- cohorts and states -----------------------------------------------------------------------------------------


def test_a_labeler_without_work_is_moved_and_screened_again_on_the_way_back(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")

    for cohort, stored, standing in (
        ("heldout", "heldout", "qualified"),
        ("train", "training", "pending"),
    ):
        sent = {"cohort": cohort, "note": "We need evaluators."}
        assert lab.browser.post("labeler_cohort", sent, labeler=ann.public_id).status_code == 303
        moved = lab.user(ann)
        assert (moved.cohort, moved.standing) == (stored, standing)
    html = page(lab, ann)
    assert "Cohort: Held-out" in html and "We need evaluators." in html


def test_a_labeler_with_work_keeps_the_cohort(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    lab.rank(ann, lab.campaign(), [1, 2, 3, 4])

    response = lab.browser.post(
        "labeler_cohort",
        {"cohort": "heldout", "note": "We need evaluators."},
        labeler=ann.public_id,
    )

    assert (response.status_code, errors_in(response.text)) == (422, {"cohort"})
    assert lab.user(ann).cohort == "training"
    with lab.site.store.read() as connection:
        assert "say why" not in audit.verbs(connection)


@pytest.mark.parametrize(
    "sent", [{"cohort": "pilot", "note": "x"}, {"note": "x"}, {"cohort": "heldout"}], ids=str
)
def test_a_wrong_move_is_told(lab: Desk, sent: dict[str, str]) -> None:
    ann = lab.site.labeler("Ann")

    assert lab.browser.post("labeler_cohort", sent, labeler=ann.public_id).status_code == 422
    assert lab.user(ann) == ann


def test_whoever_is_suspended_is_out_at_once_and_keeps_the_work(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    lab.set_password(ann)
    lab.rank(ann, lab.campaign(), [1, 2, 3, 4])
    browser = lab.site.sign_in(ann)
    assert browser.get("work").status_code == 200

    suspended = lab.browser.post(
        "labeler_state",
        {"state": "suspended", "note": "A week of nonsense."},
        labeler=ann.public_id,
    )

    assert (suspended.status_code, lab.user(ann).state) == (303, "suspended")
    assert browser.get("work").headers["location"].startswith("/sign-in")
    html = page(lab, ann)
    assert "A week of nonsense." in html
    assert "1 label" in html
    lab.browser.post("labeler_state", {"state": "active", "note": "Talked."}, labeler=ann.public_id)
    assert lab.user(ann).state == "active"


def test_whoever_never_came_in_is_invited_again(lab: Desk) -> None:
    token = link_in(invite(lab)[1])
    with lab.site.store.read() as connection:
        user = people.find_user(connection, email="new@example.org")
    assert user is not None
    for state, there in (("suspended", "suspended"), ("active", "invited")):
        lab.browser.post("labeler_state", {"state": state, "note": "x"}, labeler=user.public_id)
        assert lab.user(user).state == there
    assert anonymous(lab.site.lab).get("invite", token=token).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"state": "invited", "note": "x"}, 404),
        ({"note": "x"}, 404),
        ({"state": "suspended", "note": ""}, 422),
    ],
    ids=str,
)
def test_a_wrong_state_changes_nothing(lab: Desk, sent: dict[str, str], status: int) -> None:
    ann = lab.site.labeler("Ann")

    assert lab.browser.post("labeler_state", sent, labeler=ann.public_id).status_code == status
    assert lab.user(ann).state == "active"


def test_researchers_are_nobodys_labelers(lab: Desk) -> None:
    other = lab.site.researcher("Other")
    for name, sent in (
        ("labeler_state", {"state": "suspended", "note": "x"}),
        ("labeler_cohort", {"cohort": "heldout", "note": "x"}),
        ("labeler_decision", {"decision": "reject", "note": "x"}),
    ):
        assert lab.browser.post(name, sent, labeler=other.public_id).status_code == 404
    assert lab.user(other) == other
    assert lab.browser.get("labeler", labeler=other.public_id).status_code == 200


def test_why_is_in_the_log(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    lab.browser.post(
        "labeler_state", {"state": "suspended", "note": "On leave."}, labeler=ann.public_id
    )

    with lab.site.store.read() as connection:
        [why, changed] = list(events.each_event(connection))[:2]
    assert (changed.verb, changed.actor, json.loads(changed.detail)) == (
        "change user",
        lab.boss.public_id,
        {"state": "suspended"},
    )
    assert (why.verb, json.loads(why.detail)) == ("say why", {"note": "On leave."})


# --- one labeler ------------------------------------------------------------------------------------------------


def test_how_somebody_works(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    one = lab.campaign([4] * 10, overlap=2, asks_ratings=True)
    for _ in range(10):
        lab.rank(ann, one, [1, 1, 2, 3], likert=[5, 6, 4, 7], seconds=90)
        lab.rank(bob, one, [1, 2, 3, 4], likert=[7, 6, 5, 4], seconds=90)

    html = page(lab, ann)

    assert figure(html, "Ties") == "16.7%"
    assert figure(html, "Grades against ranks") == "60.0%"  # of five pairs that both order, three
    assert figure(html, "Agreement with themselves") == "–"
    assert figure(html, "Agreement").startswith("100.0%")
    assert re.fullmatch(r"-?\d\.\d\d", figure(html, "Rank and place, correlation"))
    assert figure(html, "Rank and length, correlation") == "–"  # all are of the same length
    assert cells(html, one.name)[1:4] == ["10", "0", "0.2"]
    assert html.count('<svg class="chart"') >= 1


def test_how_far_somebody_agrees_with_themselves(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    one = lab.campaign([4] * 3)
    with lab.site.store.write() as connection:
        supply.keep_plan(connection, one, {"repeat_percent": 100})
    lab.rank(ann, one, [1, 2, 3, 4])
    lab.site.clock.pass_(4 * DAY)
    lab.rank(ann, one, [1, 2, 4, 3])
    lab.browser = lab.site.sign_in(lab.boss)

    assert figure(page(lab, ann), "Agreement with themselves") == "83.3%"


def test_the_held_out_have_no_screening_measures(lab: Desk) -> None:
    campaign = screening_campaign(lab)
    held = lab.site.labeler("Held", cohort="heldout")
    lab.rank(held, campaign, [1, 2, 3, 4], likert=[4, 4, 4, 4])

    html = page(lab, held)

    assert figure(html, "Rankings").startswith("–")
    assert cells(lab.browser.get("labelers").text, "Held")[3:6] == ["–", "–", "–"]


def test_somebody_without_work_has_a_page(lab: Desk) -> None:
    html = page(lab, lab.site.labeler("Ann"))

    assert "Nothing yet." in html
    assert figure(html, "Hours").startswith("0.0 h")


def test_last_seen_is_when_they_were_here(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    lab.site.sign_in(ann)
    lab.site.clock.pass_(3 * HOUR)
    lab.browser = lab.site.sign_in(lab.boss)

    assert "3 hours ago" in cells(lab.browser.get("labelers").text, "Ann")[-1]
