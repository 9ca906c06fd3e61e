"""The labeling app's catalogue of words."""

from __future__ import annotations

from pathlib import Path

from alignloop.web.i18n import Catalogue, Locale, catalogue_in

FOLDER = Path(__file__).with_name("locale")


def catalogue(locale: Locale) -> Catalogue:
    """The catalogue of a language."""
    return catalogue_in(FOLDER, locale)
