"""A page of a title, a sentence, plots and tables: one file that needs nothing else, made as the report is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Template
from markupsafe import Markup

from alignloop.files import write_bytes
from alignloop.pages import Table, templates
from alignloop.workflow.report.data import percent, unbroken, whole

if TYPE_CHECKING:
    from alignloop.workflow.report.plots import (
        Captioned,
    )  # matplotlib, which pages of tables do without

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a small page shows."""

    title: str
    lede: str
    figures: Sequence[Captioned]
    tables: Sequence[Table]


def write_sheet(path: Path, sheet: Sheet) -> None:
    """Write the page as one HTML file. The same content gives the same bytes.

    Raises:
        OSError: the file cannot be written; an older one stays as it was.
    """
    write_bytes(path, template("sheet.html.j2").render(sheet=sheet).encode("utf-8"))


def template(name: str) -> Template:
    """A template of this folder, with the style sheet and the filters that all of them use."""
    environment = templates(_HERE)
    environment.filters.update(whole=whole, percent=percent, unbroken=unbroken)
    environment.globals["style"] = Markup((_HERE / "style.css").read_text(encoding="utf-8"))
    return environment.get_template(name)
