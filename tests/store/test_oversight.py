"""A campaign's work seen and changed by a researcher, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from alignloop.errors import JudgmentError
from alignloop.store import campaigns, events, figures, labels, oversight, people, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.people import DAY, User
from alignloop.store.queue import Assignment
from alignloop.store.schema import slots, tasks
from tests.store.conftest import MINUTE, Lab


def take(lab: Lab, user: User, campaign: Campaign, after: int = 0) -> Assignment:
    task = lab.claim(user, campaign, after=after)
    assert task is not None
    return task


def skip(lab: Lab, campaign: Campaign, reason: str) -> Assignment:
    user = lab.labeler()
    task = take(lab, user, campaign)
    with lab.store.write() as connection:
        queue.skip(connection, lab.now, user, task.public_id, reason)
    return task


def stopped(lab: Lab) -> tuple[Campaign, str]:
    """A campaign whose only task was skipped three times, and the task's public id."""
    campaign = lab.campaign()
    for reason in ("unclear", "expertise: tax law", "unclear"):
        task = skip(lab, campaign, reason)
    with lab.store.read() as connection:
        found = connection.execute(select(tasks.c.public_id).where(tasks.c.id == task.task_id))
        return campaign, found.scalar_one()


def states(lab: Lab, campaign: Campaign) -> dict[str, int]:
    with lab.store.read() as connection:
        return oversight.task_states(connection, campaign)


def test_tasks_by_state_add_up(lab: Lab) -> None:
    campaign = lab.campaign([4, 4, 4, 4], overlap=2)
    ann, bob = lab.labeler(), lab.labeler()
    first, second = take(lab, ann, campaign), take(lab, bob, campaign)
    assert first.task_id != second.task_id  # first labels come before second ones
    lab.rank(ann, first, [1, 2, 3, 4])
    lab.rank(bob, second, [1, 2, 3, 4])
    for user in (ann, bob):
        for _ in range(2):
            lab.rank(user, take(lab, user, campaign), [1, 2, 3, 4])
    take(lab, ann, campaign)

    found = states(lab, campaign)

    assert sum(found.values()) == 4
    assert found["in_work"] == 1
    with lab.store.read() as connection:
        progress = oversight.progress_of_all(connection)[campaign.id]
        own = campaigns.progress_of(connection, campaign)
    assert (
        (progress.wanted, progress.done, progress.leased)
        == (own.wanted, own.done, own.leased)
        == (8, 6, 1)
    )


def test_who_did_what(lab: Lab) -> None:
    campaign = lab.campaign([4, 4, 4])
    ann, bob = lab.labeler("Ann"), lab.labeler("Bob")
    for user in (ann, ann, bob):
        lab.rank(user, take(lab, user, campaign), [1, 2, 3, 4])

    with lab.store.read() as connection:
        rows = oversight.labelers_of(connection, campaign)
        [own] = oversight.campaigns_of(connection, ann)

    assert [(row.name, int(row.done), int(row.skipped)) for row in rows] == [
        ("Ann", 2, 0),
        ("Bob", 1, 0),
    ]
    assert (own.id, int(own.done), int(own.active_ms)) == (campaign.id, 2, 0)


def test_skipped_tasks_come_with_their_reasons_and_nobodys_name(lab: Lab) -> None:
    campaign, task = stopped(lab)

    with lab.store.read() as connection:
        [skipped] = oversight.skipped_often(connection, campaign)
        counted = oversight.count_skipped_often(connection)

    assert skipped.public_id == task
    assert skipped.reasons == ("unclear", "expertise: tax law", "unclear")
    assert counted == {campaign.public_id: 1}
    assert states(lab, campaign)["skipped"] == 1


def test_a_skipped_task_is_put_back(lab: Lab) -> None:
    campaign, task = stopped(lab)
    assert lab.claim(lab.labeler(), campaign) is None

    boss = lab.researcher()
    with lab.store.write() as connection:
        oversight.keep_task(connection, lab.now, boss, campaign, task)

    assert lab.claim(lab.labeler(), campaign) is not None
    assert states(lab, campaign)["in_work"] == 1


def test_a_skipped_task_is_dropped(lab: Lab) -> None:
    campaign, task = stopped(lab)
    boss = lab.researcher()
    with lab.store.write() as connection:
        oversight.drop_task(connection, lab.now, boss, campaign, task)

    assert states(lab, campaign) == {"open": 0, "in_work": 0, "done": 0, "skipped": 0, "dropped": 1}
    with lab.store.read() as connection:
        assert oversight.skipped_often(connection, campaign) == []
        assert oversight.count_skipped_often(connection) == {}
        assert campaign.id not in oversight.progress_of_all(connection)


def test_only_stopped_tasks_of_the_campaign_are_decided_about(lab: Lab) -> None:
    campaign, task = stopped(lab)
    other, boss = lab.campaign(), lab.researcher()
    for of, name in ((other, task), (campaign, "nothing")):
        for act in (oversight.keep_task, oversight.drop_task):
            with (
                pytest.raises(JudgmentError, match="no such task"),
                lab.store.write() as connection,
            ):
                act(connection, lab.now, boss, of, name)
    for act, is_done in ((oversight.keep_task, True), (oversight.drop_task, False)):
        with lab.store.write() as connection:  # a second researcher comes too late
            assert act(connection, lab.now, boss, campaign, task) == is_done


def test_a_paused_campaign_hands_nothing_out_and_keeps_everything(lab: Lab) -> None:
    campaign, boss, user = lab.campaign([4, 4]), lab.researcher(), lab.labeler()
    task = take(lab, user, campaign)

    with lab.store.write() as connection:
        paused = oversight.pause(connection, lab.now, boss.public_id, campaign)
    with pytest.raises(JudgmentError, match="not open"):
        lab.claim(lab.labeler(), paused)
    lab.rank(user, task, [1, 2, 3, 4])  # what is in somebody's hands is taken in

    with lab.store.write() as connection:
        again = campaigns.set_state(connection, lab.now, boss.public_id, paused, "open")
    assert (paused.state, paused.closed_at, again.state) == ("closed", None, "open")
    with lab.store.read() as connection:
        assert len(list(labels.each_label(connection, "rank"))) == 1
    assert lab.claim(lab.labeler(), again) is not None


def test_an_evaluation_is_paused_without_a_word_of_who_wrote_what(lab: Lab) -> None:
    campaign = lab.campaign([2], form="compare", purpose="evaluation", cohort="any", split="test")
    boss = lab.researcher()
    with lab.store.write() as connection:
        paused = oversight.pause(connection, lab.now, boss.public_id, campaign)
    assert paused.is_blind and paused.frozen_at == campaign.frozen_at
    with lab.store.read() as connection:
        for asked in (oversight.policies_of, oversight.authors_of_items):
            with pytest.raises(JudgmentError, match="not closed"):
                asked(connection, paused)
        with pytest.raises(JudgmentError, match="not closed"):
            campaigns.models_of(connection, paused, boss)
    with pytest.raises(JudgmentError, match="no task joins"), lab.store.write() as connection:
        campaigns.add_task(connection, paused, prompt_id=lab.prompt(connection, split="test"))

    with lab.store.write() as connection:
        again = campaigns.set_state(connection, lab.now, "test", paused, "open")
        closed = campaigns.set_state(connection, lab.now, "test", again, "closed")
        assert not closed.is_blind and oversight.policies_of(connection, closed)
    for way in ({"state": "open"}, {"closed_at": None}):
        # Not by a detour either: whoever has seen the names does not make it a paused one.
        with pytest.raises(JudgmentError, match="stays closed"), lab.store.write() as connection:
            oversight.change_campaign(connection, lab.now, boss, closed, way)


def test_what_is_not_open_is_not_paused(lab: Lab) -> None:
    draft, boss = lab.campaign(opened=False), lab.researcher()
    with pytest.raises(JudgmentError, match="cannot be paused"), lab.store.write() as connection:
        oversight.pause(connection, lab.now, boss.public_id, draft)


def test_what_was_asked_of_labelers_is_not_changed_later(lab: Lab) -> None:
    campaign, boss = lab.campaign(), lab.researcher()
    with lab.store.write() as connection:
        changed = oversight.change_campaign(
            connection, lab.now, boss, campaign, {"name": "Another name", "lease_ms": MINUTE}
        )
    assert (changed.name, changed.lease_ms) == ("Another name", MINUTE)
    for fields in ({"purpose": "practice"}, {"asks_ratings": True}):
        with (
            pytest.raises(JudgmentError, match="keeps what it asks"),
            lab.store.write() as connection,
        ):
            oversight.change_campaign(connection, lab.now, boss, campaign, fields)
    with lab.store.read() as connection:
        [event] = [row for row in events.each_event(connection) if row.verb == "change campaign"]
    assert "Another name" not in event.detail


@pytest.mark.parametrize(("wanted", "there"), [(3, [3, 3]), (1, [2, 1]), (2, [2, 2])])
def test_more_and_fewer_labels_per_task(lab: Lab, wanted: int, there: list[int]) -> None:
    campaign = lab.campaign([4, 4], overlap=2)
    ann, bob = lab.labeler(), lab.labeler()
    first = take(lab, ann, campaign)
    lab.rank(ann, first, [1, 2, 3, 4])
    with lab.store.write() as connection:
        task = queue.assign_to(connection, lab.now, bob, campaign, first.task_id)
    lab.rank(bob, task, [1, 2, 3, 4])

    with lab.store.write() as connection:
        oversight.change_labels_wanted(connection, campaign, wanted)

    with lab.store.read() as connection:
        rows = connection.execute(select(slots.c.task_id).where(slots.c.campaign_id == campaign.id))
        found = list(rows.scalars())
    counts = sorted((found.count(one) for one in set(found)), reverse=True)
    assert counts == there  # what somebody has or did is never taken away


def test_models_are_told_when_the_evaluation_is_closed(lab: Lab) -> None:
    campaign = lab.campaign([2], form="compare", purpose="evaluation", cohort="any", split="test")
    for ask in (oversight.policies_of, oversight.authors_of_items):
        with pytest.raises(JudgmentError, match="not closed"), lab.store.read() as connection:
            ask(connection, campaign)

    with lab.store.write() as connection:
        closed = campaigns.set_state(connection, lab.now, "test", campaign, "closed")
        names = oversight.policies_of(connection, closed)
        wrote = oversight.authors_of_items(connection, closed)

    assert [name for _, name in names] == ["secret-model"]
    assert len(wrote) == 2 and set(wrote.values()) == {names[0][0]}


def test_figures_of_everybody(lab: Lab) -> None:
    campaign = lab.campaign([4, 4, 4])
    ann, bob = lab.labeler(), lab.labeler()
    lab.rank(ann, take(lab, ann, campaign), [1, 2, 3, 4])
    lab.rank(ann, take(lab, ann, campaign), [1, 2, 3, 4], after=DAY)
    take(lab, bob, campaign)
    with lab.store.write() as connection:
        people.start_session(connection, lab.now, ann)

    with lab.store.read() as connection:
        days = figures.work_by_day(connection)
        others = figures.work_by_day(connection, lab.campaign())
        waiting = figures.waiting(connection, lab.now)
        later = figures.waiting(connection, lab.now + campaign.lease_ms)
        run_out = figures.leases_run_out(connection, lab.now + campaign.lease_ms)
        here, active = figures.at_work(connection, lab.now + MINUTE)
        gone, _ = figures.at_work(connection, lab.now + 16 * MINUTE)
        of = figures.of_labelers(connection)
        one = figures.of_labelers(connection, bob)

    assert [(row.day, row.labels, int(row.surplus)) for row in days] == [
        (lab.now // DAY, 1, 0),
        (lab.now // DAY + 1, 1, 0),
    ]
    assert others == []
    assert campaign.id not in waiting and later[campaign.id] == 1
    assert run_out == 1
    assert (here, active, gone) == (1, 2, 0)
    assert (of[ann.id].labels, of[ann.id].last_seen) == (2, lab.now + DAY)
    assert one == {}


def test_practice_that_is_left(lab: Lab) -> None:
    user = lab.labeler(standing="pending")
    campaign = lab.campaign([4, 4], purpose="practice", cohort="any", overlap=5)
    lab.rank(user, take(lab, user, campaign), [1, 2, 3, 4])

    with lab.store.read() as connection:
        assert figures.practised(connection) == (2, {user.id: 1})


def test_the_update_of_a_task_is_not_taken_for_a_drop(lab: Lab) -> None:
    campaign = lab.campaign([4])
    user = lab.labeler()
    task = take(lab, user, campaign)
    lab.rank(user, task, [1, 2, 3, 4])
    with lab.store.write() as connection:
        connection.execute(update(tasks).where(tasks.c.id == task.task_id).values(state="stopped"))

    assert states(lab, campaign)["done"] == 1
