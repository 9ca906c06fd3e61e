"""The table of digests against a dictionary, over many batches, growth and collisions."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignloop.data.curation import digest_table
from alignloop.data.curation.digest_table import DigestTable
from alignloop.errors import DataError

# Few values of the half that decides the slot, so that many want the same one, the last of the table too.
halves = st.sampled_from([0, 1, 2, 5, 2**15 - 1, 2**64 - 1])
few_digests = st.builds(
    lambda a, b: a.to_bytes(8, "little") + b.to_bytes(8, "little"), halves, st.integers(0, 40)
)


@settings(max_examples=50)
@given(st.lists(st.dictionaries(few_digests, st.integers(0, 2**64 - 1), max_size=30), max_size=6))
def test_it_is_a_dictionary(batches: list[dict[bytes, int]]) -> None:
    model: dict[bytes, int] = {}
    with tempfile.TemporaryDirectory() as folder, patch.object(digest_table, "_FIRST_ENTRIES", 4):
        table = DigestTable(Path(folder) / "table")
        for batch in batches:
            new = {digest: value for digest, value in batch.items() if digest not in model}
            asked = [*batch, *model]
            assert table.find(asked) == [model.get(digest) for digest in asked]
            table.add([*new], [*new.values()])
            model |= new
            assert len(table) == len(model)
            assert table.find([*model]) == [*model.values()]
        table.close()


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()[:16]


def test_it_grows_from_a_stream_that_repeats_itself(tmp_path: Path) -> None:
    table = DigestTable(tmp_path / "table")

    table.add_known((digest(i // 2) for i in range(300_000)), 7)

    assert len(table) == 150_000
    asked = [digest(i) for i in (0, 74_999, 149_999, 150_000, -1)]
    assert table.find(asked) == [7, 7, 7, None, None]
    assert (tmp_path / "table").stat().st_size < 10_000_000
    table.close()


def test_a_digest_of_another_length_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        DigestTable(tmp_path / "table").find([b"short"])


def test_a_disk_that_is_full_is_an_error_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        DigestTable(tmp_path / "no such folder" / "table")
