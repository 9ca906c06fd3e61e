"""The bundled judgments of people, read as files that anybody might have."""

from __future__ import annotations

import pytest

from alignloop.data.incoming import Candidate, Rejected
from alignloop.data.jsonl import read_objects
from alignloop.data.shapes import read
from alignloop.resources import asset


@pytest.mark.parametrize(
    ("name", "shape", "rejected"),
    [
        ("hh_harmless", "trl_preference", 5),
        ("oasst_rankings", "ranked", 0),
        ("stackexchange_rankings", "ranked", 0),
        ("pandalm_3annotators", "plain", 0),
        ("squality_rankings_workers", "plain", 0),
    ],
)
def test_every_bundled_row_is_read_or_turned_away(name: str, shape: str, rejected: int) -> None:
    path = asset("human_judgments", f"{name}.jsonl.gz")
    rows = [row for _, row in read_objects(path)]

    opened = read(path)
    found = list(opened)

    assert opened.shape == shape
    assert len(found) == len(rows)
    assert sum(isinstance(one, Rejected) for one in found) == rejected
    for row, one in zip(rows, found, strict=True):
        if isinstance(one, Candidate):
            assert one.text.strip()
            if shape == "ranked":
                assert [answer.text for answer in one.answers] == row["candidates"]
                assert one.language == row.get("lang", "")
            if row.get("asker_id"):
                assert one.user == f"{row['site']}/{row['asker_id']}"


def test_the_ranks_of_open_assistant_and_the_votes_of_stack_exchange_keep_their_order() -> None:
    for name, key, sign in [
        ("oasst_rankings", "rank", 1),
        ("stackexchange_rankings", "scores", -1),
    ]:
        path = asset("human_judgments", f"{name}.jsonl.gz")
        for (_, row), one in zip(read_objects(path), read(path), strict=True):
            assert isinstance(one, Candidate)
            given, ranks = row[key], [answer.rank or 0 for answer in one.answers]
            assert min(ranks) == 1
            for a in range(len(ranks)):
                for b in range(len(ranks)):
                    assert (ranks[a] < ranks[b]) == (sign * given[a] < sign * given[b])
