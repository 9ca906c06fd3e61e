"""Closed-domain hallucination: words of an answer that its source does not have.

Words, not facts: "the fox" for "the wolf" counts where the source has no fox, a false sentence made of the source's
own words does not count. It is a floor that costs nothing, beside what labelers say (Table 3).
"""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SUFFIXES = ("'s", "’s")
_ENDINGS = (
    *((ending, "") for ending in ("s", "es", "ed", "ing", "ly")),
    *((ending, "e") for ending in ("ed", "ing")),
    *((ending, "y") for ending in ("ies", "ied")),
)
"""Common English endings, and what stands in their place in the plain form."""
FUNCTION_WORDS = frozenset(
    "a about above after again against all also although always am among an and another any are around as at away be "
    "became because become been before began behind being below between both but by came can cannot come could did do "
    "does doing done down during each either else even ever every few first for from get give given go goes got had "
    "has have having he her here hers herself him himself his how however i if in into is it its itself just least "
    "less let like made make many may me might mine more most much must my myself neither never no nor not nothing "
    "now of off often on once one only onto or other others our ours ourselves out over own perhaps put quite rather "
    "really same shall she should since so some somebody someone something still such than that the their theirs them "
    "themselves then there therefore these they thing this those though through thus to together too toward towards "
    "two under until up upon us very was way we well went were what whatever when where whether which while who whom "
    "whose why will with within without would yes yet you your yours yourself "
    "background story text passage answer question mentioned said says say".split()
)
"""Words that carry no claim of their own; those by which an answer speaks of its source are among them."""


def content_words(text: str) -> list[str]:
    """Words in lower case that carry a claim, in order; an English possessive loses its ending."""
    found: list[str] = []
    for word in _WORD.findall(text.lower()):
        for suffix in _SUFFIXES:
            word = word.removesuffix(suffix)
        if word not in FUNCTION_WORDS:
            found.append(word)
    return found


def invented_words(answer: str, source: str) -> list[str]:
    """Content words of the answer that the source has in no like form, in order.

    Forms are alike where one is the other with a common English ending (walk, walks, walked, walking).
    """
    known = {stem for word in content_words(source) for stem in _stems(word)}
    return [word for word in content_words(answer) if not known & _stems(word)]


def invented_share(answer: str, source: str) -> float | None:
    """Invented words as a share of the answer's content words; None where the answer has none."""
    words = content_words(answer)
    return len(invented_words(answer, source)) / len(words) if words else None


def _stems(word: str) -> set[str]:
    """The word, and what is left when a common ending is struck off; at least three letters stay."""
    found = {word}
    for ending, replacement in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(replacement) >= 3:
            found.add(word.removesuffix(ending) + replacement)
    return found
