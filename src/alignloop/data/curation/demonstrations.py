"""What is wrong with demonstrations, seen without a person: no answer, the same again, too long to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

from alignloop.data.curation.keys import digests
from alignloop.data.curation.lengths import CountTokens, estimate

Fault = Literal["empty", "duplicate", "too_long"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""In the order in which they are looked for; a demonstration has the first that holds."""
MAX_TOKENS = 1000
"""Of a response (appendix C of the paper)."""
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class DemonstrationChecks:
    """One verdict per demonstration, and their counts."""

    faults: tuple[Fault | None, ...]
    counts: dict[Fault, int]
    """Every fault, those that were not found too."""

    @property
    def fit(self) -> int:
        """How many have no fault."""
        return self.faults.count(None)


def check_demonstrations(
    pairs: Iterable[tuple[str, str]],
    *,
    max_tokens: int = MAX_TOKENS,
    count_tokens: CountTokens = estimate,
) -> DemonstrationChecks:
    """Look at (prompt, response) pairs in order; of equal pairs the first stands.

    A response without a visible character is empty. Pairs are equal when prompt and response are, case and white space
    aside: two different answers to one prompt are no duplicates. Length is that of the response.
    """
    faults = tuple(_faults(iter(pairs), max_tokens, count_tokens))
    counts = Counter(fault for fault in faults if fault)
    return DemonstrationChecks(faults, {fault: counts[fault] for fault in FAULTS})


def _faults(
    pairs: Iterator[tuple[str, str]], max_tokens: int, count_tokens: CountTokens
) -> Iterator[Fault | None]:
    seen: set[bytes] = set()
    while batch := list(islice(pairs, _BATCH)):
        lengths = count_tokens([response for _, response in batch])
        for pair, tokens in zip(batch, lengths, strict=True):
            yield _fault(pair, tokens > max_tokens, seen)


def _fault(pair: Sequence[str], is_long: bool, seen: set[bytes]) -> Fault | None:
    prompt, response = pair
    if not any(sign.isprintable() and not sign.isspace() for sign in response):
        return "empty"
    key, _ = digests(response, (("user", prompt),), (), None)
    if key in seen:
        return "duplicate"
    seen.add(key)
    return "too_long" if is_long else None
