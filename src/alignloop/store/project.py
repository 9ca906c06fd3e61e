"""A project: a folder with its database, or with the address of one. Every command of the people's side takes it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from alignloop.errors import ConfigError
from alignloop.files import write_bytes
from alignloop.store.database import FILE, Store, shown, url_of

SETTINGS = "project.toml"
"""Written where the database is not the folder's own: `database = "postgresql://..."`."""


@dataclass(frozen=True, slots=True)
class Project:
    """Where a project's files and its database are."""

    folder: Path
    database: str

    @property
    def prompts(self) -> Path:
        """Folder of what `prompts import` writes for people: reports, rejected and dropped rows."""
        return self.folder / "prompts"

    @property
    def is_begun(self) -> bool:
        """Whether there is a database; one on a server is taken to be there."""
        url = url_of(self.database)
        return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()

    def open(self, *, create: bool = True) -> Store:
        """The project's store.

        Raises:
            StoreError: as `Store.open`.
        """
        return Store.open(self.database, create=create)


def open_project(folder: Path, database: str | None = None, *, begin: bool = True) -> Project:
    """The project in a folder; its database is the one it was begun with.

    Args:
        database: a URL, for a project that begins with it; SQLite in the folder where there is none.
        begin: note that URL in the folder; without it nothing is written.

    Raises:
        ConfigError: the project was begun with another database, or its settings cannot be read.
    """
    path = folder / SETTINGS
    known = _read(path)
    if database is None:
        return Project(folder, known or str(folder / FILE))
    given = url_of(database)
    if given.password is not None:
        raise ConfigError(
            "leave the password out of the database URL, which is kept in the project; PostgreSQL reads it from "
            "PGPASSWORD or ~/.pgpass"
        )
    if known is not None and url_of(known) != given:
        raise ConfigError(f"{folder} was begun with {shown(url_of(known))}; leave --database out")
    if known is None and (folder / FILE).exists() and given.get_backend_name() != "sqlite":
        raise ConfigError(
            f"{folder / FILE} holds this project's data; copy it with `alignloop label copy` first"
        )
    text = given.render_as_string(hide_password=False)
    if given.get_backend_name() == "postgresql":
        text = text.replace("postgresql+psycopg:", "postgresql:", 1)
        if begin and known is None:
            write_bytes(path, f'database = "{text}"\n'.encode())
    return Project(folder, text)


def _read(path: Path) -> str | None:
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    database = settings.get("database")
    if set(settings) - {"database"} or not isinstance(database, str):
        raise ConfigError(f'{path}: holds one line, database = "URL"')
    return database
