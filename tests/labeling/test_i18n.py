"""Every word that the app shows is in the catalogue, in both languages, and nothing else is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest
from jinja2 import nodes
from markupsafe import Markup

from alignloop.labeling.app import render
from alignloop.labeling.app.i18n import catalogue
from alignloop.labeling.app.pages import WORDS
from alignloop.web import assets, i18n
from alignloop.web.i18n import LOCALES, Catalogue, Locale, choose_locale

APP = Path(render.__file__).parent
TEMPLATES = sorted(
    path for folder in (render.TEMPLATES, assets.TEMPLATES) for path in folder.rglob("*.html")
)
GAP = re.compile(r"\{(\w+)\}")
NOT_WORDS = {"alignloop", "K", "KiB", "SHA", "n"}
"""Names, units and symbols, which are the same in every language."""
SHOWN_ATTRIBUTES = {"aria-label", "title", "placeholder", "alt", "aria-description"}


def constants(node: nodes.Node | None) -> Iterator[str]:
    """What an argument can be: a constant, or either branch of a conditional; "x." stands for a name to follow."""
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, nodes.CondExpr):
        yield from constants(node.expr1)
        yield from constants(node.expr2)
    elif isinstance(node, nodes.Concat):
        yield from constants(node.nodes[0])


def keys_of_templates() -> set[str]:
    found: set[str] = set()
    for path in TEMPLATES:
        tree = render.environment().parse(path.read_text(encoding="utf-8"))
        for call in tree.find_all(nodes.Call):
            if not call.args:
                continue
            # `label(...)`, or a macro of another file: `tables.state(...)`
            called = (
                call.node.name
                if isinstance(call.node, nodes.Name)
                else getattr(call.node, "attr", "")
            )
            first = list(constants(call.args[0]))
            if called in ("label", "words", "state"):
                found |= {f"{prefix}.{name}" for prefix in first for name in WORDS[prefix]}
            elif called == "t":
                assert first, f"{path.name}:{call.lineno}: a key that no test can see"
                for key in first:
                    names = WORDS[key[:-1]] if key.endswith(".") else [""]
                    found |= {key + name for name in names}
            elif called == "strings":
                found |= {key for argument in call.args for key in constants(argument)}
    return found


def keys_of_modules() -> set[str]:
    """Keys that Python asks for: a constant given to `.text` or `.sentence`."""
    found: set[str] = set()
    for path in APP.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                first = call.args[0] if call.args else None
                if call.func.attr in ("text", "sentence") and isinstance(first, ast.Constant):
                    found.add(first.value)
    return found


def gaps(entry: i18n.Entry) -> set[str]:
    forms = [entry] if isinstance(entry, str) else list(entry.values())
    return {name for form in forms for name in GAP.findall(form)}


def test_the_catalogues_have_the_same_keys_and_gaps() -> None:
    english, chinese = catalogue("en").entries, catalogue("zh").entries

    assert english.keys() == chinese.keys()
    assert {key: gaps(entry) for key, entry in english.items()} == {
        key: gaps(entry) for key, entry in chinese.items()
    }


def test_every_key_that_is_asked_for_is_there_and_no_other() -> None:
    wanted = keys_of_templates() | keys_of_modules()
    known = set(catalogue("en").entries)

    assert wanted - known == set()
    assert known - wanted == set()


@pytest.mark.parametrize("prefix", sorted(WORDS))
@pytest.mark.parametrize("locale", LOCALES)
def test_every_name_has_words(prefix: str, locale: Locale) -> None:
    entries = catalogue(locale).entries

    assert [name for name in WORDS[prefix] if f"{prefix}.{name}" not in entries] == []


def test_chinese_is_chinese() -> None:
    """A sentence that was left in English would have no Chinese character."""
    same_everywhere = {"app.name", "table.k", "export_format.jsonl", "export_format.parquet"}
    plain = re.compile(r"[一-鿿]")

    left = [
        key
        for key, entry in catalogue("zh").entries.items()
        for form in ([entry] if isinstance(entry, str) else entry.values())
        if not plain.search(form) and re.search(r"[A-Za-z]{2}", GAP.sub("", form))
    ]

    assert set(left) <= same_everywhere


# Blocks and macros that fill attributes, and so hold no words to read.
OF_ATTRIBUTES = re.compile(
    r"{% block (?:\w+_class|root_attributes) %}.*?{% endblock %}|{% macro (?:swap|describes)\(.*?{%-? endmacro %}",
    re.DOTALL,
)


class Literals(HTMLParser):
    """Words that stand in a template itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found += re.findall(r"[^\W\d_]+", data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in SHOWN_ATTRIBUTES:
                self.found += re.findall(r"[^\W\d_]+", value or "")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_holds_no_words_of_its_own(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    bare = re.sub(
        r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", OF_ATTRIBUTES.sub("", source), flags=re.DOTALL
    )
    parser = Literals()

    parser.feed(bare)

    assert set(parser.found) <= NOT_WORDS


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_nothing_that_the_policy_forbids(path: Path) -> None:
    source = path.read_text(encoding="utf-8")

    assert not re.search(r"\sstyle\s*=|<style|\son\w+\s*=|javascript:|hx-on|hx-vars", source)
    assert not re.search(r"<script(?![^>]*\ssrc=)", source)
    assert not re.search(r"(?:src|href|action|hx-\w+)=\"(?:https?:)?//", source)


def test_what_fills_a_gap_is_escaped() -> None:
    words = Catalogue("en", {"hello": "Hello {name} & all"})

    assert words.text("hello", name="<b>") == "Hello &lt;b&gt; &amp; all"
    assert words.text("hello", name=Markup("<b>")) == "Hello <b> &amp; all"
    assert words.sentence("hello", name="<b>") == "Hello <b> & all"


def test_a_sentence_with_two_forms_follows_the_number() -> None:
    words = Catalogue("en", {"tasks": {"one": "{n} task", "other": "{n} tasks"}})
    without = Catalogue("zh", {"tasks": {"other": "{n} 个任务"}})

    assert [words.text("tasks", n=n) for n in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]
    assert without.text("tasks", n=1) == "1 个任务"


def test_a_key_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        catalogue("en").text("no.such.key")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("fr,zh;q=0.5", "zh"),
        ("fr, de", "en"),
        ("zh;q=0, en", "en"),
        ("en;q=0.2, zh-Hant;q=0.7", "zh"),
        ("zh;q=nonsense", "en"),
        (";;,,=", "en"),
    ],
)
def test_the_language_is_the_first_that_the_browser_wants(header: str, expected: str) -> None:
    assert choose_locale(header) == expected


def test_every_language_has_a_name_and_a_tag() -> None:
    assert set(i18n.TAGS) == set(i18n.NAMES) == set(get_args(Locale))
