"""Judgments in bulk are those that the labels say one by one, on both databases."""

from __future__ import annotations

import pytest

from alignloop.store import adjudication, judgments, labels, quality, queue
from alignloop.store.flag_sets import TABLE_3_FLAGS
from alignloop.store.gold import Gold
from alignloop.store.judgments import Rating, Vote
from alignloop.store.quality import Scope
from tests.store.conftest import MINUTE, Lab

NO = dict.fromkeys(TABLE_3_FLAGS, False)


def ratings(*likert: int, yes: str = "") -> list[Rating]:
    return [
        Rating(score, {**NO, **({yes: at == 0} if yes else {})}) for at, score in enumerate(likert)
    ]


def test_rankings_come_whole_and_in_order(lab: Lab) -> None:
    ann, bob = lab.labeler(), lab.labeler()
    campaign = lab.campaign([4, 3], k=(3, 9), overlap=2)
    said: list[tuple[int, tuple[int | None, ...]]] = []
    for user, groups in ((ann, [[2, 1, 3, 2], [1, 1, 2]]), (bob, [[1, 2, 3, 4], [1, None, 2]])):
        for ranks in groups:
            task = lab.claim(user, campaign)
            assert task is not None
            lab.rank(user, task, ranks)
            said.append((task.task_id, tuple(ranks)))

    with lab.store.read() as connection:
        found = [
            (one.task_id, tuple(answer[3 : 3 + answer.k]), answer.ranked)
            for one, answer in quality.each_ranking(connection, Scope())
        ]
        beside = list(quality.each_ranking(connection, Scope(beside=ann.id)))
        own = list(quality.each_ranking(connection, Scope(by=ann.id)))
        none = list(quality.each_ranking(connection, Scope(campaign_id=campaign.id + 1)))

    assert found == [(task, ranks, len(ranks) - ranks.count(None)) for task, ranks in said]
    assert (len(beside), len(own), none) == (4, 2, [])
    assert {one.user_id for one, _ in own} == {ann.id}


def test_a_corrected_ranking_counts_once_and_what_it_replaced_is_told(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None
    lab.rank(user, task, [1, 2, 3, 4])
    with lab.store.read() as connection:
        before = quality.version(connection)
    with lab.store.write() as connection:
        queue.reopen(connection, lab.now + MINUTE, user, task.public_id)
    lab.rank(user, task, [4, 3, 2, 1], after=2 * MINUTE)

    with lab.store.read() as connection:
        [(one, answer)] = quality.each_ranking(connection, Scope())
        after = quality.version(connection)
        came, replaced = quality.replaced_since(connection, before[0])
        new = [
            one.submission_id for one, _ in quality.each_ranking(connection, Scope(after=before[0]))
        ]

    assert tuple(answer[3:7]) == (4, 3, 2, 1)
    assert after > before
    assert (came, replaced, new) == (1, [before[0]], [one.submission_id])


def test_only_shared_tasks_where_these_are_asked_for(lab: Lab) -> None:
    ann, bob = lab.labeler(), lab.labeler()
    shared, alone = lab.campaign(overlap=2), lab.campaign()
    for user, campaign in ((ann, shared), (bob, shared), (ann, alone)):
        task = lab.claim(user, campaign)
        assert task is not None
        lab.rank(user, task, [1, 2, 3, 4])

    with lab.store.read() as connection:
        found = [one.campaign_id for one, _ in quality.each_ranking(connection, Scope(shared=True))]

    assert found == [shared.id, shared.id]


def test_grades_flags_and_lengths(lab: Lab) -> None:
    ann, bob = lab.labeler(), lab.labeler()
    campaign = lab.campaign(asks_ratings=True, overlap=2)
    for user, yes in ((ann, "violent"), (bob, "")):
        task = lab.claim(user, campaign)
        assert task is not None
        lab.rank(user, task, [1, 2, 3, 4], ratings=ratings(7, 5, 3, 1, yes=yes))

    with lab.store.read() as connection:
        scores = quality.likert_scores(connection, Scope())
        asked = [tuple(row[1:]) for row in quality.texts_asked_about(connection, Scope())]
        said = [tuple(row) for row in quality.yes_said(connection, Scope())]
        tokens = quality.lengths(connection, Scope())

    assert list(scores.values()) == [(7, 5, 3, 1, None, None, None, None, None)] * 2
    [(task_id, answers, texts)] = asked
    assert (answers, texts) == (2, 4)
    assert said == [(task_id, 1, "violent", 1)]
    assert tokens == {task_id: (3, 3, 3, 3, None, None, None, None, None)}


def test_comparisons(lab: Lab) -> None:
    user = lab.labeler(cohort="heldout")
    campaign = lab.campaign(
        [2], form="compare", purpose="evaluation", cohort="heldout", split="test"
    )
    task = lab.claim(user, campaign)
    assert task is not None
    with lab.store.write() as connection:
        judgments.submit(
            connection,
            lab.now,
            user,
            task.public_id,
            Vote("item_2", left_item=1, margin=3),
            client_uuid="x",
        )

    with lab.store.read() as connection:
        [vote] = quality.each_vote(connection, Scope())
        none = list(quality.each_vote(connection, Scope(purposes=("training",))))

    assert (vote.verdict, vote.margin, vote.left_item, vote.names_itself) == ("item_2", 3, 1, False)
    assert (vote.user_id, vote.cohort, none) == (user.id, "heldout", [])


def test_gold_is_apart_unless_it_is_asked_for(lab: Lab) -> None:
    answers = Gold({(1, 2): 1, (3, 4): 0}, {(1, "violent"): True})
    user = lab.labeler()
    campaign = lab.campaign([4], gold=[answers], gold_every=2, asks_ratings=True)
    for _ in range(2):
        task = lab.claim(user, campaign)
        assert task is not None
        lab.rank(user, task, [1, 2, 3, 3], ratings=ratings(7, 5, 3, 3))

    with lab.store.read() as connection:
        plain = list(quality.each_ranking(connection, Scope()))
        gold = list(quality.each_ranking(connection, Scope(gold=True)))
        both = list(quality.each_ranking(connection, Scope(gold=None)))
        answered = list(quality.each_ranking(connection, Scope(gold=None, answered=True)))
        relations = quality.gold_relations(connection, Scope(gold=None))
        met = [tuple(row)[3:] for row in quality.gold_flags_met(connection, Scope(gold=None))]

    assert (len(plain), len(gold), len(both), len(answered)) == (1, 1, 2, 1)
    assert relations == {gold[0][0].task_id: {(1, 2): 1, (3, 4): 0}}
    assert met == [(1, "violent", True, False)]


def test_the_version_moves_with_a_decision(lab: Lab) -> None:
    ann, bob, boss = lab.labeler(), lab.labeler(), lab.researcher()
    campaign = lab.campaign(overlap=2)
    for user, groups in ((ann, [1, 2, 3, 4]), (bob, [4, 3, 2, 1])):
        task = lab.claim(user, campaign)
        assert task is not None
        lab.rank(user, task, groups)
    with lab.store.read() as connection:
        before = quality.version(connection)
        [label, _] = labels.each_label(connection, "rank")

    with lab.store.write() as connection:
        [row] = adjudication.find_tasks(connection, [label.task_id]).values()
        adjudication.decide(
            connection, lab.now, boss, row, outcome="ambiguous", reason="taste", note="both hold"
        )

    with lab.store.read() as connection:
        assert quality.version(connection) > before


@pytest.mark.parametrize("since", [0, 1])
def test_since_when(lab: Lab, since: int) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None
    lab.rank(user, task, [1, 2, 3, 4])

    with lab.store.read() as connection:
        found = list(quality.each_ranking(connection, Scope(since=lab.now + since)))

    assert len(found) == 1 - since
