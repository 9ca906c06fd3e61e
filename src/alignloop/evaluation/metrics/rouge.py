"""ROUGE-L (Lin 2004) of one answer against one reference, as sentence-level F1, without stemming.

Words are runs of ASCII letters and digits in lower case, and precision and recall weigh alike. With those choices the
released TL;DR samples of the paper give 0.11 to 0.17.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[a-z0-9]+")


def rouge_l(answer: str, reference: str) -> float:
    """Twice the longest common subsequence of words over the words of both texts; 0 where either has none."""
    said, wanted = _WORD.findall(answer.lower()), _WORD.findall(reference.lower())
    if not said or not wanted:
        return 0.0
    return 2 * longest_common_subsequence(said, wanted) / (len(said) + len(wanted))


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest sequence that is left of both when words are struck out."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for at, other in enumerate(second, start=1):
            above = row[at]
            row[at] = diagonal + 1 if word == other else max(above, row[at - 1])
            diagonal = above
    return row[-1]
