"""Every word that the chat page shows is in its catalogue, in both languages, and nothing else is."""

from __future__ import annotations

import re
from typing import get_args

from alignloop.data.curation.spans import KINDS
from alignloop.serving.page import looks
from alignloop.serving.page.conversation import Preference
from alignloop.serving.page.notice import Action
from alignloop.web import assets
from tests.labeling.test_i18n import GAP, Literals, gaps

TEMPLATES = sorted((looks.FOLDER / "templates").rglob("*.html"))
FOLLOWED = {
    "told.": looks.TOLD,
    "notice.personal.": get_args(Action),
    "notice.kind.": KINDS,
    "problem.": get_args(looks.Problem),
    "choose.chosen.": get_args(Preference),
    "error.title.": get_args(looks.Status),
    "error.text.": get_args(looks.Status),
}
"""Prefix of a key -> the names that may follow it."""


def keys_asked_for() -> set[str]:
    source = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES)
    shared = "".join(path.read_text(encoding="utf-8") for path in assets.TEMPLATES.rglob("*.html"))
    found = set(re.findall(r"""["']([a-z]+(?:\.[a-z_]+)+)["']""", source + shared))
    found |= {f"{prefix}{name}" for prefix, names in FOLLOWED.items() for name in names}
    return {key for key in found if not key.endswith((".html", ".css", ".js", ".svg"))}


def test_every_key_that_is_asked_for_is_there_and_no_other() -> None:
    assert keys_asked_for() == set(looks.words("en").entries)


def test_the_catalogues_have_the_same_keys_and_gaps() -> None:
    english, chinese = looks.words("en").entries, looks.words("zh").entries

    assert {key: gaps(entry) for key, entry in english.items()} == {
        key: gaps(entry) for key, entry in chinese.items()
    }


def test_chinese_is_chinese() -> None:
    left = [
        key
        for key, entry in looks.words("zh").entries.items()
        for form in ([entry] if isinstance(entry, str) else entry.values())
        if not re.search("[一-鿿]", form) and re.search(r"[A-Za-z]{2}", GAP.sub("", form))
    ]

    assert left == ["app.name"]


def test_templates_hold_no_words_of_their_own() -> None:
    for path in TEMPLATES:
        source = path.read_text(encoding="utf-8")
        source = re.sub(
            r"{% block \w+_class %}.*?{% endblock %}|{#.*?#}|{%.*?%}|{{.*?}}",
            "",
            source,
            flags=re.DOTALL,
        )
        parser = Literals()
        parser.feed(source)
        assert parser.found == [], path.name
