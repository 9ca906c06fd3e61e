"""The language of a prompt, by py3langid, the maintained fork of the langid.py that the paper used (appendix A.4).

Its first letters are looked at, without digits, marks and addresses of pages. Han characters, kana and hangul tell
Chinese, Japanese and Korean apart at once, which is quicker and surer for short texts: with kana it is Japanese, Han
alone is Chinese. A text of few letters, or one that the classifier is unsure of, is "und", as ISO 639-2 has it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from alignloop.errors import ConfigError

UNDETERMINED = "und"
LOOKED_AT = 200
"""Bytes of letters and spaces that are classified. More cost time and change little."""
LEAST_LETTERS = 16
"""A text in the letters of ASCII with fewer of them is not classified."""
LEAST_CONFIDENCE = 0.5
"""The classifier's own probability below which a text stays undetermined."""

_SPACED = bytes(
    code if code >= 0x80 or chr(code).isalpha() or code == 0x27 else 0x20 for code in range(256)
)
"""Digits, marks and control characters of ASCII become spaces; letters, and every other script, stay."""
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_CJK = re.compile(
    "(?P<han>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+)"
    "|(?P<kana>[\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f]+)"
    "|(?P<hangul>[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]+)"
)
_BYTES_OF_CJK = 3


class LanguageDetector:
    """Codes of ISO 639-1, or `UNDETERMINED`; the model is read from the package that py3langid is, with no network."""

    def __init__(self) -> None:
        langid: Any = importlib.import_module("py3langid.langid")
        self._identifier = langid.LanguageIdentifier.from_model_file(
            langid.MODEL_FILE, norm_probs=True
        )
        # Its float16 table is cast at every use otherwise, which is half of the time.
        self._identifier.nb_ptc = self._identifier.nb_ptc.astype("float32")

    @property
    def languages(self) -> frozenset[str]:
        """Every code that may be given."""
        return frozenset(self._identifier.labels) | {"zh", "ja", "ko"}

    def __call__(self, text: str) -> str:
        """The language of a text."""
        beginning = text[: 6 * LOOKED_AT]
        if "://" in beginning or "www." in beginning:
            beginning = _LINK.sub(" ", beginning)
        letters = b" ".join(beginning.encode("utf-8", "replace").translate(_SPACED).split())[
            :LOOKED_AT
        ]
        if letters.isascii():
            if len(letters) - letters.count(b" ") < LEAST_LETTERS:
                return UNDETERMINED
        elif by_script := _by_script(letters):
            return by_script
        found, confidence = self._identifier.classify(letters)
        return found if confidence >= LEAST_CONFIDENCE else UNDETERMINED

    def check(self, codes: Sequence[str]) -> None:
        """Refuse codes that are never given: they would drop everything.

        Raises:
            ConfigError: with the nearest code.
        """
        for code in codes:
            if code not in self.languages:
                near = [code[:2]] if code[:2] in self.languages else []
                near += get_close_matches(code, sorted(self.languages), n=1, cutoff=0.5)
                advice = (
                    f"did you mean '{near[0]}'?"
                    if near
                    else "see py3langid for the codes there are"
                )
                raise ConfigError(f"'languages': '{code}' is never detected; {advice}")


def _by_script(letters: bytes) -> str | None:
    """Chinese, Japanese or Korean where its script takes half of the bytes; None elsewhere."""
    counts = {"han": 0, "kana": 0, "hangul": 0}
    for match in _CJK.finditer(letters.decode("utf-8", "ignore")):
        counts[match.lastgroup or ""] += match.end() - match.start()
    most = sum(counts.values()) * _BYTES_OF_CJK
    if 2 * most < len(letters) - letters.count(b" "):
        return None
    if counts["hangul"] > counts["han"] + counts["kana"]:
        return "ko"
    return "ja" if 10 * counts["kana"] >= counts["han"] + counts["kana"] else "zh"


def given_language(code: str) -> str:
    """A code as a file gives it ("EN", "zh-CN") -> as it is compared ("en", "zh")."""
    return re.split(r"[-_]", code.strip().lower(), maxsplit=1)[0]
