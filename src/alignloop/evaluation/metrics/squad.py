"""SQuAD's normalisation, exact match and F1 (Rajpurkar et al. 2016), with the answer "there is none" of version 2."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(text: str) -> str:
    """Lower case, without punctuation and English articles, single spaces between words."""
    plain = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", plain).split())


def exact_match(answer: str, reference: str) -> float:
    """1 where both say the same once normalised, else 0."""
    return float(normalized(answer) == normalized(reference))


def f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the normalised words, each as often as it occurs.

    Where one side has no words, 1 if the other has none either, else 0.
    """
    said, wanted = normalized(answer).split(), normalized(reference).split()
    if not said or not wanted:
        return float(said == wanted)
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


def best(metric: Callable[[str, str], float], answer: str, references: Sequence[str]) -> float:
    """The score against the reference that the answer is nearest to; no references at all mean "there is none"."""
    return max((metric(answer, reference) for reference in references), default=metric(answer, ""))


def without_refusal(answer: str, refusals: Iterable[str]) -> str:
    """The empty text where the answer is one of the ways to say that there is none; else the answer as it is."""
    said = normalized(answer)
    return "" if any(said == normalized(refusal) for refusal in refusals) else answer


def contains(answer: str, wanted: str) -> bool:
    """Whether the normalised words of `wanted` stand in the answer, in that order and together."""
    words = normalized(wanted)
    return bool(words) and f" {words} " in f" {normalized(answer)} "
