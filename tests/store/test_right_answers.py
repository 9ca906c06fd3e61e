"""Gold, grades and repeats: against whom and what labelers are measured, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from alignloop.errors import JudgmentError
from alignloop.store import (
    answer_keys,
    campaigns,
    grading,
    judgments,
    labels,
    oversight,
    quality,
    queue,
    supply,
)
from alignloop.store.campaigns import Campaign
from alignloop.store.gold import Gold, relations_of
from alignloop.store.judgments import WrittenDemonstration
from alignloop.store.people import DAY, User
from alignloop.store.quality import Scope
from alignloop.store.queue import Assignment
from alignloop.store.schema import gold_pairs, tasks
from tests.store.conftest import Lab

ANSWERS = Gold(relations_of({1: 1, 2: 2, 3: 2}))


def name_of(lab: Lab, campaign: Campaign, at: int = 0) -> str:
    with lab.store.read() as connection:
        return answer_keys.tasks_without(connection, campaign, 10)[at].public_id


def give(lab: Lab, campaign: Campaign, task: str, answers: Gold = ANSWERS) -> int:
    with lab.store.write() as connection:
        return answer_keys.give_answers(connection, lab.now, "boss", campaign, task, answers)


def take(lab: Lab, user: User, campaign: Campaign, after: int = 0) -> Assignment:
    task = lab.claim(user, campaign, after=after)
    assert task is not None
    return task


# --- gold -------------------------------------------------------------------------------------------------------


def test_relations_of_a_ranking_with_ties() -> None:
    assert relations_of({1: 1, 2: 2, 3: 2}) == {(1, 2): 1, (1, 3): 1, (2, 3): 0}
    assert relations_of({3: 1, 1: 2}) == {(1, 3): -1}


def test_in_practice_the_task_itself_gets_the_answers(lab: Lab) -> None:
    campaign = lab.campaign([4, 4], purpose="practice", cohort="any")
    first = name_of(lab, campaign)

    gold = give(lab, campaign, first)

    with lab.store.read() as connection:
        left = answer_keys.tasks_without(connection, campaign, 10)
        counted = answer_keys.count_gold(connection, campaign)
        rows = connection.execute(select(gold_pairs).where(gold_pairs.c.task_id == gold)).all()
    assert len(left) == 1 and left[0].public_id != first
    assert (counted, len(rows)) == (1, 3)
    assert take(lab, lab.labeler(), campaign).task_id == gold


def test_in_training_a_copy_that_nobody_can_tell_apart_takes_its_place(lab: Lab) -> None:
    campaign = lab.campaign([4, 4, 4], gold_every=2)
    first = name_of(lab, campaign)
    with lab.store.read() as connection:
        before = campaigns.items_of(
            connection, answer_keys.tasks_without(connection, campaign, 1)[0].id
        )

    gold = give(lab, campaign, first)

    user, met = lab.labeler(), list[int]()
    while (task := lab.claim(user, campaign)) is not None:
        lab.rank(user, task, [1, 2, 2, 3])
        met.append(task.task_id)
    with lab.store.read() as connection:
        texts = campaigns.items_of(connection, gold)
        out = [label.task_id for label in labels.each_label(connection, "rank")]
        progress = campaigns.progress_of(connection, campaign)
    assert texts == before
    assert len(met) == 3 and gold in met
    assert gold not in out and len(out) == 2
    assert (progress.wanted, progress.done) == (2, 2)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (Gold({(1, 5): 1}), "has 4 outputs"),
        (Gold(None, {(5, "violent"): True}), "has 4 outputs"),
        (Gold(None, {(1, "rude"): True}), "does not ask about rude"),
    ],
)
def test_answers_about_something_else_are_refused(lab: Lab, answers: Gold, why: str) -> None:
    campaign = lab.campaign([4], purpose="screening", cohort="any", asks_ratings=True)
    with pytest.raises(JudgmentError, match=why):
        give(lab, campaign, name_of(lab, campaign), answers)


def test_answers_are_given_once_and_only_where_nobody_has_looked(lab: Lab) -> None:
    practice = lab.campaign([4], purpose="practice", cohort="any")
    task = name_of(lab, practice)
    give(lab, practice, task)
    with pytest.raises(JudgmentError, match="already"):
        give(lab, practice, task)

    training = lab.campaign([4])
    task = name_of(lab, training)
    take(lab, lab.labeler(), training)
    with pytest.raises(JudgmentError, match="somebody has task"):
        give(lab, training, task)
    with pytest.raises(JudgmentError, match="has no task"):
        give(lab, practice, task)

    evaluation = lab.campaign([2], form="compare", purpose="evaluation", cohort="any", split="test")
    with pytest.raises(JudgmentError, match="evaluation"):
        give(lab, evaluation, "anything")


# --- grades -----------------------------------------------------------------------------------------------------


def demonstrated(lab: Lab, user: User, purpose: str = "screening") -> str:
    campaign = lab.campaign(form="demonstrate", purpose=purpose, cohort="any")
    task = take(lab, user, campaign)
    with lab.store.write() as connection:
        return judgments.submit(
            connection,
            lab.now,
            user,
            task.public_id,
            WrittenDemonstration("Kindly no."),
            client_uuid=task.public_id,
        ).public_id


def test_a_demonstration_is_graded_by_several_and_once_by_each(lab: Lab) -> None:
    user, stranger = lab.labeler(), lab.labeler()
    boss, other = lab.researcher(), lab.researcher("Other")
    name = demonstrated(lab, user)
    with lab.store.write() as connection:
        [row] = grading.to_grade(connection, boss)
        assert (row.submission, row.response) == (name, "Kindly no.")
        grading.give_grade(connection, lab.now, boss, name, 7)
        assert grading.to_grade(connection, boss) == []
        grading.give_grade(connection, lab.now, other, name, 4)
        assert grading.to_grade(connection, other, labeler=stranger) == []

    with lab.store.read() as connection:
        found = grading.each_grade(connection, user, purposes=["screening"])
        none = grading.each_grade(connection, purposes=["training"])
    assert [(row.user_id, row.score) for row in found] == [(user.id, 7), (user.id, 4)]
    assert none == []
    for who, submission, score, why in (
        (boss, name, 5, "has a grade of yours"),
        (boss, "nothing", 5, "no demonstration"),
        (boss, name, 8, "from 1 to 7"),
        (user, name, 5, "nobody grades their own"),
    ):
        with pytest.raises(JudgmentError, match=why), lab.store.write() as connection:
            grading.give_grade(connection, lab.now, who, submission, score)


# --- repeats ----------------------------------------------------------------------------------------------------


def repeating(lab: Lab, percent: float = 50, **given: object) -> Campaign:
    campaign = lab.campaign([4] * 6, **given)
    with lab.store.write() as connection:
        supply.keep_plan(connection, campaign, {"repeat_percent": percent})
    return campaign


def test_a_task_comes_again_after_days_to_the_same_labeler_alone(lab: Lab) -> None:
    campaign, ann, bob = repeating(lab), lab.labeler(), lab.labeler()
    for _ in range(2):
        lab.rank(ann, take(lab, ann, campaign), [1, 2, 3, 4])
    met: list[int] = []
    for _ in range(4):
        task = take(lab, ann, campaign, after=4 * DAY)
        lab.rank(ann, task, [1, 2, 3, 4], after=4 * DAY)
        met.append(task.task_id)

    with lab.store.read() as connection:
        rows = {row.id: row for row in connection.execute(select(tasks))}
        again = [rows[one] for one in met if rows[one].is_gold]
        firsts = [row for row in rows.values() if not row.is_gold]
        out = [label.task_id for label in labels.each_label(connection, "rank")]
        kept = list(quality.each_ranking(connection, Scope(gold=True)))
        progress = campaigns.progress_of(connection, campaign)
        assert oversight.skipped_often(connection, campaign) == []
        for row in again:
            [first] = [one for one in firsts if one.prompt_id == row.prompt_id]
            assert campaigns.items_of(connection, first.id) == campaigns.items_of(
                connection, row.id
            )
    assert len(again) == 2  # every second one is due, and there were two to come again
    assert len({row.prompt_id for row in again}) == 2
    assert not {row.id for row in again} & set(out)
    assert len(kept) == 2
    assert progress.wanted == 6
    while (task := lab.claim(bob, campaign, after=4 * DAY)) is not None:
        assert not rows[task.task_id].is_gold
        lab.rank(bob, task, [1, 2, 3, 4], after=4 * DAY)


@pytest.mark.parametrize("percent", [0, 50])
def test_nothing_comes_again_too_soon_or_where_nobody_asked(lab: Lab, percent: float) -> None:
    campaign, user = repeating(lab, percent), lab.labeler()
    after = 0 if percent else 9 * DAY
    for number in range(6):
        lab.rank(user, take(lab, user, campaign, number and after), [1, 2, 3, 4])

    with lab.store.read() as connection:
        assert connection.execute(select(tasks.c.id).where(tasks.c.is_gold)).all() == []


def test_a_repeat_that_is_skipped_is_nobodys_to_decide_about(lab: Lab) -> None:
    campaign, user = repeating(lab, 100), lab.labeler()
    lab.rank(user, take(lab, user, campaign), [1, 2, 3, 4])
    task = take(lab, user, campaign, after=4 * DAY)
    with lab.store.write() as connection:
        queue.skip(connection, lab.now + 4 * DAY, user, task.public_id, "unclear")
        assert oversight.skipped_often(connection, campaign) == []
        assert oversight.count_skipped_often(connection) == {}
        connection.execute(update(tasks).where(tasks.c.id == task.task_id).values(state="stopped"))
    following = take(lab, user, campaign, after=4 * DAY)
    assert following.task_id != task.task_id
