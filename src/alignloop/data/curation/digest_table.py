"""Digests by the million, each with a number beside it: a hash table in arrays, its entries in a scratch file.

An entry is 24 bytes in the file, and four bytes of memory hold its place, so ten million take 240 MB of disk and
64 to 128 MB of memory. Looking up and adding are done by the batch, in numpy, and cost the same however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alignloop.data.curation.keys import DIGEST_BYTES
from alignloop.errors import DataError

_ENTRY_BYTES = 24
_FIRST_ENTRIES = 1 << 14
_MOST_FILLED = 0.6
_BATCH = 1 << 16

Words = NDArray[np.uint64]
"""Digests as [count, 2] numbers of 64 bits."""


class DigestTable:
    """A map from digests to numbers; digests are added once each.

    Raises:
        DataError: the scratch file cannot be written: the disk is full, say.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._room = 0
        self._slots = np.zeros(2 * _FIRST_ENTRIES, dtype=np.uint32)
        self._entries: NDArray[np.uint64] = np.empty((0, 3), dtype=np.uint64)
        self._make_room(_FIRST_ENTRIES)

    def __len__(self) -> int:
        return self._count

    def find(self, digests: Sequence[bytes]) -> list[int | None]:
        """The number beside each digest, or None where it is not in the table."""
        if not digests:
            return []
        words = _words(digests)
        found = np.zeros(len(words), dtype=np.uint32)  # 1 + place of the entry
        at = words[:, 0] & np.uint64(len(self._slots) - 1)
        waiting = np.arange(len(words))
        while len(waiting):
            slots = self._slots[at[waiting]]
            waiting, slots = waiting[slots > 0], slots[slots > 0]
            entries = self._entries[slots - 1]
            is_same = (entries[:, :2] == words[waiting]).all(axis=1)
            found[waiting[is_same]] = slots[is_same]
            waiting = waiting[~is_same]
            at[waiting] = (at[waiting] + np.uint64(1)) & np.uint64(len(self._slots) - 1)
        values = self._entries[np.maximum(found, 1) - 1, 2] if self._count else np.zeros_like(at)
        return [
            int(value) if is_there else None
            for value, is_there in zip(values.tolist(), (found > 0).tolist(), strict=True)
        ]

    def add(self, digests: Sequence[bytes], values: Sequence[int]) -> None:
        """Add digests that are not there, each once, with a number of up to 64 bits beside each."""
        if not digests:
            return
        words, first = _words(digests), self._count
        self._make_room(first + len(words))
        self._entries[first : first + len(words), :2] = words
        self._entries[first : first + len(words), 2] = np.array(values, dtype=np.uint64)
        self._count += len(words)
        while self._count > _MOST_FILLED * len(self._slots):
            self._slots = np.zeros(2 * len(self._slots), dtype=np.uint32)
            first = 0
        for start in range(first, self._count, _BATCH):
            self._place(np.arange(start, min(start + _BATCH, self._count)))

    def add_known(self, digests: Iterable[bytes], value: int) -> None:
        """Add what may repeat itself, as a store gives it, with one number beside all."""
        rest = iter(digests)
        while batch := list(dict.fromkeys(islice(rest, _BATCH))):
            is_there = self.find(batch)
            new = [digest for digest, at in zip(batch, is_there, strict=True) if at is None]
            self.add(new, [value] * len(new))

    def close(self) -> None:
        """Let go of the file; the table is empty then."""
        self._count = 0
        self._entries = np.empty((0, 3), dtype=np.uint64)

    def _place(self, entries: NDArray[np.int64]) -> None:
        """Give entries their slots: each takes its own or the next empty one; of two that want one, one moves on."""
        mask = np.uint64(len(self._slots) - 1)
        at = self._entries[entries, 0] & mask
        names = (entries + 1).astype(np.uint32)
        while len(names):
            is_empty = self._slots[at] == 0
            self._slots[at[is_empty]] = names[is_empty]
            is_left = self._slots[at] != names
            names, at = names[is_left], (at[is_left] + np.uint64(1)) & mask

    def _make_room(self, entries: int) -> None:
        if entries <= self._room:
            return
        room = max(self._room, _FIRST_ENTRIES)
        while room < entries:
            room *= 2
        try:
            # Written, not merely made longer: a full disk is then an error here, not a crash in a mapped page.
            with self._path.open("ab") as file:
                missing = (room - self._room) * _ENTRY_BYTES
                for _ in range(missing // _BATCH):
                    file.write(bytes(_BATCH))
                file.write(bytes(missing % _BATCH))
            self._entries = np.memmap(self._path, dtype=np.uint64, mode="r+", shape=(room, 3))
        except OSError as error:
            raise DataError(
                f"{self._path}: cannot be written ({error.strerror}); give another scratch folder"
            ) from None
        self._room = room


def _words(digests: Sequence[bytes]) -> Words:
    joined = b"".join(digests)
    if len(joined) != DIGEST_BYTES * len(digests):
        raise ValueError(f"a digest has {DIGEST_BYTES} bytes")
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64).reshape(-1, 2)
