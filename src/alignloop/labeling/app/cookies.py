"""Cookies: their names, and what the page before had to tell."""

from __future__ import annotations

import json
from typing import Literal
from urllib.parse import parse_qsl, urlencode

from alignloop.labeling.app.i18n import catalogue
from alignloop.labeling.app.pages.common import Notice
from alignloop.web import cookies
from alignloop.web.i18n import LOCALES

Name = Literal["session", "form", "notice", "preferences"]
_LONGEST = 4096
"""Characters; a browser keeps no longer ones."""


def cookie_name(name: Name, *, behind_tls: bool) -> str:
    """What a cookie of this app is called."""
    if name == "session" and behind_tls:
        return "__Host-alignloop"
    return cookies.bound_name(f"alignloop_{name}", behind_tls=behind_tls)


def written(notice: Notice) -> str:
    """A notice for a cookie."""
    told = {"key": notice.key, "kind": notice.kind, "values": dict(notice.values)}
    return urlencode({"n": json.dumps(told)})


def told(cookie: str) -> Notice | None:
    """What the page before had to tell; a cookie that somebody made up tells nothing."""
    if len(cookie) > _LONGEST:
        return None
    try:
        found = json.loads(dict(parse_qsl(cookie))["n"])
        key, kind, values = found["key"], found["kind"], dict(found["values"])
        if kind not in ("good", "info", "warning"):
            return None
        if not all(isinstance(value, str | int) for value in values.values()):
            return None
        for locale in LOCALES:  # a sentence that there is, with all of its gaps filled
            catalogue(locale).text(f"notice.{key}", **values)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return Notice(key, kind, values)
