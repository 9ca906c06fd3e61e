"""One split, made before anything is trained: every group (title, user, organisation) lies on one side. Torch-free."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Side = Literal["train", "valid", "test"]
SIDES: tuple[Side, ...] = ("train", "valid", "test")

_SMALL_WORDS = frozenset("a an and at by in of on or s story tale the to with".split())


def title_key(title: str) -> str:
    """What near-duplicate titles share: content words, sorted, without a leading author or brackets."""
    title = re.sub(r"\[.*?\]", " ", title.replace("_", " ").replace("-", " "))
    title = re.sub(r"^\s*(grimm|anderson|andersen|wilde)\s", " ", title, flags=re.IGNORECASE)
    found = re.findall(r"[a-z0-9]+", title.lower().replace("'", ""))
    return " ".join(sorted(word for word in found if word not in _SMALL_WORDS))


def group_titles(
    titles: Mapping[str, str], windows: Mapping[str, NDArray[np.uint64]], shared: int
) -> dict[str, str]:
    """Put titles together that are one work: near-equal names, or at least `shared` windows of text in common.

    Args:
        titles: key of each title -> the title as written.
        windows: key of each title -> the shingles of its text.
        shared: how many distinct shingles two titles must share.

    Returns:
        key of each title -> key of its group (the smallest key in it).
    """
    parent = {key: key for key in titles}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    def join(a: str, b: str) -> None:
        low, high = sorted((root(a), root(b)))
        parent[high] = low

    by_name: dict[str, str] = {}
    for key, title in titles.items():
        name = title_key(title)
        if name in by_name:
            join(by_name[name], key)
        elif name:
            by_name[name] = key
    for (a, b), count in _shared_counts(windows).items():
        if count >= shared:
            join(a, b)
    return {key: root(key) for key in titles}


def _shared_counts(windows: Mapping[str, NDArray[np.uint64]]) -> dict[tuple[str, str], int]:
    """How many distinct shingles each pair of titles shares (pairs that share none are absent)."""
    keys = list(windows)
    distinct = [np.unique(windows[key]) for key in keys]
    hashes = np.concatenate(distinct) if distinct else np.empty(0, np.uint64)
    owners = np.repeat(np.arange(len(keys)), [len(d) for d in distinct])
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    counts: dict[tuple[str, str], int] = defaultdict(int)
    repeated = np.flatnonzero(hashes[1:] == hashes[:-1])
    start = 0
    while start < len(repeated):
        first = stop = int(repeated[start])
        while start < len(repeated) and int(repeated[start]) == stop:
            stop += 1
            start += 1
        members = [keys[int(owner)] for owner in owners[first : stop + 1]]
        for i, a in enumerate(members):
            for b in members[i + 1 :]:
                counts[(a, b) if a < b else (b, a)] += 1
    return counts


def assign_groups(
    sizes: Mapping[str, int], valid: float, test: float, largest: float
) -> dict[str, Side]:
    """Send each group to one side by a hash of its key, so that a new group moves no other.

    Args:
        sizes: group -> bytes.
        valid, test: share of the groups that goes to each held-out side.
        largest: a group of more bytes goes to train, so that held-out text has many titles.
    """
    sides: dict[str, Side] = {}
    for group, size in sizes.items():
        drawn = _side_at(_fraction(group), valid, test)
        sides[group] = "train" if size > largest else drawn
    return sides


def side_of(group: str, valid: float, test: float) -> Side:
    """The side of a user, organisation or conversation, by its name alone: whatever else there is, it stays there.

    Demonstrations, prompts, rankings and curated prompts of one group land on one side, as long as the shares (of the
    groups, for valid and for test) are the same.
    """
    return _side_at(draw("side", group), valid, test)


def draw(purpose: str, group: str) -> float:
    """A number in [0, 1) that depends on the purpose and the group alone."""
    return _fraction(f"{purpose}/{group}")


def _side_at(fraction: float, valid: float, test: float) -> Side:
    if fraction < test:
        return "test"
    return "valid" if fraction < test + valid else "train"


def _fraction(text: str) -> float:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class Known:
    """A set of shingles to look windows up in; a table of their top bits answers most look-ups at once."""

    def __init__(self, windows: Iterable[NDArray[np.uint64]]) -> None:
        parts = list(windows)
        self._sorted = np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)
        self._seen = np.zeros(1 << _TABLE_BITS, dtype=bool)
        self._seen[self._sorted >> _SHIFT] = True

    def has(self, windows: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For each window, whether it is in the set."""
        found = self._seen[windows >> _SHIFT]
        maybe = windows[found]
        if len(maybe):
            at = np.minimum(np.searchsorted(self._sorted, maybe), len(self._sorted) - 1)
            found[found] = self._sorted[at] == maybe
        return found


_TABLE_BITS = 26
_SHIFT = np.uint64(64 - _TABLE_BITS)
