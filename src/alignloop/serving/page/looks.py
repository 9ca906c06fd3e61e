"""The page as HTML: what each template is handed, and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from jinja2 import Environment
from markupsafe import Markup

from alignloop.serving.page.conversation import Conversation
from alignloop.serving.page.notice import UNSETTLED, Notice
from alignloop.web import assets
from alignloop.web.i18n import NAMES, TAGS, Catalogue, Locale, catalogue_in
from alignloop.web.richtext import rich

FOLDER = Path(__file__).parent
FILES = assets.Assets(FOLDER / "static")

PATHS: dict[str, str] = {
    "home": "/",
    "begin": "/chat",
    "chat": "/chat/{name}",
    "say": "/chat/{name}/say",
    "again": "/chat/{name}/again",
    "edit": "/chat/{name}/edit",
    "stop": "/chat/{name}/stop",
    "choose": "/chat/{name}/choose",
    "data": "/data",
    "data_file": "/data.json",
    "agree": "/data/agree",
    "withdraw": "/data/withdraw",
    "erase": "/data/erase",
    "notice": "/notice",
    "settings": "/settings",
    "static": "/static/{version}/{file:path}",
}
"""Every address of the page, in Starlette's notation. Those that change something take POST, with `csrf_token`."""

Tell = Literal["", "agreed", "withdrawn", "erased", "erased_all", "kept", "not_kept"]
TOLD: tuple[Tell, ...] = ("agreed", "withdrawn", "erased", "erased_all", "kept", "not_kept")
"""What the form before a page may have done."""
Problem = Literal["empty", "too_long", "no_room", "busy", "full", "failed", "limit"]
Status = Literal[403, 404, 413, 429, 500, 503]


@dataclass(frozen=True, slots=True)
class View:
    """What surrounds every page."""

    csrf_token: str
    locale: Locale
    theme: Literal["auto", "light", "dark"]
    path: str
    """Where `settings` and `notice` return to."""
    has_store: bool
    """Whether anything can be kept at all."""
    agrees: bool
    is_due: bool
    """Whether the notice is to be shown in full."""
    notice: Notice = UNSETTLED
    told: Tell = ""


@dataclass(frozen=True, slots=True)
class ChatView:
    """A conversation, or the beginning of one."""

    models: Sequence[str]
    conversation: Conversation | None = None
    problem: Problem | None = None
    text: str = ""
    """What was written and could not be sent."""
    editing: int | None = None
    """Number of the turn that is being edited."""


@dataclass(frozen=True, slots=True)
class DataView:
    """What is kept of whoever asks."""

    found: Mapping[str, Any] | None
    live: Sequence[Conversation] = field(default_factory=list[Conversation])
    """Conversations in the server's memory."""


def url(page: str, /, **values: object) -> str:
    """The address of a page; values that it has no place for become the query."""
    path = PATHS[page]
    for key in [*values]:
        for mark in (f"{{{key}}}", f"{{{key}:path}}"):
            if mark in path:
                path = path.replace(mark, quote(str(values.pop(key)), safe="/"))
                break
    query = "&".join(f"{key}={quote(str(one), safe='')}" for key, one in values.items())
    return f"{path}?{query}" if query else path


def words(locale: Locale) -> Catalogue:
    """The catalogue of a language."""
    return catalogue_in(FOLDER / "locale", locale)


def render(template: str, view: View, **page: object) -> str:
    """A page, or the part of one."""
    found = words(view.locale)
    return (
        environment()
        .get_template(template)
        .render(view=view, t=found.text, strings=found.strings, lang=TAGS[view.locale], **page)
    )


@cache
def environment() -> Environment:
    """The templates."""
    shared: dict[str, object] = {
        "url": url,
        "static": static_path,
        "locales": NAMES,
        "tags": TAGS,
        "shown": shown,
        "moment": moment,
        "letters": "AB",
    }
    return assets.environment(FOLDER / "templates", shared)


def static_path(file: str) -> str:
    """Address of a file, ours or that of both apps."""
    return url("static", version=FILES.version, file=file)


def shown(text: str) -> Markup | None:
    """A policy's text with its formatting; None where it has none."""
    return rich(text)


def moment(at: int) -> Markup:
    """Milliseconds since 1970 as a time, to the minute."""
    when = datetime.fromtimestamp(at / 1000, UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        when.isoformat(timespec="seconds"), when.strftime("%Y-%m-%d %H:%M")
    )
