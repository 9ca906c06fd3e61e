"""A text by somebody else as HTML: Markdown without raw HTML, then an allow-list. Nothing in it loads from anywhere."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup, escape

_TAGS = frozenset(
    "p br hr h3 h4 h5 h6 strong em s code pre blockquote ul ol li table thead tbody tr th td a".split()
)
LONGEST = 40_000
"""Characters; a longer text is shown as it was written. This many are at worst half a second's work."""
_MOST_CELLS = 20_000
"""Of tables: a row is filled up to the width of its head, so a short text could make very many."""


@lru_cache(maxsize=256)
def rich(text: str) -> Markup | None:
    """Sanitised HTML, or None where the text has no formatting to show.

    Images are left out, remote ones above all: they would tell a stranger's server who reads what, and could tell the
    reader which model wrote it. Links open nothing by themselves and carry no referrer.
    """
    if len(text) > LONGEST or _MARKS.search(text) is None:
        return None
    import nh3

    lines = text.split("\n")
    cells = len(lines) * max(line.count("|") for line in lines)
    html = _markdown(with_tables=cells <= _MOST_CELLS).render(text)
    clean = nh3.clean(
        html,
        tags=set(_TAGS),
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        strip_comments=True,
    )
    return Markup(clean)


_MARKS = re.compile(r"[*_`#|\[>~]|^\s*(?:[-+]|\d{1,9}[.)])\s", re.MULTILINE)
_ELSEWHERE = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)


@cache
def _markdown(*, with_tables: bool) -> MarkdownIt:
    found = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("strikethrough")
    if with_tables:
        found.enable("table")
    found.disable(["html_block", "html_inline"])
    found.add_render_rule("image", _described)
    # A page has its own h1 and h2: those of a text begin below them.
    for name in ("heading_open", "heading_close"):
        found.add_render_rule(name, _lowered)
    return found


def _attribute(element: str, name: str, value: str) -> str | None:
    """Links lead elsewhere, in so many words: one without a host would lead into our own pages."""
    del element
    return None if name == "href" and _ELSEWHERE.match(value) is None else value


def _lowered(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    return renderer.renderToken(tokens, index, options, env)


def _described(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """What an image shows, in words, in its place."""
    del renderer, options, env
    return f"[{escape(tokens[index].content)}]"
