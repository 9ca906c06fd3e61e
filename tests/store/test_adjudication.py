"""Disagreements decided, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from alignloop.errors import JudgmentError
from alignloop.store import adjudication, labels
from alignloop.store.people import User
from alignloop.store.schema import adjudications
from tests.store.conftest import Lab


def disputed(lab: Lab, **given: object) -> tuple[int, list[User]]:
    """A task that two labelers ranked in opposite ways."""
    users = [lab.labeler(), lab.labeler()]
    campaign = lab.campaign(overlap=2, **given)
    for user, groups in zip(users, ([1, 2, 3, None], [3, 2, 1, None]), strict=True):
        task = lab.claim(user, campaign)
        assert task is not None
        lab.rank(user, task, groups)
    return task.task_id, users


def test_what_was_said_comes_without_names(lab: Lab) -> None:
    task_id, _ = disputed(lab)
    with lab.store.read() as connection:
        said = adjudication.rankings_of(connection, task_id)
        task = adjudication.find_tasks(connection, [task_id])[task_id]

    assert sorted(one.groups[1] or 0 for one in said) == [1, 3]
    assert all(one.groups[4] is None for one in said)
    assert not {"labeler", "user_id", "name", "email"} & set(task._fields)
    assert [one.public_id for one in said] == sorted(one.public_id for one in said)


def test_the_last_decision_counts_and_none_is_changed(lab: Lab) -> None:
    task_id, _ = disputed(lab)
    boss = lab.researcher()
    with lab.store.write() as connection:
        task = adjudication.find_tasks(connection, [task_id])[task_id]
        said = adjudication.rankings_of(connection, task_id)
        assert adjudication.decision_on(connection, task_id) is None
        adjudication.decide(
            connection,
            lab.now,
            boss,
            task,
            outcome="accepted",
            reason="slip",
            submission_id=said[0].submission_id,
        )
    with lab.store.write() as connection:
        adjudication.decide(
            connection,
            lab.now + 1,
            boss,
            task,
            outcome="own",
            reason="guideline_gap",
            groups={2: 1, 1: 2, 3: 3, 4: None},
        )

    with lab.store.read() as connection:
        decision = adjudication.decision_on(connection, task_id)
        exported = labels.adjudicated(connection)[task_id]
        decided = adjudication.decided_tasks(connection)
    assert (decision.outcome, decision.rank_groups) == ("own", [2, 1, 3, None])
    assert exported.id == decision.id
    assert decided == [task_id]
    with pytest.raises(JudgmentError, match="written once"), lab.store.write() as connection:
        connection.execute(update(adjudications).values(note="x"))


def test_whoever_labeled_a_task_does_not_decide_it(lab: Lab) -> None:
    task_id, users = disputed(lab)
    with lab.store.read() as connection:
        task = adjudication.find_tasks(connection, [task_id])[task_id]
    with pytest.raises(JudgmentError, match="has not labeled"), lab.store.write() as connection:
        adjudication.decide(
            connection, lab.now, users[0], task, outcome="ambiguous", reason="taste"
        )


def test_rankings_alone_are_decided(lab: Lab) -> None:
    campaign, boss = lab.campaign(form="demonstrate"), lab.researcher()
    task = lab.claim(lab.labeler(), campaign)
    assert task is not None
    with lab.store.read() as connection:
        row = adjudication.find_tasks(connection, [task.task_id])[task.task_id]
        found = adjudication.find_task(connection, row.public_id)
    assert (found.id, found.campaign) == (task.task_id, campaign.name)
    with pytest.raises(JudgmentError, match="rankings alone"), lab.store.write() as connection:
        adjudication.decide(connection, lab.now, boss, row, outcome="ambiguous", reason="taste")
    with pytest.raises(JudgmentError, match="no such task"), lab.store.read() as connection:
        adjudication.find_task(connection, "nothing")
