"""The log and the conversations, a page at a time, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from alignloop.store import audit, correspondence, events, inbox
from alignloop.store.audit import Checked
from tests.store.conftest import Lab


class Tampered(Exception):
    """Ends a transaction."""


def test_entries_by_page_verb_and_actor(lab: Lab) -> None:
    boss = lab.researcher("Boss")
    with lab.store.write() as connection:
        for number in range(5):
            events.append(connection, lab.now + number, boss.public_id, "look", f"thing {number}")
    with lab.store.read() as connection:
        newest = audit.entries(connection, limit=2, offset=0)
        following = audit.entries(connection, limit=2, offset=2)
        looks = audit.entries(connection, verb="look", limit=9, offset=0)
        others = audit.entries(connection, actor="test", limit=9, offset=0)

        assert [row.object for row in newest] == ["thing 4", "thing 3"]
        assert [row.object for row in following] == ["thing 2", "thing 1"]
        assert (len(looks), [row.verb for row in others]) == (5, ["add user"])
        assert audit.count_entries(connection) == 6
        assert audit.count_entries(connection, verb="look", actor="test") == 0
        assert audit.verbs(connection) == ["add user", "look"]
        assert audit.names_of(connection, [boss.public_id, "test"]) == {boss.public_id: "Boss"}
        assert audit.ids_named(connection, "  bOSS ") == [boss.public_id]
        assert audit.ids_named(connection, boss.email) == [boss.public_id]
        assert audit.ids_named(connection, "nobody") == []
        assert [row.verb for row in audit.events_about(connection, boss)] == ["add user"]


def test_the_chain_is_checked_in_pieces(lab: Lab) -> None:
    with lab.store.write() as connection:
        for number in range(10):
            events.append(connection, lab.now, "test", "look", f"thing {number}")
    with lab.store.read() as connection:
        piece = audit.check_on(connection, Checked(), 4)
        rest = audit.check_on(connection, piece, 100)
        again = audit.check_on(connection, rest, 100)

    assert (piece.entries, piece.is_whole, piece.is_all) == (4, True, False)
    assert (rest.entries, rest.is_whole, rest.is_all) == (10, True, True)
    assert again == rest


def test_what_was_changed_or_removed_is_seen(lab: Lab) -> None:
    with lab.store.write() as connection:
        for number in range(6):
            events.append(connection, lab.now, "test", "look", f"thing {number}")
    with lab.store.read() as connection:
        whole = audit.check_on(connection, Checked(), 100)

    for tampering in (
        "update events set actor = 'somebody else' where seq = 3",
        "delete from events where seq = 5",
        "delete from events where seq = 6",
    ):
        with pytest.raises(Tampered), lab.store.write() as connection:
            with lab.store.without_guards(connection):
                connection.execute(text(tampering))
            found = audit.check_on(connection, Checked(), 100)
            assert not found.is_whole, tampering
            assert not audit.check_on(connection, found, 100).is_whole
            raise Tampered  # and nothing of it stays
    with lab.store.read() as connection:
        assert audit.check_on(connection, Checked(), 100) == whole


def test_threads_with_the_last_message_of_each(lab: Lab) -> None:
    ann, bob, boss = lab.labeler("Ann"), lab.labeler("Bob"), lab.researcher("Boss")
    with lab.store.write() as connection:
        for number, (labeler, author, body) in enumerate(
            [(ann, ann, "Hello?"), (bob, bob, "Hi"), (ann, boss, "Yes?"), (ann, ann, "A question")]
        ):
            correspondence.write_message(connection, lab.now + number, labeler, author, body)

        rows = inbox.threads(connection)
        [last] = inbox.threads(connection, limit=1)
        lines = inbox.last_lines(connection, ann, limit=2)

    assert [(row.name, row.author, row.body) for row in rows] == [
        ("Ann", "Ann", "A question"),
        ("Bob", "Bob", "Hi"),
    ]
    assert last.labeler == ann.public_id
    assert [(row.author, row.body) for row in lines] == [("Boss", "Yes?"), ("Ann", "A question")]
