"""Presidio's recognizers beside our patterns: phone numbers by region, and national ids whose form leaves little doubt.

The recognizers are called one by one, without Presidio's engine: that would download a language model. Those of e-mail
addresses are left out, since they look up a list of domains on the network; ours stand for them.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from alignloop.data.curation.patterns import Patterns
from alignloop.data.curation.spans import KINDS, Span, without_overlaps
from alignloop.errors import MissingExtraError

REGIONS = ("US", "GB", "DE", "FR", "CN", "IN", "JP", "BR", "AU", "CA")
"""Whose phone numbers are found without an international prefix."""
LEAST_SCORE = 0.4
"""Presidio's own score of a phone number; forms that need words around them to be believed have less."""
_IDS = (
    "UsSsnRecognizer",
    "SgFinRecognizer",
    "EsNifRecognizer",
    "EsNieRecognizer",
    "ItFiscalCodeRecognizer",
    "FiPersonalIdentityCodeRecognizer",
)


class PatternsAndPresidio:
    """A `Detector`: what `Patterns` finds, and what Presidio adds.

    Raises:
        MissingExtraError: Presidio is not installed.
    """

    def __init__(self, kinds: Sequence[str] = KINDS, regions: Sequence[str] = REGIONS) -> None:
        self._patterns = Patterns(kinds)
        self._recognizers = [
            (kind, recognizer)
            for kind, recognizer in _recognizers(tuple(regions))
            if kind in set(kinds)
        ]

    def __call__(self, text: str) -> list[Span]:
        """Personal data in the text, in order and without overlaps."""
        found = self._patterns(text)
        for kind, recognizer in self._recognizers:
            for result in recognizer.analyze(
                text=text, entities=recognizer.supported_entities, nlp_artifacts=None
            ):
                if result.score >= LEAST_SCORE:
                    found.append(Span(kind, result.start, result.end))
        return without_overlaps(found)


def _recognizers(regions: tuple[str, ...]) -> list[tuple[str, Any]]:
    try:
        given: Any = importlib.import_module("presidio_analyzer.predefined_recognizers")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"pii_detector = 'presidio' needs a package that is not installed ({error.name}); "
            "install the extra: pip install 'alignloop[pii]'"
        ) from None
    ids = [("national_id", getattr(given, name)()) for name in _IDS if hasattr(given, name)]
    return [("phone", given.PhoneRecognizer(supported_regions=regions)), *ids]
