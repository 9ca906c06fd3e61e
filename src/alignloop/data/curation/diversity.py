"""Whether prompts are as different as the paper asks of "plain" ones: openings, words, use cases, near-duplicates.

Section 3.2 has labelers "come up with an arbitrary task, while ensuring diversity"; it names no measure. These are
common ones, and none alone shows diversity: read them beside another set of prompts of about the same size.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alignloop.data.curation.keys import normalize
from alignloop.data.shingles import fold, shingles

OPENING_WORDS = (1, 2, 3)
NEAR_WIDTH = 30
"""Folded characters of a shingle: about six English words, or five Chinese characters."""
NEAR_SHARE = 0.7
"""A prompt of whose shingles so many stood in earlier prompts is a near-duplicate."""
_WORD = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff]|[^\\W_]+(?:['\u2019-][^\\W_]+)*")
"""A word, or one character of Chinese or Japanese."""
_COMMON = 5


@dataclass(frozen=True, slots=True)
class Diversity:
    """Measures of a set of prompts; shares are between 0 and 1."""

    prompts: int
    words: int
    """Of all prompts together."""
    distinct_openings: dict[int, float]
    """Words k -> different first k words over the prompts that have as many."""
    common_openings: dict[int, tuple[tuple[str, float], ...]]
    """Words k -> the five most frequent first k words, with their share."""
    type_token: float
    """Different words over words (distinct-1). It falls as a set grows."""
    distinct_2: float
    """Different pairs of neighbouring words over all such pairs."""
    distinct_3: float
    use_case_bits: float | None
    """Entropy of the use cases; log2(10) = 3.32 where all ten are as frequent. None where none is given."""
    near_duplicates: float
    """Share of the prompts that mostly repeat earlier ones; those shorter than a shingle must repeat one whole."""

    def as_dict(self) -> dict[str, object]:
        """Plain values for a report."""
        return {
            "prompts": self.prompts,
            "words": self.words,
            "distinct_openings": {str(k): share for k, share in self.distinct_openings.items()},
            "common_openings": {
                str(k): [list(o) for o in v] for k, v in self.common_openings.items()
            },
            "type_token": self.type_token,
            "distinct_2": self.distinct_2,
            "distinct_3": self.distinct_3,
            "use_case_bits": self.use_case_bits,
            "near_duplicates": self.near_duplicates,
        }


def diversity(prompts: Sequence[str], use_cases: Iterable[str] = ()) -> Diversity:
    """Measure a set of prompts, in the order given: of two like ones the later is the near-duplicate.

    Memory grows with the text: about 20 bytes for each of its characters.

    Args:
        use_cases: one per prompt or fewer; empty ones are left out.
    """
    openings: dict[int, Counter[str]] = {k: Counter() for k in OPENING_WORDS}
    grams: dict[int, set[tuple[str, ...]]] = {1: set(), 2: set(), 3: set()}
    totals = dict.fromkeys(grams, 0)
    for prompt in prompts:
        words = _WORD.findall(normalize(prompt))
        for k, counter in openings.items():
            if len(words) >= k:
                counter[" ".join(words[:k])] += 1
        for n, seen in grams.items():
            found = list(zip(*(words[i:] for i in range(n)), strict=False))
            seen.update(found)
            totals[n] += len(found)
    share = {n: _over(len(seen), totals[n]) for n, seen in grams.items()}
    return Diversity(
        len(prompts),
        totals[1],
        {k: _over(len(counter), counter.total()) for k, counter in openings.items()},
        {
            k: tuple((text, n / counter.total()) for text, n in _most(counter))
            for k, counter in openings.items()
        },
        share[1],
        share[2],
        share[3],
        _entropy(Counter(case for case in use_cases if case)),
        _over(sum(_near_duplicates(prompts)), len(prompts)),
    )


def _most(counter: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent ones, in one order whatever came first."""
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:_COMMON]


def _over(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _entropy(counts: Counter[str]) -> float | None:
    total = counts.total()
    if not total:
        return None
    return abs(sum(n / total * math.log2(total / n) for n in counts.values()))


def _near_duplicates(prompts: Sequence[str]) -> list[bool]:
    """For each prompt, whether enough of its different shingles stood in a prompt before it."""
    windows = [np.unique(_windows(prompt)) for prompt in prompts]
    sizes = [len(found) for found in windows]
    hashes = np.concatenate(windows) if windows else np.empty(0, np.uint64)
    owners = np.repeat(np.arange(len(prompts)), sizes)
    order = np.argsort(hashes, kind="stable")
    is_first = np.ones(len(hashes), dtype=bool)
    is_first[1:] = hashes[order][1:] != hashes[order][:-1]
    repeated = np.bincount(owners[order][~is_first], minlength=len(prompts))
    return [
        size > 0 and again >= NEAR_SHARE * size
        for size, again in zip(sizes, repeated.tolist(), strict=True)
    ]


def _windows(prompt: str) -> NDArray[np.uint64]:
    """Shingles of a prompt; other scripts are spelled in ASCII first, and a short text is one shingle of its own."""
    spelled = fold(normalize(prompt).encode("unicode_escape").decode("ascii"))
    return shingles(spelled.ljust(NEAR_WIDTH, "0"), NEAR_WIDTH)
