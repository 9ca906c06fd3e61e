"""What the tests of prompts share: the language model is read once, not for each import."""

from __future__ import annotations

from functools import cache

import pytest

from alignloop.data.curation import examine
from alignloop.data.curation.language import LanguageDetector

_loaded = cache(LanguageDetector)


@pytest.fixture(autouse=True)
def one_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "LanguageDetector", _loaded)
