"""The guidelines that come with the package, and a version's text in the parts that pages show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from alignloop.labeling.app.pages.common import Passage
from alignloop.labeling.app.pages.labeler import GuidelineSection, SectionKey
from alignloop.store import correspondence
from alignloop.web.i18n import LOCALES
from alignloop.web.richtext import rich

FOLDER = Path(__file__).parents[1] / "guidelines"
PURPOSES = ("training", "evaluation")
_KEYS: dict[str, SectionKey] = {
    "helpful": "helpful",
    "truthful": "truthful",
    "harmless": "harmless",
    "有帮助": "helpful",
    "真实": "truthful",
    "无害": "harmless",
}
_HEADING = re.compile(r"^## +(.+?) *$", re.MULTILINE)


def install_guidelines(connection: Connection, now: int, actor: str) -> None:
    """Version 1 of both, in every language, where the store has none."""
    for purpose in PURPOSES:
        if correspondence.guideline(connection, purpose=purpose, locale="en") is not None:
            continue
        for locale in LOCALES:
            body = (FOLDER / f"{purpose}.{locale}.md").read_text(encoding="utf-8")
            correspondence.add_guideline(
                connection, now, actor, purpose=purpose, version=1, locale=locale, body=body
            )


def latest_guideline(connection: Connection, purpose: str, locale: str) -> Any:
    """The version in force, in the reader's language or in English; None where there is none."""
    return correspondence.guideline(connection, purpose=purpose, locale=locale)


def sections_of(body: str, locale: str) -> tuple[GuidelineSection, ...]:
    """A text by its second-level headings; those of the three words are known, others keep their title."""
    parts = _HEADING.split(body)
    found: list[GuidelineSection] = []
    if parts[0].strip():
        found.append(GuidelineSection("other", _passage(parts[0], locale)))
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        key = _KEYS.get(title.strip().lower(), "other")
        found.append(GuidelineSection(key, _passage(text, locale), "" if key != "other" else title))
    return tuple(found)


def _passage(text: str, locale: str) -> Passage:
    text = text.strip()
    return Passage(text, "zh-Hans" if locale == "zh" else locale, rich(text))
