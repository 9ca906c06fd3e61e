"""DROP's own exact match and F1 (Dua et al. 2019): answers are bags of spans, and numbers have to agree.

Written from the description of the data set's official evaluation, its habits included: words are split at spaces and
hyphens, numbers are compared as numbers, several spans are put side by side in the way that suits the answer best, and
F1 is rounded to two digits.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

from alignloop.errors import MissingExtraError

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)
Spans = Sequence[str]
"""One answer; a number or a date is a single span."""


@dataclass(frozen=True, slots=True)
class Score:
    """Exact match (0 or 1) and F1 in [0, 1]."""

    exact: float
    f1: float


def score(answer: Spans, reference: Spans) -> Score:
    """An answer against one reference.

    Raises:
        MissingExtraError: several spans on both sides, and scipy is not installed.
    """
    said, wanted = [_normalized(span) for span in answer], [_normalized(span) for span in reference]
    exact = float(set(said) == set(wanted) and len(said) == len(wanted))
    bags = [[set(span.split()) for span in spans] for spans in (said, wanted)]
    aligned = _aligned(*bags)
    return Score(exact, round(sum(aligned) / len(aligned), 2) if aligned else 1.0)


def best_score(answer: Spans, references: Sequence[Spans]) -> Score:
    """The best exact match, then the best F1, among several annotators' answers.

    Raises:
        ValueError: there are no references.
    """
    scores = [score(answer, reference) for reference in references]
    if not scores:
        raise ValueError("a question of DROP has at least one reference")
    return max(scores, key=lambda one: (one.exact, one.f1))


def _normalized(span: str) -> str:
    words = (_normalized_word(word) for word in re.split(r"[ -]", span))
    return " ".join(word for word in words if word)


def _normalized_word(word: str) -> str:
    word = word.lower()
    if not _is_number(word):
        word = "".join(letter for letter in word if letter not in _PUNCTUATION)
    if _is_number(word):
        word = str(float(word))
    return " ".join(_ARTICLE.sub(" ", word).split())


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _aligned(said: list[set[str]], wanted: list[set[str]]) -> list[float]:
    """F1 of each pair of spans under the best one-to-one alignment; a span without a partner counts 0."""
    scores = [[_bag_f1(one, other) for other in said] for one in wanted]
    longest = max(len(said), len(wanted))
    if not said or not wanted:
        return [0.0] * longest
    if len(said) == 1 or len(wanted) == 1:  # the best single pair, and no solver
        return [max(max(row) for row in scores)] + [0.0] * (longest - 1)
    try:
        from scipy.optimize import linear_sum_assignment
    except ModuleNotFoundError:
        raise MissingExtraError(
            "DROP answers of several spans are aligned by the package 'scipy': pip install 'alignloop[eval]'"
        ) from None
    rows, columns = linear_sum_assignment(scores, maximize=True)
    found = [scores[row][column] for row, column in zip(rows, columns, strict=True)]
    return found + [0.0] * (longest - len(found))


def _bag_f1(wanted: set[str], said: set[str]) -> float:
    """F1 of two sets of words; 0 where the reference names numbers and the answer has none of them."""
    numbers = {word for word in wanted if _is_number(word)}
    if numbers and not numbers & said:
        return 0.0
    common = len(wanted & said)
    precision = common / len(said) if said else 1.0
    recall = common / len(wanted) if wanted else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
