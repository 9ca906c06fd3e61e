"""A page and its view -> HTML."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cache, partial
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from alignloop.labeling.app.i18n import catalogue
from alignloop.labeling.app.pages import WORDS
from alignloop.labeling.app.pages.common import Estimate, Option, Page, View
from alignloop.labeling.app.paths import path_to
from alignloop.web import assets
from alignloop.web.i18n import NAMES, TAGS, Catalogue

TEMPLATES = Path(__file__).with_name("templates")
FILES = assets.Assets(Path(__file__).with_name("static"))

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy that every page is written for."""


def render(page: Page, view: View) -> str:
    """The whole HTML document of a page."""
    words = catalogue(view.locale)
    template = environment().get_template(page.template)
    return template.render(
        page=page,
        view=view,
        t=words.text,
        label=words.label,
        strings=words.strings,
        lang=TAGS[view.locale],
        words=partial(options, words),
        language_options=language_options,
        choices=choices,
        **_formats(words, view),
    )


@cache
def environment() -> Environment:
    """The templates: everything is escaped, and a name that is not there is an error."""
    shared: dict[str, object] = {
        "url": path_to,
        "static": static_path,
        "locales": NAMES,
        "tags": TAGS,
        "field_names": WORDS["field"],
    }
    return assets.environment(TEMPLATES, shared)


def static_path(file: str) -> str:
    """Address of a file of `static/`, ours or that of both apps."""
    return path_to("static", version=FILES.version, file=file)


def options(words: Catalogue, prefix: str) -> list[tuple[str, Markup]]:
    """All names of a prefix with their words, for a list to choose from."""
    return [(name, words.label(prefix, name)) for name in WORDS[prefix]]


def choices(found: tuple[Option, ...]) -> list[tuple[str, str]]:
    """Options of the server's, for a list to choose from."""
    return [(option.value, option.label) for option in found]


def language_options(tags: tuple[str, ...]) -> list[tuple[str, str]]:
    """Languages to choose from, under their own names where these are known."""
    own = {tag: NAMES[locale] for locale, tag in TAGS.items()} | dict(NAMES)
    return [(tag, own.get(tag, tag)) for tag in tags]


def _formats(words: Catalogue, view: View) -> dict[str, object]:
    """How numbers, shares, money and times are written."""
    return {
        "number": number,
        "percent": percent,
        "interval": partial(interval, words),
        "money": money,
        "clock": clock,
        "hours": partial(hours, words),
        "moment": partial(moment, view.zone),
        "day": day,
        "ago": partial(ago, words, view.now),
    }


def number(value: float, digits: int = 0) -> str:
    """With thousands apart, a fixed number of decimals, and a minus sign."""
    return f"{value:,.{digits}f}".replace("-", "−")


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 as a percentage."""
    return f"{100 * share:.{digits}f}%"


def interval(words: Catalogue, estimate: Estimate) -> Markup:
    """A share with its 95 % interval: 72.6% (71.1-74.1)."""
    low, high = f"{100 * estimate.low:.1f}", f"{100 * estimate.high:.1f}"
    return words.text("format.interval", value=percent(estimate.value), low=low, high=high)


def money(amount: Decimal, currency: str) -> str:
    """An amount with two decimals, the currency's code before it."""
    return f"{currency} {amount:,.2f}"


def clock(seconds: float) -> str:
    """A duration as 05:39, or 1:05:39 from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    whole_hours, minutes = divmod(minutes, 60)
    return f"{whole_hours}:{minutes:02d}:{rest:02d}" if whole_hours else f"{minutes:02d}:{rest:02d}"


def hours(words: Catalogue, seconds: float) -> Markup:
    """A long duration: in hours with one decimal, below one hour in minutes."""
    if 0 < seconds < 3600:
        return words.text("format.minutes", minutes=max(round(seconds / 60), 1))
    return words.text("format.hours", hours=f"{seconds / 3600:.1f}")


def moment(zone: tzinfo, at: datetime) -> Markup:
    """A time, to the minute, as an element."""
    local = at.astimezone(zone)
    text = local.strftime("%Y-%m-%d %H:%M")
    name = local.tzname() or ""
    return Markup('<time datetime="{iso}">{text} {name}</time>').format(
        iso=at.isoformat(timespec="seconds"), text=text, name=name
    )


def day(at: date) -> Markup:
    """A date, as an element."""
    return Markup('<time datetime="{iso}">{iso}</time>').format(iso=at.strftime("%Y-%m-%d"))


def ago(words: Catalogue, now: datetime, at: datetime) -> Markup:
    """How long ago something was, in the largest unit that fits, as an element."""
    passed = max(now - at, timedelta(0))
    minutes = int(passed.total_seconds() // 60)
    if minutes < 1:
        text = words.text("format.just_now")
    elif minutes < 60:
        text = words.text("format.minutes_ago", n=minutes)
    elif minutes < 24 * 60:
        text = words.text("format.hours_ago", n=minutes // 60)
    else:
        text = words.text("format.days_ago", n=minutes // (24 * 60))
    iso = at.isoformat(timespec="seconds")
    return Markup('<time datetime="{iso}">{text}</time>').format(iso=iso, text=text)
