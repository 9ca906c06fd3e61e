"""Pages from contexts: everything is escaped, forms have their contract, values are written as people read them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any, get_args

import pytest
from markupsafe import Markup

from alignloop.labeling.app import pages, render
from alignloop.labeling.app.i18n import catalogue
from alignloop.labeling.app.pages import common, gold, labeler, quality, researcher, tasks
from alignloop.labeling.app.paths import PATHS, path_to
from alignloop.web import assets
from tests.browser.samples import passage, task, view
from tests.browser.samples_researcher import all_pages

HOSTILE = "\n</textarea></script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"
EVERY_PAGE = all_pages("en")
FOLDERS = (render.TEMPLATES, assets.TEMPLATES)
KEYS = {"key", "field", "lang", "path", "theme"}
"""Fields of text that are looked up or that the server itself writes."""


def poisoned(value: Any) -> Any:
    """The same context with something hostile in every text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: (
                getattr(value, field.name) + HOSTILE
                if str(field.type) == "str"
                and field.name not in KEYS
                and not isinstance(value, pages.common.Notice)
                else poisoned(getattr(value, field.name))
            )
            for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **changes)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(poisoned(item) for item in value)
    if isinstance(value, Mapping):
        return {key: poisoned(item) for key, item in value.items()}
    return value


class Reader(HTMLParser):
    """The elements of a page, and what stands in forms."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_hostile_texts_stay_texts(name: str) -> None:
    page, around = EVERY_PAGE[name]

    html = render.render(poisoned(page), poisoned(around))

    tags = Reader(html).tags
    assert not [tag for tag, _ in tags if tag == "img"]
    assert not [
        attributes for _, attributes in tags if any(name.startswith("on") for name in attributes)
    ]
    assert "{{ 7 * 7 }}" in html or name.startswith("error")


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_nothing_is_inline(name: str) -> None:
    tags = Reader(render.render(*EVERY_PAGE[name])).tags

    assert not [attributes for _, attributes in tags if "style" in attributes]
    assert not [
        tag
        for tag, attributes in tags
        if tag == "style" or (tag == "script" and "src" not in attributes)
    ]
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_addresses_are_those_of_the_table(name: str) -> None:
    """Every link and form goes to an address of `PATHS`, or to a place on the page."""
    known = [re.sub(r"\\\{\w+:path\\\}", ".+", re.escape(path)) for path in PATHS.values()]
    patterns = [re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", path)) for path in known]
    used = [
        address.partition("?")[0]
        for _, attributes in Reader(render.render(*EVERY_PAGE[name])).tags
        for key, address in attributes.items()
        if key in ("href", "action", "src", "hx-post") and address
    ]

    assert used
    assert [
        address
        for address in used
        if not address.startswith("#") and not any(p.fullmatch(address) for p in patterns)
    ] == []


def test_every_page_has_a_sample() -> None:
    """So that every test of all pages is one of all pages."""
    defined = {
        found
        for module in (gold, labeler, quality, researcher, tasks)
        for found in vars(module).values()
        if dataclasses.is_dataclass(found) and hasattr(found, "template")
    }

    assert defined == {type(page) for page, _ in EVERY_PAGE.values()}


def test_every_address_is_linked_or_named_in_the_contract() -> None:
    contract = "".join(
        (found.__doc__ or "")
        for module in (common, gold, labeler, quality, researcher, tasks)
        for found in (module, *vars(module).values())
        if hasattr(found, "__doc__")
    )

    assert [
        name
        for name in PATHS
        if f"`{name}`" not in contract and name not in ("static", "task", "export_file")
    ] == []


def test_a_text_keeps_its_first_line_break() -> None:
    """HTML drops a line break that a textarea begins with, so one more is written."""
    page = tasks.DemonstratePage(task(), "\nindented")

    assert ">\n\nindented</textarea>" in render.render(page, view())


def test_formatted_text_comes_as_markup_alone() -> None:
    shown = tasks.ComparePage(
        task(), common.Passage("a", rich=Markup("<b>a</b>")), passage("<b>b</b>")
    )

    html = render.render(shown, view())

    assert "<b>a</b>" in html
    assert "&lt;b&gt;b&lt;/b&gt;" in html


def test_the_priority_follows_the_purpose() -> None:
    for purpose in get_args(common.Purpose):
        html = render.render(
            tasks.ComparePage(task(purpose=purpose), passage("a"), passage("b")), view()
        )

        assert catalogue("en").sentence(f"priority.{purpose}") in html


def test_numbers_shares_and_times() -> None:
    words = catalogue("en")
    noon = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)

    assert render.number(1234567.891, 1) == "1,234,567.9"
    assert render.number(-0.5, 1) == "−0.5"
    assert render.percent(0.726) == "72.6%"
    assert render.money(Decimal("1234.5"), "EUR") == "EUR 1,234.50"
    assert [render.clock(seconds) for seconds in (0, 339, 3599.9, 3600)] == [
        "00:00",
        "05:39",
        "59:59",
        "1:00:00",
    ]
    assert [render.hours(words, seconds) for seconds in (0, 20, 3540, 5400)] == [
        "0.0 h",
        "1 min",
        "59 min",
        "1.5 h",
    ]
    assert render.day(date(2026, 1, 2)) == '<time datetime="2026-01-02">2026-01-02</time>'
    assert render.moment(timezone(timedelta(hours=8), "CST"), noon) == (
        '<time datetime="2026-11-27T12:00:00+00:00">2026-11-27 20:00 CST</time>'
    )


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=-5), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=59), "59 minutes ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=40), "40 days ago"),
    ],
)
def test_how_long_ago(passed: timedelta, text: str) -> None:
    noon = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)

    assert f">{text}</time>" in render.ago(catalogue("en"), noon, noon - passed)


def test_addresses() -> None:
    assert path_to("home") == "/"
    assert path_to("rate", task="a/b", item="ä") == "/tasks/a%2Fb/rate/%C3%A4"
    assert path_to("overview", period="7d", none=None) == "/overview?period=7d"
    assert path_to("static", version="v", file="vendor/x.js") == "/static/v/vendor/x.js"
    with pytest.raises(KeyError):
        path_to("rate", task="t")
    with pytest.raises(KeyError):
        path_to("nowhere")


def test_static_files_are_named_by_their_content() -> None:
    version = render.FILES.version

    assert re.fullmatch(r"[0-9a-f]{12}", version)
    assert render.static_path("app.css") == f"/static/{version}/app.css"
    for name in {
        *re.findall(
            r"static\('([^']+)'\)",
            "".join(p.read_text() for f in FOLDERS for p in f.rglob("*.html")),
        )
    }:
        assert render.FILES.find(name), name


def test_styles_name_no_other_host() -> None:
    folders = (render.FILES.folder, assets.STATIC)
    css = "".join(p.read_text(encoding="utf-8") for f in folders for p in f.rglob("*.css"))

    assert css
    assert "url(" not in css
    assert "@import" not in css
    assert "@font-face" not in css
