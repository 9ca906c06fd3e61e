"""Opening: the schema is what the migrations make, the guards are there, and what cannot work is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from alignloop.errors import BusyError, JudgmentError, StoreError
from alignloop.store import database
from alignloop.store.database import Store, shown, url_of
from alignloop.store.guards import guards
from alignloop.store.schema import metadata


def test_the_migrations_make_the_schema(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_every_guard_is_installed_once(store: Store) -> None:
    query = {
        "sqlite": "select count(*) from sqlite_master where type = 'trigger'",
        "postgresql": "select count(*) from pg_trigger where not tgisinternal",
    }[store.dialect]

    with store.read() as connection:
        assert connection.execute(text(query)).scalar_one() == len(guards())
    assert len({guard.trigger for guard in guards()}) == len(guards())


def test_a_store_opens_again_and_mends_guards_of_another_version(place: str) -> None:
    store = Store.open(place)
    with store.write() as connection:
        connection.execute(text("update settings set value = '\"old\"' where key = 'guards'"))
        drop = "DROP TRIGGER guard_events_update"
        connection.execute(text(drop + (" ON events" if store.dialect == "postgresql" else "")))
    store.close()

    again = Store.open(place)

    test_every_guard_is_installed_once(again)
    again.close()


def test_a_store_of_a_newer_version_is_refused(place: str) -> None:
    store = Store.open(place)
    with store.write() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    store.close()

    with pytest.raises(StoreError, match="newer alignloop"):
        Store.open(place)


def test_sqlite_is_durable_and_checks_keys(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with store.read() as connection:
        found = {
            name: connection.execute(text(f"pragma {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }

    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_disk_that_is_full_is_told_of_in_one_line(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    large = text("insert into settings (key, value) values ('large', zeroblob(1000000))")
    with store.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # that is, no more than there are

    with pytest.raises(StoreError, match="disk is full") as caught, store.write() as connection:
        connection.execute(large)

    assert not isinstance(caught.value, BusyError)
    assert "\n" not in str(caught.value)
    with store.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        connection.execute(large)
    store.close()


def test_a_folder_without_a_store_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such database"):
        Store.open(tmp_path, create=False)


def test_a_file_that_is_no_database_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "alignloop.db").write_text("not a database, but long enough to be looked at " * 20)

    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tmp_path)


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_NETWORK_FILE_SYSTEMS", _AnyFileSystem())

    with pytest.raises(StoreError, match="network file system"):
        Store.open(tmp_path)


class _AnyFileSystem(frozenset[str]):
    def __contains__(self, item: object) -> bool:
        return True


def test_one_process_serves_a_sqlite_store(tmp_path: Path) -> None:
    first, second = Store.open(tmp_path), Store.open(tmp_path)
    lock = first.alone()
    assert lock is not None

    with pytest.raises(StoreError, match="served by another process"):
        second.alone()
    lock.release()
    again = second.alone()
    assert again is not None
    again.release()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("mysql://x/y", "SQLite or PostgreSQL"),
        ("sqlite://", "SQLite or PostgreSQL"),
        ("://", "not a database URL"),
    ],
)
def test_a_url_that_is_no_store_is_told_of(given: str, complaint: str) -> None:
    with pytest.raises(StoreError, match=complaint):
        url_of(given)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in shown(url_of("postgresql://ann:secret@localhost/lab"))


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(StoreError, match="cannot be opened") as caught:
        Store.open("postgresql://nobody@127.0.0.1:1/none")

    assert "\n" not in str(caught.value)


def test_a_transaction_that_fails_writes_nothing(store: Store) -> None:
    with pytest.raises(JudgmentError), store.write() as connection:
        connection.execute(text("insert into settings (key, value) values ('a', '1')"))
        connection.execute(text("insert into settings (key, value) values ('a', '2')"))

    with store.read() as connection:
        query = text("select count(*) from settings where key = 'a'")
        assert connection.execute(query).scalar_one() == 0
