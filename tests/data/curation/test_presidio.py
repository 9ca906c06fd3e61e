"""Presidio beside our patterns: what it is asked, what is taken from it, and what is said where it is missing.

It is not installed with the tests, so a stand-in with the same interface takes its place.
"""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from typing import Any

import pytest

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.presidio import REGIONS, PatternsAndPresidio
from alignloop.data.curation.spans import Span
from alignloop.errors import MissingExtraError
from tests.data.curation.test_curate import candidate, run

MODULE = "presidio_analyzer.predefined_recognizers"


@dataclass
class Result:
    entity_type: str
    start: int
    end: int
    score: float


class Recognizer:
    """Finds one word, as sure as it is told to be."""

    def __init__(self, entity: str, word: str, score: float) -> None:
        self.supported_entities = [entity]
        self._word, self._score = word, score
        self.asked: list[dict[str, Any]] = []

    def analyze(self, text: str, entities: list[str], nlp_artifacts: object = None) -> list[Result]:
        self.asked.append({"entities": entities, "nlp_artifacts": nlp_artifacts})
        at = text.find(self._word)
        if at < 0:
            return []
        return [Result(self.supported_entities[0], at, at + len(self._word), self._score)]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    module: Any = types.ModuleType(MODULE)
    made = types.SimpleNamespace(regions=None, phone=Recognizer("PHONE_NUMBER", "5550000", 0.4))

    def phone(supported_regions: tuple[str, ...]) -> Recognizer:
        made.regions = supported_regions
        return made.phone

    module.PhoneRecognizer = phone
    module.UsSsnRecognizer = lambda: Recognizer("US_SSN", "078051120", 0.05)
    module.EsNifRecognizer = lambda: Recognizer("ES_NIF", "55555555K", 1.0)
    monkeypatch.setitem(sys.modules, "presidio_analyzer", types.ModuleType("presidio_analyzer"))
    monkeypatch.setitem(sys.modules, MODULE, module)
    return made


def test_it_adds_to_our_patterns(stand_in: types.SimpleNamespace) -> None:
    text = "5550000, 078051120, 55555555K or a@b.com"

    found = PatternsAndPresidio()(text)

    assert found == [Span("phone", 0, 7), Span("national_id", 20, 29), Span("email", 33, 40)]
    assert stand_in.regions == REGIONS
    assert stand_in.phone.asked == [{"entities": ["PHONE_NUMBER"], "nlp_artifacts": None}]


def test_of_two_that_overlap_ours_stays(stand_in: types.SimpleNamespace) -> None:
    assert PatternsAndPresidio()("5550000@b.com") == [Span("email", 0, 13)]


def test_kinds_can_be_chosen(stand_in: types.SimpleNamespace) -> None:
    found = PatternsAndPresidio(("email", "national_id"))("5550000, 55555555K, a@b.com")

    assert [span.kind for span in found] == ["national_id", "email"]
    assert stand_in.phone.asked == []


def test_a_config_can_ask_for_it(stand_in: types.SimpleNamespace) -> None:
    config = CurationConfig(pii_detector="presidio", valid=0.001, test=0.001)

    (found,) = run([candidate("my number is 5550000x")], config, detector=None)

    assert getattr(found, "detail", None) == "phone"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)

    with pytest.raises(
        MissingExtraError, match=r"install the extra: pip install 'alignloop\[pii\]'"
    ):
        run([candidate("a")], CurationConfig(pii_detector="presidio"), detector=None)
