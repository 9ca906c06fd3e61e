"""What stands on a page, and the page as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from alignloop.pages import Table, templates

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: a sentence or two, and tables; left out where it has none."""

    title: str
    text: str
    tables: Sequence[Table]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the page shows."""

    title: str
    lede: str
    facts: Sequence[tuple[str, str]]
    """(what, value): n, seed, who judged."""
    sections: Sequence[Section]
    notice: str = ""
    """What a reader has to know first: that something was simulated, say."""
    chart: Markup | None = None
    chart_title: str = ""
    chart_text: str = ""


def render(page: Page) -> str:
    """One HTML file that loads nothing; the same content gives the same bytes."""
    style = Markup((_HERE / "page.css").read_text(encoding="utf-8"))
    return templates(_HERE).get_template("page.html.j2").render(page=page, style=style)
