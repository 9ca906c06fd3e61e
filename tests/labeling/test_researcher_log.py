"""The audit log with its chain, and the conversations with labelers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from alignloop.store import correspondence, events
from tests.labeling.client import HOUR
from tests.labeling.research import Desk, cells, desk, errors_in


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def note(lab: Desk, count: int, verb: str = "look") -> None:
    with lab.site.store.write() as connection:
        for number in range(count):
            events.append(connection, lab.site.clock.now, "test", verb, f"thing {number}")


def written(lab: Desk, labeler: object, author: object, body: str) -> None:
    with lab.site.store.write() as connection:
        correspondence.write_message(connection, lab.site.clock.now, labeler, author, body)  # type: ignore[arg-type]


# --- the log ----------------------------------------------------------------------------------------------------


def test_who_did_what_by_name_and_the_chain_holds(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    lab.browser.post(
        "labeler_state", {"state": "suspended", "note": "Away."}, labeler=ann.public_id
    )

    html = lab.browser.get("audit").text

    row = re.search(r"<tr>(?:(?!</tr>).)*change user.*?</tr>", html, re.DOTALL)
    assert row is not None and "Boss" in row[0] and "Ann" in row[0]
    assert "Away." not in html
    with lab.site.store.read() as connection:
        entries = events.audit(connection).entries
    assert f"Chain unbroken over {entries} events" in html


def test_pages_verbs_and_actors(lab: Desk) -> None:
    note(lab, 120)
    note(lab, 1, "jump")

    first, third = lab.browser.get("audit").text, lab.browser.get("audit", page=3).text
    jumps = lab.browser.get("audit", verb="jump").text
    boss = lab.browser.get("audit", actor=" boss ").text
    nobody = lab.browser.get("audit", actor="nobody", verb="look").text

    assert first.count("<td>look</td>") == 49 and "Page 1 of 3" in first
    assert "thing 0" in third and "Page 3 of 3" in third
    assert jumps.count("<td>jump</td>") == 1 and "<td>look</td>" not in jumps
    assert "<td>look</td>" not in boss and 'value="boss"' in boss
    assert "<td>look</td>" not in nobody
    assert lab.browser.get("audit", page="x", verb="'; drop table events").status_code == 200


def test_a_log_that_was_tampered_with_is_seen(lab: Desk) -> None:
    note(lab, 5)
    assert "Chain unbroken" in lab.browser.get("audit").text

    with lab.site.store.write() as connection, lab.site.store.without_guards(connection):
        connection.execute(text("update events set actor = 'somebody else' where seq = 3"))
    lab.site.clock.pass_(2 * HOUR)  # it is checked from its start again
    lab.browser = lab.site.sign_in(lab.boss)
    html = lab.browser.get("audit").text

    assert "Chain broken" in html and "Chain unbroken" not in html


def test_the_chain_goes_on_from_where_it_was_checked(lab: Desk) -> None:
    note(lab, 3)
    lab.browser.get("audit")
    note(lab, 2)

    with lab.site.store.read() as connection:
        entries = events.audit(connection).entries
    assert f"Chain unbroken over {entries} events" in lab.browser.get("audit").text


# --- conversations ----------------------------------------------------------------------------------------------


def test_conversations_and_what_is_unread(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    written(lab, ann, ann, "How long may an answer be?")
    written(lab, bob, bob, "Hello")
    written(lab, bob, lab.boss, "Hello yourself")

    inbox = lab.browser.get("inbox").text
    assert inbox.index("<strong>Bob</strong>") < inbox.index("<strong>Ann</strong>")
    assert inbox.count('class="count"') == 3  # in the menu, and beside both
    thread = lab.browser.get("thread", labeler=ann.public_id).text
    assert "How long may an answer be?" in thread
    assert lab.browser.get("inbox").text.count('class="count"') == 2
    lab.browser.get("thread", labeler=bob.public_id)
    assert 'class="count"' not in lab.browser.get("inbox").text


def test_an_answer_reaches_the_labeler(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")

    response = lab.browser.post(
        "thread", {"body": " As long as it needs. <b>"}, labeler=ann.public_id
    )

    assert lab.browser.follow(response).text.count("As long as it needs. &lt;b&gt;") == 1
    theirs = lab.site.sign_in(ann).get("messages").text
    assert "As long as it needs. &lt;b&gt;" in theirs and "Boss" in theirs


@pytest.mark.parametrize("body", ["", "  ", "x" * 4001], ids=["nothing", "spaces", "too much"])
def test_a_message_that_cannot_be_sent_is_told_and_kept(lab: Desk, body: str) -> None:
    ann = lab.site.labeler("Ann")

    response = lab.browser.post("thread", {"body": body}, labeler=ann.public_id)

    assert (response.status_code, errors_in(response.text)) == (422, {"body"})
    assert "x" * 4000 in response.text or not body.strip()
    with lab.site.store.read() as connection:
        assert correspondence.thread(connection, ann) == []


def test_there_is_no_thread_with_a_researcher_or_with_nobody(lab: Desk) -> None:
    other = lab.site.researcher("Other")
    for who in (other.public_id, "nobody"):
        assert lab.browser.get("thread", labeler=who).status_code == 404
        assert lab.browser.post("thread", {"body": "Hi"}, labeler=who).status_code == 404


def test_a_long_thread_shows_its_end(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    for number in range(205):
        written(lab, ann, ann, f"line {number}.")

    html = lab.browser.get("thread", labeler=ann.public_id).text

    assert "line 204." in html and "line 5." in html and "line 4." not in html


def test_cells_of_the_log_are_what_they_say(lab: Desk) -> None:
    note(lab, 1, "jump")
    with lab.site.store.read() as connection:
        [entry] = [row for row in events.each_event(connection) if row.verb == "jump"]

    row = cells(lab.browser.get("audit", verb="jump").text, str(entry.seq))

    assert row[2:] == ["test", "jump", "thing 0", entry.sha256.hex()[:12]]
