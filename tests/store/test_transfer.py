"""Backup, restore, and from SQLite to PostgreSQL: everything arrives, and is compared before it counts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from sqlalchemy import text

from alignloop.errors import JudgmentError, StoreError
from alignloop.store import drafts, events, people, prompts, queue, transfer
from alignloop.store.database import Store
from tests.store.conftest import Lab, scratch_database


@pytest.fixture
def used(lab: Lab) -> Lab:
    """A store in use: rankings, a revision, an open draft, somebody signed in."""
    user, campaign = lab.labeler(), lab.campaign([4, 5, 9])
    first = lab.claim(user, campaign)
    assert first is not None
    lab.rank(user, first, [1, 2, 2, 3])
    with lab.store.write() as connection:
        again = queue.reopen(connection, lab.now, user, first.public_id)
    lab.rank(user, again, [3, 2, 1, 1])
    second = lab.claim(user, campaign)
    assert second is not None
    with lab.store.write() as connection:
        drafts.save_draft(connection, lab.now, user, second.public_id, {"notes": "é 中文"}, rev=0)
        people.start_session(connection, lab.now, user)
    return lab


def test_a_backup_holds_everything_and_can_be_restored(used: Lab, tmp_path: Path) -> None:
    saved = transfer.backup(used.store, tmp_path / "kept" / "backup.db")
    fresh = Store.open(tmp_path / "fresh")

    restored = transfer.restore(tmp_path / "kept" / "backup.db", fresh)

    with used.store.read() as connection:
        assert saved == restored == transfer.digests(connection)
    assert saved["submissions"].rows == 2
    assert saved["drafts"].rows == 1
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["backup.db"]
    with fresh.read() as connection:
        assert events.audit(connection).findings == ()
        assert connection.execute(text("select count(*) from sessions")).scalar_one() == 0
    with pytest.raises(JudgmentError, match="written once"), fresh.write() as connection:
        connection.execute(text("delete from events"))
    fresh.close()


def test_a_copy_to_postgresql_holds_everything_and_work_goes_on(
    used: Lab, request: pytest.FixtureRequest
) -> None:
    with scratch_database(request.getfixturevalue("postgres_url")) as url:
        target = Store.open(url)

        copied = transfer.copy(used.store, target)

        with used.store.read() as connection:
            assert copied == transfer.digests(connection)
        there = Lab(target, numbers=itertools.count(1000))
        user = there.labeler("after")
        campaign = there.campaign([4])
        task = there.claim(user, campaign)
        assert task is not None
        assert there.rank(user, task, [1, 2, 3, 4]).state == "final"
        with pytest.raises(StoreError, match="not empty"):
            transfer.copy(used.store, target)
        target.close()


def test_a_store_that_was_tampered_with_is_not_copied(used: Lab, tmp_path: Path) -> None:
    with used.store.write() as connection, used.store.without_guards(connection):
        connection.execute(text("update rank_entries set rank_group = 1"))

    with pytest.raises(StoreError, match="does not pass its audit"):
        transfer.backup(used.store, tmp_path / "backup.db")
    assert list(tmp_path.glob("*backup*")) == []


def test_a_backup_never_overwrites(used: Lab, tmp_path: Path) -> None:
    (tmp_path / "backup.db").write_text("mine")

    with pytest.raises(StoreError, match="there already"):
        transfer.backup(used.store, tmp_path / "backup.db")
    assert (tmp_path / "backup.db").read_text() == "mine"


def test_prompts_arrive_with_their_answers(store: Store, tmp_path: Path) -> None:
    new = prompts.NewPrompt(
        author="ann",
        split="valid",
        kind="customer",
        text="Why?",
        text_digest=bytes(16),
        history=[("user", "Hi"), ("assistant", "Hello")],
        answers=[("Because.", 1, "m", "bob"), ("No.", 2, "m", "bob")],
    )
    with store.write() as connection:
        taken = prompts.add_import(
            connection, 1, "test", file="a", sha256=bytes(32), shape="plain", new=[new], counts={}
        )
    assert taken == 1

    found = transfer.backup(store, tmp_path / "b.db")

    assert found["given_answers"].rows == 2
