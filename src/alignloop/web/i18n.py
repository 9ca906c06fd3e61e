"""The catalogue of an app: every word that it shows, in each of its languages.

`<locale>.json` of its folder maps keys to sentences. A sentence may have gaps, `{name}`, and may be an object with the
forms "one" and "other", between which the value `n` decides. Sentences are plain text; what fills gaps is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast, get_args

from markupsafe import Markup, escape

Locale = Literal["en", "zh"]
LOCALES: tuple[Locale, ...] = get_args(Locale)
TAGS: dict[Locale, str] = {"en": "en", "zh": "zh-Hans"}
"""BCP 47 tag of each language, for `lang` attributes."""
NAMES: dict[Locale, str] = {"en": "English", "zh": "中文"}
"""Each language's name for itself: the same whatever the page is in."""

Entry = str | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The words of one language."""

    locale: Locale
    entries: Mapping[str, Entry]

    def sentence(self, key: str, **values: object) -> str:
        """The sentence of a key, filled in, as plain text.

        Raises:
            KeyError: the key is not in the catalogue, or a gap has no value.
        """
        return self._form(key, values).format_map(values)

    def text(self, key: str, **values: object) -> Markup:
        """The same for HTML: escaped, but for values that are `Markup` already."""
        words = _escaped(self._form(key, values))
        if "{" not in words:
            return words
        return Markup(
            str(words).format_map({name: escape(value) for name, value in values.items()})
        )

    def label(self, prefix: str, name: str) -> Markup:
        """The word for a name that a prefix has."""
        return self.text(f"{prefix}.{name}")

    def strings(self, *keys: str) -> str:
        """Sentences for a script, gaps and all, as a JSON object; for a `data-` attribute."""
        return json.dumps({key: self.entries[key] for key in keys}, ensure_ascii=False)

    def _form(self, key: str, values: Mapping[str, object]) -> str:
        entry = self.entries[key]
        if isinstance(entry, str):
            return entry
        return entry["one" if values["n"] == 1 and "one" in entry else "other"]


@cache
def _escaped(sentence: str) -> Markup:
    """A sentence of the catalogue for HTML. A page has hundreds, which are worth keeping."""
    return escape(sentence)


@cache
def catalogue_in(folder: Path, locale: Locale) -> Catalogue:
    """The catalogue of a language, from an app's folder of them."""
    text = (folder / f"{locale}.json").read_text(encoding="utf-8")
    return Catalogue(locale, cast(dict[str, Entry], json.loads(text)))


def choose_locale(accept_language: str, default: Locale = "en") -> Locale:
    """The first language of an Accept-Language header that there is a catalogue for."""
    wanted: list[tuple[float, int, Locale]] = []
    for at, part in enumerate(accept_language.split(",")):
        tag, _, quality = part.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        weight = _weight(quality)
        for locale in LOCALES:
            if primary == locale and weight > 0:
                wanted.append((-weight, at, locale))
    return min(wanted)[2] if wanted else default


def _weight(parameter: str) -> float:
    """The q of `;q=0.8`: 1 where it is absent, 0 where it is no number."""
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
