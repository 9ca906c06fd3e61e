"""What reports that are one HTML file share: how their templates are read, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names the row. `title` is its caption."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: str = ""
    """The name of a row to set in bold."""


def templates(folder: Path) -> Environment:
    """The templates of a folder: everything is escaped, and a name that is not there is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
