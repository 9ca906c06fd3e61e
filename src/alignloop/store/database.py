"""Opening a store: SQLite in a project's folder, or PostgreSQL by URL; one writer at a time, durable before "saved".

SQLite runs with a write-ahead log and `synchronous=FULL`, so that what was committed survives a power cut, and every
write begins with BEGIN IMMEDIATE: a read that turns into a write could be refused half-way.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, OperationalError

from alignloop.errors import BusyError, JudgmentError, MissingExtraError, StoreError
from alignloop.store import events
from alignloop.store.guards import guards
from alignloop.store.schema import chain, metadata
from alignloop.store.waiting import InTurn, Rewrites

FILE = "alignloop.db"
"""Name of the SQLite file in a project's folder."""

_MIGRATIONS = Path(__file__).with_name("migrations")
_NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb3 smbfs fuse.sshfs fuse.s3fs fuse.gcsfuse ceph glusterfs lustre".split()
)
_BUSY_MS = 10_000
_REWRITE_TRIES = 60
"""So often a writer waits so long for a file that is being written anew."""
_WRITERS = 4
"""Threads of one process that write to PostgreSQL at once: more would hold locks and wait for the interpreter."""


class Store:
    """One database. `read()` and `write()` give a connection in a transaction."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.engine = _engine(url)
        self.dialect = self.engine.dialect.name
        # Threads wait for one another here, in turn, and not in the database, by chance.
        self._writers = InTurn(1 if self.dialect == "sqlite" else _WRITERS)
        self.rewrites = Rewrites(Path(url.database or "") if self.dialect == "sqlite" else None)

    @classmethod
    def open(cls, place: str | Path, *, create: bool = True) -> Store:
        """Open a project's folder, a SQLite file, or a database URL, at this version's schema.

        Raises:
            StoreError: it cannot be opened; it lies on a network file system; a newer version wrote it; or it is not
                there and `create` is False.
        """
        url = url_of(place)
        if url.get_backend_name() == "sqlite":
            path = Path(url.database or "")
            if not create and not path.is_file():
                raise StoreError(
                    f"{path}: no such database; `alignloop prompts import` or `alignloop label serve` makes one"
                )
            _refuse_network_file_system(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            _make_private(path)
        store = cls(url)
        try:
            store._upgrade()
        except (OperationalError, DatabaseError) as error:
            store.close()
            raise StoreError(f"{shown(url)}: cannot be opened ({_first_line(error)})") from None
        except BaseException:
            store.close()
            raise
        return store

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A connection in a transaction that writes nothing.

        Raises:
            BusyError: the database does not answer just now.
            StoreError: the disk is full or broken.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except OperationalError as error:
            if (known := _busy(self.url, error) or _broken(self.url, error)) is not None:
                raise known from error
            raise

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A connection in a transaction that is durable when the block ends.

        Raises:
            JudgmentError: a rule of the database was broken; nothing was written.
            BusyError: another writer is in the way; nothing was written.
            StoreError: the disk is full or broken; nothing was written.
        """
        try:
            entries: list[events.Entry] = []
            with self._writers, self._begun(entries) as connection:
                yield connection
                events.write_entries(connection, entries)
        except IntegrityError as error:
            raise JudgmentError(_rule_of(error)) from error
        except OperationalError as error:
            if (known := _busy(self.url, error) or _broken(self.url, error)) is not None:
                raise known from error
            raise

    @contextmanager
    def written_anew(self) -> Generator[None]:
        """For whoever writes the whole SQLite file anew: writers wait for the end, those of other processes too.

        Raises:
            filelock.Timeout: another process is at it for very long.
        """
        with self._writers, self.rewrites.lock():
            yield

    def alone(self) -> FileLock | None:
        """A lock that one server process holds on a SQLite store; None on PostgreSQL, where many may serve.

        Raises:
            StoreError: another process serves this store.
        """
        if self.dialect != "sqlite":
            return None
        # One file has one lock, whatever links lead to it.
        path = Path(self.url.database or "").resolve()
        lock = FileLock(f"{path}.serve.lock", blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"{self.url.database} is being served by another process; stop it, or use PostgreSQL (--database "
                "postgresql://...) where several are wanted"
            ) from None
        return lock

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    @contextmanager
    def _begun(self, entries: list[events.Entry]) -> Generator[Connection]:
        """A transaction that writes. While another process writes a SQLite file anew, that is waited for."""
        tries = 0
        while True:
            with self.engine.connect() as connection:
                connection.execution_options(writes=True, entries=entries)
                try:
                    transaction = connection.begin()
                except OperationalError as error:
                    tries += 1
                    is_waiting = tries < _REWRITE_TRIES and self.rewrites.is_under_way()
                    if is_waiting and _busy(self.url, error) is not None:
                        continue
                    raise
                with transaction:
                    yield connection
                return

    # Schema -----------------------------------------------------------------------------------------------------

    def _upgrade(self) -> None:
        """Bring the schema and the guards to this version's, whole or not at all."""
        config = AlembicConfig()
        config.set_main_option("script_location", str(_MIGRATIONS))
        script = ScriptDirectory.from_config(config)
        wanted_guards = _digest_of_guards(self.dialect)
        with self.read() as connection:
            at = MigrationContext.configure(connection).get_current_revision()
            if at == script.get_current_head() and _guards_in(connection) == wanted_guards:
                return
        known = {revision.revision for revision in script.walk_revisions()}
        if at is not None and at not in known:
            raise StoreError(
                f"{shown(self.url)} was written by a newer alignloop (schema {at}); install that version"
            )
        with self.write() as connection:
            if self.dialect == "postgresql":  # two processes may open a new database at once
                connection.execute(text("select pg_advisory_xact_lock(4207717)"))
            _drop_guards(connection, self.dialect)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if connection.execute(chain.select()).first() is None:
                connection.execute(chain.insert().values(id=1, seq=0, sha256=bytes(32)))
            _install_guards(connection, self.dialect)
            _note_guards(connection, wanted_guards)

    @contextmanager
    def without_guards(self, connection: Connection) -> Generator[None]:
        """For a whole copy alone, within its transaction: rows arrive as they are, and the guards are there after."""
        _drop_guards(connection, self.dialect)
        yield
        _install_guards(connection, self.dialect)


def url_of(place: str | Path) -> URL:
    """The database URL of a folder, a file or a URL.

    Raises:
        StoreError: it is no URL that can be read, or of another database.
        MissingExtraError: PostgreSQL's driver is not installed.
    """
    given = str(place)
    if "://" not in given:
        path = Path(given)
        path = path / FILE if path.is_dir() or path.suffix not in (".db", ".sqlite") else path
        return URL.create("sqlite", database=str(path))
    try:
        url = make_url(given)
    except ArgumentError:
        raise StoreError(f"{given}: not a database URL (postgresql://user@host/name)") from None
    backend = url.get_backend_name()
    if backend == "postgresql":
        try:
            import psycopg  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError:
            raise MissingExtraError(
                "PostgreSQL needs its driver: pip install 'alignloop[postgres]'"
            ) from None
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and url.database:
        return url.set(drivername="sqlite")
    raise StoreError(f"{shown(url)}: a store is SQLite or PostgreSQL, not {backend}")


def shown(url: URL) -> str:
    """A URL for people, without its password; a SQLite one is its path."""
    if url.get_backend_name() == "sqlite":
        return url.database or ":memory:"
    return url.render_as_string(hide_password=True)


def _make_private(path: Path) -> None:
    """A new database is its owner's alone to read, like what SQLite puts beside it: it holds people's words."""
    with suppress(OSError):  # it is there, or SQLite will say what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _engine(url: URL) -> Engine:
    # What a statement was given (texts, hashes) is no part of an error: errors are logged.
    if url.get_backend_name() != "sqlite":
        return create_engine(
            url, pool_size=10, max_overflow=20, pool_pre_ping=True, hide_parameters=True
        )
    engine = create_engine(
        url, connect_args={"timeout": _BUSY_MS / 1000}, pool_size=10, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # transactions are begun below, and not by the driver
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={_BUSY_MS}",
            "temp_store=FILE",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _refuse_network_file_system(path: Path) -> None:
    """SQLite's locks and its log are not safe there."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # no Linux: nobody to ask
    resolved = str(path.resolve())
    best = ("", "")
    for line in mounts:
        fields = line.split(" ")
        folder = fields[1].replace("\\040", " ")
        is_above = resolved == folder or resolved.startswith(folder.rstrip("/") + "/")
        if is_above and len(folder) >= len(best[0]):
            best = (folder, fields[2])
    if best[1] in _NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{path} lies on a network file system ({best[1]}), where SQLite can lose labels; "
            "choose a local folder, or PostgreSQL (--database postgresql://...)"
        )


def _digest_of_guards(dialect: str) -> str:
    statements = [statement for guard in guards() for statement in guard.statements(dialect)]
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()


def _guards_in(connection: Connection) -> str | None:
    """Digest of the guards that the database has, as it was noted when they were installed."""
    if not inspect(connection).has_table("settings"):
        return None
    found = connection.execute(
        metadata.tables["settings"].select().where(metadata.tables["settings"].c.key == "guards")
    ).first()
    return None if found is None else str(found.value)


def _note_guards(connection: Connection, digest: str) -> None:
    settings = metadata.tables["settings"]
    connection.execute(settings.delete().where(settings.c.key == "guards"))
    connection.execute(settings.insert().values(key="guards", value=digest))


def _install_guards(connection: Connection, dialect: str) -> None:
    for guard in guards():
        for statement in guard.statements(dialect):
            connection.exec_driver_sql(statement)


def _drop_guards(connection: Connection, dialect: str) -> None:
    if dialect == "sqlite":
        found = connection.exec_driver_sql(
            "select name from sqlite_master where type = 'trigger' and name like 'guard_%'"
        )
        for (name,) in found.all():
            connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
        return
    found = connection.exec_driver_sql(
        "select tgname, tgrelid::regclass::text from pg_trigger where tgname like 'guard_%%' and not tgisinternal"
    )
    for name, table in found.all():
        connection.exec_driver_sql(f'DROP TRIGGER "{name}" ON {table}')
    for (name,) in connection.exec_driver_sql(
        "select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
        "where n.nspname = current_schema() and p.proname like 'guard_%%'"
    ).all():
        connection.exec_driver_sql(f'DROP FUNCTION "{name}"()')


def _busy(url: URL, error: OperationalError) -> BusyError | None:
    """What will pass by itself; None where it will not."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state in _AGAIN:
        return BusyError(f"{shown(url)}: another transaction came first", at_once=True)
    is_locked = state == "" and "locked" in str(error.orig)
    if is_locked or error.connection_invalidated or state.startswith(_LATER):
        told = f"cannot be written or read just now ({_first_line(error.orig or error)})"
        return BusyError(f"{shown(url)}: {told}; try again in a little while")
    return None


def _broken(url: URL, error: OperationalError) -> StoreError | None:
    """What the machine has to be mended for; None where it may be a bug."""
    if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in _OF_THE_DISK:
        return None
    told = f"cannot be written or read ({_first_line(error.orig or error)}); nothing was written"
    return StoreError(
        f"{shown(url)}: {told}: mend that (room on the disk, rights to the file), and try again"
    )


_OF_THE_DISK = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""SQLite: full, not to be read or written, not to be changed, not to be opened."""
_AGAIN = ("40001", "40P01")
"""PostgreSQL: could not serialize; deadlock."""
_LATER = ("08", "53", "55P03", "57P")
"""PostgreSQL: no connection, no resources, a lock not had, the server going down or coming up."""


def _rule_of(error: IntegrityError) -> str:
    """What a guard or a constraint said, in one line."""
    return _first_line(error.orig or error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
