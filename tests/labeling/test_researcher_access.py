"""Researchers' pages are researchers' alone, whatever is asked for, and what is not there is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alignloop.labeling.app.access import Access
from alignloop.labeling.app.paths import PATHS, path_to
from alignloop.labeling.app.server import ALL_ROUTES
from alignloop.store import answer_keys
from tests.labeling.client import ORIGIN, anonymous
from tests.labeling.research import Desk, desk

RESEARCHERS = [
    (route.name, route.method)
    for routes in ALL_ROUTES
    for route in routes.found
    if route.access is Access.RESEARCHER
]
NAMES = {
    "overview", "campaigns", "new_campaign", "campaign", "edit_campaign", "campaign_state", "labelers", "send_invite",
    "labeler", "labeler_cohort", "labeler_decision", "labeler_state", "disagreements", "adjudicate", "economics",
    "agreement", "exports", "export_file", "audit", "inbox", "thread", "gold_tasks", "gold", "grade",
}  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def address(name: str, value: str = "x") -> str:
    parts = {part.partition("}")[0]: value for part in PATHS[name].split("{")[1:]}
    return path_to(name, **parts)


def test_every_page_of_the_researchers_has_its_route() -> None:
    assert {name for name, _ in RESEARCHERS} == NAMES
    assert len(RESEARCHERS) == len(set(RESEARCHERS))


@pytest.mark.parametrize(("name", "method"), RESEARCHERS)
def test_a_labeler_gets_403_and_a_stranger_the_sign_in_page(
    lab: Desk, name: str, method: str
) -> None:
    labeler = lab.site.sign_in(lab.site.labeler("Ann"))
    stranger = anonymous(lab.site.lab)
    for browser, expected in ((labeler, 403), (stranger, 303 if method == "GET" else 403)):
        answer = browser.http.request(
            method, address(name), data={"csrf_token": browser.csrf_token}, headers={"Origin": ORIGIN}
        ) if method == "POST" else browser.http.get(address(name))  # fmt: skip
        assert answer.status_code == expected
        if expected == 303:
            assert answer.headers["location"].startswith("/sign-in?next=")


@pytest.mark.parametrize(("name", "method"), [one for one in RESEARCHERS if "{" in PATHS[one[0]]])
def test_what_is_not_there_is_404(lab: Desk, name: str, method: str) -> None:
    sent = {"note": "x", "decision": "accept", "cohort": "train", "state": "active", "body": "x"}
    for value in ("x", "'", "0", "é" * 50):
        if method == "GET":
            answer = lab.browser.http.get(address(name, value))
        else:
            answer = lab.browser.http.post(
                address(name, value),
                data={"csrf_token": lab.browser.csrf_token, **sent},
                headers={"Origin": ORIGIN},
            )
        assert answer.status_code == 404, (name, method, value)


@pytest.mark.parametrize("name", [name for name, method in RESEARCHERS if method == "POST"])
def test_forms_need_the_sessions_token(lab: Desk, name: str) -> None:
    answer = lab.browser.http.post(
        address(name), data={"csrf_token": "another"}, headers={"Origin": ORIGIN}
    )

    assert answer.status_code == 403


def test_one_campaigns_task_is_not_anothers(lab: Desk) -> None:
    first, second = lab.campaign([4]), lab.campaign([4])
    for _ in range(3):
        lab.skip(first, "unclear")
    page = lab.browser.get("campaign", campaign=first.public_id).text
    task = page.partition('name="task" value="')[2].partition('"')[0]

    sent = {"task": task, "drop": "1"}
    assert lab.browser.post("campaign_state", sent, campaign=second.public_id).status_code == 404
    assert lab.browser.post("campaign_state", sent, campaign=first.public_id).status_code == 303


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_every_page_in_every_language(lab: Desk, locale: str) -> None:
    ann = lab.site.labeler("Ann")
    one, untouched = lab.campaign([4], overlap=2), lab.campaign([4])
    lab.rank(ann, one, [1, 2, 3, 4])
    task = lab.rank(lab.site.labeler("Bob"), one, [4, 3, 2, 1])
    lab.browser.post("settings", {"locale": locale})
    with lab.site.store.read() as connection:
        [unseen] = answer_keys.tasks_without(connection, untouched, 9)
    values = {"campaign": one.public_id, "labeler": ann.public_id, "task": task}
    of_gold = {"campaign": untouched.public_id, "task": unseen.public_id}

    for name, method in RESEARCHERS:
        if method == "GET" and name != "export_file":
            parts = {part.partition("}")[0] for part in PATHS[name].split("{")[1:]}
            chosen = of_gold if name == "gold" else values
            answer = lab.browser.get(name, **{part: chosen[part] for part in parts})
            assert answer.status_code == 200, name
            assert f'<html lang="{"zh-Hans" if locale == "zh" else "en"}"' in answer.text
            assert "style=" not in answer.text  # the policy forbids it
