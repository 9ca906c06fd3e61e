"""Gold earns its name on real rankings: human text over another story's, over repetition, over shuffled words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from alignloop.data import split
from alignloop.data.jsonl import read_objects
from alignloop.data.shingles import shingles
from alignloop.data.stories import Library, read_library
from alignloop.judges.gold import Gold
from alignloop.judges.lexicon import Lexicon
from alignloop.resources import asset
from tests.judges.known_kinds import KindRanking, ranking_accuracy

RANKINGS = Path(__file__).parents[1] / "assets" / "story_rankings.jsonl.gz"


@pytest.fixture(scope="module")
def library() -> Library:
    return read_library(asset("stories"))


@pytest.fixture(scope="module")
def gold(library: Library, request: pytest.FixtureRequest) -> Gold:
    """Every day its lexicon counts the words of every fourth text, spread over all sources; of all with --full."""
    step = 1 if request.config.getoption("full") else 4
    return Gold(Lexicon.from_texts(text.text for text in library.texts("train")[::step]))


@pytest.fixture(scope="module")
def rankings(request: pytest.FixtureRequest) -> list[KindRanking]:
    """Every second one every day, all with --full."""
    step = 1 if request.config.getoption("full") else 2
    return [KindRanking.from_row(row) for _, row in read_objects(RANKINGS)][::step]


def test_gold_orders_nine_in_ten_pairs_of_the_derived_rankings(
    gold: Gold, rankings: list[KindRanking]
) -> None:
    counts = ranking_accuracy(gold.utility, rankings)
    assert right_share(list(counts.values())) >= 0.90
    assert set(counts) >= {
        ("human", "other_story"),
        ("human", "repetition"),
        ("human", "shuffled_words"),
    }
    for pair in (
        ("human", "repetition"),
        ("human", "shuffled_words"),
        ("other_story", "shuffled_words"),
    ):
        assert right_share([counts[pair]]) >= 0.95, pair
    assert right_share([counts["human", "other_story"]]) >= 0.70


@pytest.mark.full
def test_it_does_so_on_titles_that_its_lexicon_never_saw(
    gold: Gold, library: Library, rankings: list[KindRanking]
) -> None:
    train = split.Known(shingles(text.text) for text in library.texts("train"))
    unseen = [
        ranking
        for ranking in rankings
        if not any(
            train.has(shingles(text)).any()
            for text in (ranking.prompt.context, ranking.texts[ranking.kinds.index("human")])
        )
    ]
    assert len(unseen) > 300
    assert right_share(list(ranking_accuracy(gold.utility, unseen).values())) >= 0.90


def right_share(counts: Sequence[tuple[int, int]]) -> float:
    return sum(right for right, _ in counts) / sum(total for _, total in counts)
