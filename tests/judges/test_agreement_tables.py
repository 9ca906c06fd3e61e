"""Agreement of many labelers: the counts against those of two at a time, and small tables by hand."""

from __future__ import annotations

import itertools
from collections import defaultdict
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.judges.agreement import Agreement, compare_ranks
from alignloop.judges.agreement_tables import (
    Shares,
    agreement_with_rest,
    by_cohorts,
    by_distance,
    by_k,
    by_labeler,
    by_labelers,
    compare_all,
    overall,
)
from alignloop.judges.judgment import Judgment
from alignloop.judges.measure import NOTHING, ONE_CLUSTER

ANN, BOB = (1, 2, 2, 3), (2, 3, 4, 1)
"""Pairs of items: 01 and 02 alike, 03, 13 and 23 against one another, 12 a tie against an order."""


@st.composite
def campaigns(draw: st.DrawFn) -> list[Judgment]:
    found: list[Judgment] = []
    for task in range(draw(st.integers(1, 5))):
        k = draw(st.integers(2, 5))
        for labeler in draw(st.sets(st.sampled_from("abcde"), min_size=1)):
            ranks = draw(st.lists(st.integers(1, 4), min_size=k, max_size=k))
            cohort = "training" if labeler < "d" else "heldout"
            found.append(Judgment(f"t{task}", labeler, tuple(ranks), cohort=cohort))
    return found


def counts_of(shares: dict[tuple[str, str], Shares]) -> dict[tuple[str, str], Agreement]:
    return {key: found.counts for key, found in shares.items()}


def judged(task: str, **ranks: tuple[int, ...]) -> list[Judgment]:
    return [Judgment(task, labeler, of_labeler) for labeler, of_labeler in ranks.items()]


# --- by hand ---


def test_both_definitions_by_hand() -> None:
    found = overall(compare_all(judged("t", ann=ANN, bob=BOB)))

    assert found.counts == Agreement(ordered=5, same_order=2, one_tie=1, both_ties=0)
    assert found.strict.value == pytest.approx(2 / 5)
    assert found.tie_aware.value == pytest.approx((2 + 0.5) / 6)
    assert (found.strict.cases, found.tie_aware.cases) == (5, 6)
    assert found.strict.reason == ONE_CLUSTER


def test_tasks_are_pooled_by_their_pairs() -> None:
    rows = judged("t", ann=ANN, bob=BOB) + judged("u", ann=(1, 2), bob=(1, 2))

    found = overall(compare_all(rows))

    assert found.strict.value == pytest.approx(3 / 6)
    assert found.tie_aware.value == pytest.approx(3.5 / 7)
    assert found.strict.clusters == 2
    # Resamples: t twice 2/5, t and u 3/6, u twice 1.
    assert (found.strict.low, found.strict.high) == pytest.approx((2 / 5, 1))


def test_tasks_of_one_prompt_are_one_cluster() -> None:
    rows = [
        Judgment(f"t{task}", labeler, (1, 2), prompt=f"p{task // 2}")
        for task in range(6)
        for labeler in ("ann", "bob")
    ]

    assert overall(compare_all(rows)).strict.clusters == 3


def test_distance_by_hand() -> None:
    found = by_distance(compare_all(judged("t", ann=ANN, bob=BOB)))

    # ann: 12 tied; 01, 02, 13, 23 one apart; 03 two. bob: 01, 03, 12 one apart; 02, 13 two; 23 three.
    assert {distance: shares.counts for distance, shares in found.items()} == {
        0: Agreement(0, 0, 1, 0),
        1: Agreement(6, 3, 1, 0),
        2: Agreement(3, 1, 0, 0),
        3: Agreement(1, 0, 0, 0),
    }
    assert found[0].strict.value is None
    assert found[0].strict.reason == NOTHING
    assert found[0].tie_aware.value == 0.5
    assert found[1].tie_aware.value == pytest.approx(3.5 / 7)


def test_gaps_in_the_numbers_are_no_distance() -> None:
    found = by_distance(compare_all(judged("t", ann=(1, 9), bob=(1, 2))))

    assert list(found) == [1]


def test_cohorts_are_compared_within_and_between() -> None:
    cohorts = {"ann": "training", "bob": "training", "cyd": "heldout", "dan": "heldout"}
    rows = [
        Judgment("t", labeler, ranks, cohort=cohorts[labeler])
        for labeler, ranks in {"ann": (1, 2), "bob": (1, 2), "cyd": (2, 1), "dan": (1, 1)}.items()
    ]

    found = by_cohorts(compare_all(rows))

    assert counts_of(found) == {
        ("heldout", "heldout"): Agreement(0, 0, 1, 0),
        ("heldout", "training"): Agreement(2, 0, 2, 0),
        ("training", "training"): Agreement(1, 1, 0, 0),
    }


def test_each_k_is_counted_on_its_own() -> None:
    rows = judged("t", ann=ANN, bob=BOB) + judged("u", ann=(1, 2), bob=(1, 2))

    assert {k: shares.counts for k, shares in by_k(compare_all(rows)).items()} == {
        2: Agreement(1, 1, 0, 0),
        4: Agreement(5, 2, 1, 0),
    }


def test_a_labeler_is_compared_with_all_the_others() -> None:
    rows = judged("t", ann=(1, 2), bob=(1, 2), cyd=(2, 1)) + judged("u", ann=(1, 2), cyd=(1, 1))

    found = by_labeler(compare_all(rows))

    assert {name: shares.counts for name, shares in found.items()} == {
        "ann": Agreement(2, 1, 1, 0),
        "bob": Agreement(2, 1, 0, 0),
        "cyd": Agreement(2, 0, 1, 0),
    }


def test_of_repeats_the_first_counts() -> None:
    rows = [*judged("t", ann=(1, 2), bob=(1, 2)), Judgment("t", "ann", (2, 1))]

    assert overall(compare_all(rows)).counts == Agreement(1, 1, 0, 0)


def test_without_a_shared_task_nothing_is_claimed() -> None:
    comparisons = compare_all([Judgment("t", "ann", (1, 2)), Judgment("u", "bob", (1, 2))])

    found = overall(comparisons)

    assert (found.strict.value, found.tie_aware.value) == (None, None)
    assert found.strict.reason == NOTHING
    assert by_labelers(comparisons) == by_labeler(comparisons) == by_k(comparisons) == {}
    assert by_distance(comparisons) == {}
    assert by_labelers(compare_all([])) == {}


def test_rankings_of_different_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="2 items to one labeler and 3 to another"):
        compare_all(judged("t", ann=(1, 2), bob=(1, 2, 3)))


# --- against two at a time ---


@given(campaigns())
def test_the_counts_are_those_of_two_at_a_time(rows: list[Judgment]) -> None:
    tasks: dict[str, dict[str, Judgment]] = defaultdict(dict)
    for row in rows:
        tasks[row.task][row.labeler] = row
    expected: dict[tuple[str, str], Agreement] = defaultdict(Agreement)
    of_cohorts: dict[tuple[str, str], Agreement] = defaultdict(Agreement)
    with_rest: dict[tuple[str, str], Agreement] = defaultdict(Agreement)
    for task, of_task in tasks.items():
        for a, b in itertools.combinations(sorted(of_task), 2):
            found = compare_ranks(of_task[a].ranks, of_task[b].ranks)
            expected[a, b] += found
            first, second = sorted((of_task[a].cohort, of_task[b].cohort))
            of_cohorts[first, second] += found
            with_rest[task, a] += found
            with_rest[task, b] += found

    comparisons = compare_all(rows)

    assert counts_of(by_labelers(comparisons, resamples=2)) == expected
    assert counts_of(by_cohorts(comparisons, resamples=2)) == of_cohorts
    total = sum(expected.values(), Agreement())
    everything = overall(comparisons, resamples=2)
    assert everything.counts == total
    if total.pairs:
        assert everything.tie_aware.value == pytest.approx(total.tie_aware_share)
    agreed, pairs = agreement_with_rest(comparisons)
    for at, judgment in enumerate(comparisons.judgments):
        alone = with_rest[judgment.task, judgment.labeler]
        assert pairs[at] == alone.pairs
        assert agreed[at] == alone.same_order + alone.both_ties + alone.one_tie / 2


@given(campaigns())
def test_distances_split_every_comparison_from_both_sides(rows: list[Judgment]) -> None:
    comparisons = compare_all(rows)
    whole = overall(comparisons, resamples=2).counts

    split = by_distance(comparisons, resamples=2)

    assert sum((found.counts for found in split.values()), Agreement()) == whole + whole


@given(campaigns(), st.randoms())
def test_neither_the_order_of_rows_nor_names_of_items_matter(
    rows: list[Judgment], random: Random
) -> None:
    turned = [Judgment(r.task, r.labeler, r.ranks[::-1], cohort=r.cohort) for r in rows]
    random.shuffle(turned)

    here, there = compare_all(rows), compare_all(turned)

    assert counts_of(by_labelers(here, resamples=2)) == counts_of(by_labelers(there, resamples=2))
    assert {d: s.counts for d, s in by_distance(here, resamples=2).items()} == {
        d: s.counts for d, s in by_distance(there, resamples=2).items()
    }


def test_a_seed_gives_the_same_intervals_again() -> None:
    generator = np.random.default_rng(0)
    rows = [
        Judgment(f"t{task}", labeler, tuple(generator.permutation(4).tolist()))
        for task in range(30)
        for labeler in "abc"
    ]
    comparisons = compare_all(rows)

    assert overall(comparisons, seed=3) == overall(comparisons, seed=3)
    assert overall(comparisons, seed=3).strict != overall(comparisons, seed=4).strict
