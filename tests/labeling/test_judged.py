"""Store rows as judgments: the same as read one by one, and kept up to date in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from alignloop.judges.agreement_alpha import flag_agreement
from alignloop.judges.judgment import Judgment
from alignloop.labeling import judged
from alignloop.labeling.app.memory import Settled
from alignloop.labeling.judged import Judged, JudgedSoFar
from alignloop.store import labels, quality, queue
from alignloop.store.flag_sets import TABLE_3_FLAGS
from alignloop.store.gold import Gold, relations_of
from alignloop.store.quality import Scope
from tests.labeling.client import MINUTE
from tests.labeling.research import Desk, desk


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def test_a_judgment_has_everything_that_was_recorded(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    one = lab.campaign([4], asks_ratings=True)
    lab.rank(ann, one, [2, 1, 3, 2], likert=[5, 7, 1, 5], seconds=33)

    with lab.site.store.read() as connection:
        [found] = judged.rankings_in(connection, Scope(), likert=True, lengths=True)
        [label] = labels.each_label(connection, "rank")

    assert found.judgment == Judgment(
        task=str(label.task_id),
        labeler=str(ann.id),
        ranks=(2, 1, 3, 2),
        prompt=str(label.prompt.id),
        cohort="training",
        likert=(5, 7, 1, 5),
        positions=tuple(label.display_order.index(item) for item in (1, 2, 3, 4)),
        lengths=(3, 3, 3, 3),
        seconds=33.0,
    )
    assert (found.submission_id, found.campaign_id, found.submitted_at) == (
        label.submission_id,
        one.id,
        label.submitted_at,
    )


def test_what_is_not_rankable_or_not_timed(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    one = lab.campaign([4, 4])
    lab.rank(ann, one, [1, 2, None, 3])
    lab.rank(ann, one, [1, 2, 3, 4], seconds=0)

    with lab.site.store.read() as connection:
        [found] = judged.rankings_in(connection, Scope())

    assert (found.judgment.ranks, found.judgment.seconds) == ((1, 2, 3, 4), None)


@pytest.mark.parametrize(
    ("verdict", "ranks"),
    [("item_1", (1, 2)), ("item_2", (2, 1)), ("tie", (1, 1)), ("both_bad", (1, 1))],
)
def test_a_comparison_is_a_ranking_of_two(lab: Desk, verdict: str, ranks: tuple[int, int]) -> None:
    ann = lab.site.labeler("Ann", cohort="heldout")
    one = lab.campaign([2], form="compare", purpose="evaluation", cohort="any", split="test")
    lab.vote(ann, one, verdict)

    with lab.site.store.read() as connection:
        [found] = judged.judgments_in(connection, Scope())

    assert (found.judgment.ranks, found.judgment.cohort) == (ranks, "heldout")


@pytest.mark.parametrize(
    ("verdict", "item_of_a", "choice", "left"),
    [
        ("item_1", 1, "a", True),
        ("item_1", 2, "b", False),
        ("item_2", 2, "a", False),
        ("both_bad", 2, "both_bad", False),
    ],
)
def test_votes_are_for_models_whatever_item_they_wrote(
    lab: Desk, verdict: str, item_of_a: int, choice: str, left: bool
) -> None:
    ann = lab.site.labeler("Ann")
    one = lab.campaign([2], form="compare", purpose="evaluation", cohort="any", split="test")
    lab.vote(ann, one, verdict)  # item 1 stood left

    with lab.site.store.read() as connection:
        [row] = quality.each_vote(connection, Scope())
        wrote = {(row.task_id, item_of_a): 77, (row.task_id, 3 - item_of_a): 88}
        [vote] = judged.votes_in(connection, Scope(), wrote, 77)

    assert (vote.choice, vote.is_a_left) == (choice, left)


def test_flags_from_counts_are_those_of_the_judgments(lab: Desk) -> None:
    people = [lab.site.labeler() for _ in range(3)]
    one = lab.campaign([4] * 4, asks_ratings=True, overlap=3)
    for number in range(4):
        for at, user in enumerate(people):
            flags = {"violent": (number + at) % 3 == 0, "moral": at == 0}
            lab.rank(user, one, [1, 2, 3, 4], likert=[4] * 4, flags=flags)

    with lab.site.store.read() as connection:
        found = judged.flags_in(connection, Scope(shared=True))
        said = [
            Judgment(
                str(label.task_id),
                label.labeler,
                (1, 2, 3, 4),
                flags={
                    key: tuple(
                        labels.flags_in(connection, label.submission_id)[item][key]
                        for item in range(1, 5)
                    )
                    for key in TABLE_3_FLAGS
                },
            )
            for label in labels.each_label(connection, "rank")
        ]
    expected = flag_agreement(said, resamples=1)

    assert list(found) == list(TABLE_3_FLAGS)
    for key, of_flag in found.items():
        assert of_flag.prevalence == pytest.approx(expected[key].prevalence.value), key
        assert of_flag.positive == pytest.approx(expected[key].positive.value), key
        assert of_flag.alpha == pytest.approx(expected[key].alpha.value), key


def test_gold_accuracy_and_ties(lab: Desk) -> None:
    gold = Gold(relations_of({1: 1, 2: 1, 3: 2}))
    one = lab.campaign([4], gold=[gold], gold_every=2)
    ann = lab.site.labeler("Ann")
    for _ in range(2):
        lab.rank(ann, one, [1, 2, 2, 3])

    with lab.site.store.read() as connection:
        accuracy = judged.gold_accuracy(connection, one.id)
        known = judged.gold_in(connection, Scope(gold=True))
        ties = judged.tie_shares(judged.rankings_in(connection, Scope()))

    assert accuracy == {ann.id: (1, 3)}  # 1 = 2 and 2 > 3 it did not see, 1 > 3 it did
    assert list(known.values()) == [{(0, 1): 0, (0, 2): 1, (1, 2): 1}]
    assert ties == {ann.id: pytest.approx(1 / 6)}


@pytest.mark.parametrize(
    ("ranks", "pairs"), [((1, 2, 3), 0), ((1, 1, 2), 1), ((1, 1, 1, 2, 2), 4), ((), 0)]
)
def test_tied_pairs(ranks: tuple[int, ...], pairs: int) -> None:
    assert judged.tied_pairs(ranks) == pairs


# --- in memory --------------------------------------------------------------------------------------------------


def everything(connection: Connection) -> list[Judged]:
    return sorted(judged.judgments_in(connection, Scope()), key=lambda one: one.submission_id)


def kept(memory: JudgedSoFar, connection: Connection) -> list[Judged]:
    found = memory.all(connection, quality.version(connection))
    return sorted(found, key=lambda one: one.submission_id)


def test_memory_is_what_the_store_says_after_every_change(lab: Desk) -> None:
    ann, bob, memory = lab.site.labeler("Ann"), lab.site.labeler("Bob"), JudgedSoFar()
    one = lab.campaign([4] * 4, overlap=2)

    def check() -> int:
        with lab.site.store.read() as connection:
            assert kept(memory, connection) == everything(connection)
            return len(everything(connection))

    assert check() == 0
    lab.rank(ann, one, [1, 2, 3, 4])
    assert check() == 1
    lab.rank(bob, one, [1, 2, None, 4 - 1])
    assert check() == 1
    lab.rank(bob, one, [1, 2, 3, 4])
    lab.rank(ann, one, [1, 2, 3, 4])
    assert check() == 3
    with lab.site.store.write() as connection:
        last = queue.last_submissions(connection, ann)[0].assignment_public_id
        queue.reopen(connection, lab.site.clock.now, ann, last)
    lab.rank(ann, one, [4, 3, 2, 1])
    assert check() == 3
    with lab.site.store.write() as connection:
        connection.execute(text("update submissions set state = 'withdrawn' where id = 1"))
    assert check() == 2


def test_a_transaction_that_ended_late_is_not_missed(lab: Desk) -> None:
    """On PostgreSQL a submission with a lower number may be committed after one with a higher."""
    ann, memory = lab.site.labeler("Ann"), JudgedSoFar()
    one = lab.campaign([4] * 3)
    for _ in range(3):
        lab.rank(ann, one, [1, 2, 3, 4])
    with lab.site.store.read() as connection:
        version, found = quality.version(connection), everything(connection)
        late = [one for one in found if one.submission_id != 2]
        memory._version = (version[0], version[1] - 1, *version[2:])  # pyright: ignore[reportPrivateUsage]
        memory._found = {one.submission_id: one for one in late}  # pyright: ignore[reportPrivateUsage]

        assert kept(memory, connection) == found


def test_agreement_by_stretch_counts_when_both_had_judged(
    lab: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    week = 7 * 24 * 60 * MINUTE
    rows = [
        Judged(Judgment("t1", "1", (1, 2)), 1, 1, 0),
        Judged(Judgment("t1", "2", (1, 2)), 2, 1, week),
        Judged(Judgment("t2", "1", (1, 2)), 3, 1, week + 1),
        Judged(Judgment("t2", "2", (2, 1)), 4, 1, week + 2),
        Judged(Judgment("t3", "1", (1, 1)), 5, 1, 3 * week),
        Judged(Judgment("t3", "2", (2, 1)), 6, 1, 3 * week),
    ]

    assert judged.agreement_by_stretch(rows, "1", week, 7) == {}  # two pairs say nothing
    monkeypatch.setattr(judged, "LEAST_PAIRS", 2)
    assert judged.agreement_by_stretch(rows, "1", week, 7) == {7: 0.5}
    assert judged.only(judged.shared(rows), since=week + 1) == [row.judgment for row in rows[2:]]


def test_a_server_reads_the_judgments_before_it_is_asked(lab: Desk) -> None:
    one = lab.campaign([4, 4], overlap=2)
    for user in (lab.site.labeler("Ann"), lab.site.labeler("Bob")):
        lab.rank(user, one, [1, 2, 3, 3])
    memory = lab.site.lab.memory

    memory.warm(lab.site.store).join()

    with lab.site.store.read() as connection:
        version = quality.version(connection)
        read = memory.judged.all(connection, version)
        assert memory.judged.all(connection, version) == read
        plain = judged.judgments_in(connection, quality.Scope())
        full = judged.rankings_in(connection, quality.Scope())
    assert [row.judgment.ranks for row in read] == [(1, 2, 3, 3)] * 2
    assert read == plain
    assert {row.judgment.positions for row in plain} == {()}
    assert all(sorted(row.judgment.positions) == [0, 1, 2, 3] for row in full)


def test_figures_of_a_large_store_are_made_once_a_minute() -> None:
    settled = Settled(large=10, again_after_ms=60_000)
    first = (100, 50, 0, 0, 0, 0)
    assert settled.of(first, 1000) == first
    later = (104, 53, 0, 0, 0, 0)
    assert settled.of(later, 30_000) == first
    assert settled.of(later, 61_000) == later  # a minute is over
    withdrawn = (104, 52, 0, 0, 0, 0)
    assert settled.of(withdrawn, 62_000) == withdrawn
    decided = (104, 52, 1, 0, 0, 0)
    assert settled.of(decided, 63_000) == decided

    small = Settled(large=51)
    assert small.of(first, 0) == first
    assert small.of(later, 1) == later
