"""What an app shows beside its own: the templates and files that both share, and files that browsers may keep."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

TEMPLATES = Path(__file__).with_name("templates")
STATIC = Path(__file__).with_name("static")


def environment(folder: Path, shared: Mapping[str, object]) -> Environment:
    """An app's templates, and those of both: everything is escaped, and a name that is not there is an error.

    Args:
        shared: names that every template has.
    """
    found = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    cast(dict[str, object], found.globals).update(shared)  # pyright: ignore[reportUnknownMemberType]
    return found


@dataclass(frozen=True)
class Assets:
    """An app's files, and those of both; its own come first."""

    folder: Path

    @cached_property
    def version(self) -> str:
        """Digest of all of them: it is part of their addresses, so that they may be cached for ever."""
        digest = hashlib.sha256()
        for folder in (self.folder, STATIC):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    name = path.relative_to(folder).as_posix()
                    digest.update(name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:12]

    def find(self, name: str) -> Path | None:
        """Where a file is, if there is one."""
        for folder in (self.folder, STATIC):
            if (path := folder / name).is_file():
                return path
        return None

    def app(self) -> StaticFiles:
        """What serves them, to be kept by browsers: an address changes with what it leads to."""
        found = _Cached(directory=self.folder)
        found.all_directories.append(STATIC)
        return found


class _Cached(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, to be kept for a year."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
