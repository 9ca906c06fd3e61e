"""A SQLite file that is written anew keeps nobody's work from being written: whoever writes waits for the end of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from alignloop.errors import BusyError
from alignloop.store import bulk, database, erasure, events
from alignloop.store.chats import Chats
from alignloop.store.database import Store
from alignloop.store.waiting import Rewrites
from tests.store.conftest import NOW
from tests.store.fresh import fresh_store
from tests.store.test_at_once import Beside
from tests.store.test_chats import agree, kept


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, Store]]:
    """Two on one file, as two processes have them, that give up after a hundredth of a second."""
    monkeypatch.setattr(database, "_BUSY_MS", 10)
    monkeypatch.setattr(database, "_REWRITE_TRIES", 10_000)
    found = fresh_store(tmp_path), Store.open(tmp_path)
    yield found
    for store in found:
        store.close()


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """The lock that VACUUM holds while it writes."""
    with store.engine.connect() as connection:
        connection.execution_options(writes=True)
        with connection.begin():
            yield


def note(store: Store) -> None:
    with store.write() as connection:
        events.append(connection, NOW, "test", "note", "x")


@pytest.mark.parametrize("whose", [0, 1])
def test_writers_wait_for_a_file_that_is_written_anew(
    stores: tuple[Store, Store], whose: int
) -> None:
    with stores[0].written_anew(), locked(stores[0]):
        writer = Beside(lambda: note(stores[whose]))
        writer.join(0.2)
        assert writer.is_alive(), "it gave up"

    writer.wait()
    with stores[0].read() as connection:
        assert events.audit(connection).entries == 1


def test_others_who_are_in_the_way_are_not_waited_for(stores: tuple[Store, Store]) -> None:
    with locked(stores[0]), pytest.raises(BusyError):
        note(stores[1])


def test_who_waits_for_very_long_is_told_to_come_back(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_REWRITE_TRIES", 3)
    with stores[0].written_anew(), locked(stores[0]), pytest.raises(BusyError, match="try again"):
        note(stores[1])


def test_those_who_come_meanwhile_share_the_next_time(tmp_path: Path) -> None:
    rewrites, begun, may_end = (
        Rewrites(tmp_path / "x.db"),
        threading.Semaphore(0),
        threading.Event(),
    )
    times: list[int] = []

    def rewrite() -> bool:
        times.append(1)
        begun.release()
        return may_end.wait(20)

    first = Beside(lambda: rewrites.share(rewrite))
    assert begun.acquire(timeout=20)
    others = [Beside(lambda: rewrites.share(rewrite)) for _ in range(5)]
    for other in others:
        other.join(0.05)  # they have asked by now
    may_end.set()

    assert [one.wait() for one in (first, *others)] == [True] * 6
    assert len(times) == 2
    assert not rewrites.is_due


def test_one_that_failed_is_due_until_one_succeeds(tmp_path: Path) -> None:
    rewrites = Rewrites(tmp_path / "x.db")

    assert not rewrites.share(lambda: False)
    assert rewrites.is_due
    assert rewrites.share(lambda: True)
    assert not rewrites.is_due


def test_an_erasure_of_nothing_writes_nothing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, times = fresh_store(tmp_path), []
    chat, visitor = Chats(store), agree(store, "token")
    prompt = kept(chat, visitor, "Tell me of a fox.")
    assert prompt
    monkeypatch.setattr(bulk, "_rebuild", lambda _: times.append(1) or True)

    erasure.erase(store, NOW, "test", visitor, "whatever somebody sends")
    assert times == []
    erasure.erase(store, NOW, "test", visitor, "c1")
    assert times == [1]
    erasure.erase(store, NOW, "test", visitor)
    assert times == [1], "a name and no words"
    erasure.erase_named(store, NOW, "test", visitor.user.public_id)
    assert times == [1, 1], "whoever runs the command wants it"
    store.close()


def test_the_file_stays_whole(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    note(store)

    assert bulk.rebuild(store)
    note(store)

    with store.read() as connection:
        assert connection.execute(text("pragma integrity_check")).scalar_one() == "ok"
        assert events.audit(connection).findings == ()
    store.close()
