"""From the queue to a final submission, on both databases: nothing lost, nothing doubled, nothing half."""

from __future__ import annotations

import threading
import uuid
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from alignloop.errors import ConflictError, JudgmentError
from alignloop.store import campaigns, drafts, events, judgments, people, queue
from alignloop.store.flag_sets import TABLE_3_FLAGS
from alignloop.store.judgments import (
    RankedOutputs,
    Rating,
    Toxicity,
    Vote,
    WrittenDemonstration,
    WrittenPrompt,
)
from alignloop.store.schema import assignments, rank_entries, slots, submissions
from tests.store.conftest import MINUTE, Lab

ALL_NO = dict.fromkeys(TABLE_3_FLAGS, False)


def test_a_ranking_with_ties_is_what_was_submitted(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None

    done = lab.rank(user, task, [2, 1, 3, 2])

    with lab.store.read() as connection:
        rows = connection.execute(select(rank_entries).order_by(rank_entries.c.item_no)).all()
        progress = campaigns.progress_of(connection, campaign)
    assert [row.rank_group for row in rows] == [2, 1, 3, 2]
    assert (done.state, done.revision, done.is_surplus) == ("final", 1, False)
    assert (progress.wanted, progress.done) == (1, 1)
    assert lab.claim(user, campaign) is None


@pytest.mark.parametrize(
    ("groups", "rule"),
    [
        ([1, 2, 5, 3], "dense"),
        ([2, 2, 3, 4], "dense"),
        ([1, 2, 3], "complete"),
        ([1, 2, 3, 4, 5], "complete"),
        ([0, 1, 2, 3], "rank_group|check"),
    ],
)
def test_a_ranking_that_is_not_dense_or_whole_is_refused_by_the_database(
    lab: Lab, groups: list[int], rule: str
) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None

    with pytest.raises(JudgmentError, match=rule):
        lab.rank(user, task, groups)

    with lab.store.read() as connection:
        assert connection.execute(select(submissions)).all() == []


def test_outputs_may_be_called_not_rankable(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None

    assert lab.rank(user, task, [1, None, 2, None]).state == "final"


def test_ratings_and_every_flag_are_asked_for(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign(asks_ratings=True)
    task = lab.claim(user, campaign)
    assert task is not None
    whole = [Rating(likert, ALL_NO) for likert in (7, 5, 3, 1)]
    lacking = [*whole[:3], Rating(1, {"hallucination": True})]

    with pytest.raises(JudgmentError, match="every flag"):
        lab.rank(user, task, [1, 2, 3, 4], ratings=lacking)
    with pytest.raises(JudgmentError, match="every output has its rating"):
        lab.rank(user, task, [1, 2, 3, 4], ratings=whole[:3])
    assert lab.rank(user, task, [1, 2, 3, 4], ratings=whole).state == "final"


def test_a_double_click_is_one_submission(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None

    first = lab.rank(user, task, [1, 2, 3, 4], uuid_="click")
    second = lab.rank(user, task, [1, 2, 3, 4], uuid_="click")

    assert (second.public_id, second.was_there) == (first.public_id, True)


def test_nothing_that_is_final_can_be_changed(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None
    lab.rank(user, task, [1, 2, 3, 4])
    for statement in (
        "update rank_entries set rank_group = 1",
        "delete from rank_entries",
        "insert into rank_entries values (1, 9, 1)",
        "update submissions set comment = 'x'",
        "update submissions set state = 'building'",
        "delete from submissions",
        "update events set actor = 'x'",
        "delete from events",
        "update assignments set user_id = user_id + 1",
        "update prompts set split = 'test'",
        "update authors set split = 'test'",
        "delete from completions",
        "update tasks set place = 7",
        "delete from task_items",
        "update campaigns set purpose = 'practice'",
        "insert into submissions (public_id, assignment_id, revision, client_uuid, state, is_surplus, payload, "
        "comment, active_ms, idle_ms, submitted_at) values ('x', 1, 9, 'y', 'final', false, '{}', '', 0, 0, 0)",
    ):
        with pytest.raises(JudgmentError), lab.store.write() as connection:
            connection.execute(text(statement))


def test_held_out_labelers_never_feed_training(lab: Lab) -> None:
    heldout = lab.labeler(cohort="heldout")
    with pytest.raises(JudgmentError, match="cohort"):
        lab.claim(heldout, lab.campaign())
    with pytest.raises(JudgmentError, match="by_training_labelers"):
        lab.campaign(cohort="heldout")


def test_training_labelers_do_not_vote_for_the_held_out(lab: Lab) -> None:
    campaign = lab.campaign(
        form="compare", purpose="evaluation", cohort="heldout", split="test", sizes=[2]
    )

    with pytest.raises(JudgmentError, match="cohort"):
        lab.claim(lab.labeler(), campaign)
    assert lab.claim(lab.labeler(cohort="heldout"), campaign) is not None


def test_a_labeler_with_work_keeps_the_cohort(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    idle = lab.labeler()
    assert lab.claim(user, campaign) is not None

    with lab.store.write() as connection:
        people.change_user(connection, lab.now, "test", idle, cohort="heldout")
    with pytest.raises(JudgmentError, match="keeps the cohort"), lab.store.write() as connection:
        people.change_user(connection, lab.now, "test", user, cohort="heldout")


@pytest.mark.parametrize(
    ("purpose", "split", "is_fine"),
    [
        ("training", "train", True),
        ("training", "valid", True),
        ("training", "test", False),
        ("evaluation", "test", True),
        ("evaluation", "train", False),
        ("evaluation", "valid", False),
        ("screening", "test", False),
    ],
)
def test_evaluation_prompts_are_disjoint_from_all_others(
    lab: Lab, purpose: str, split: str, is_fine: bool
) -> None:
    if is_fine:
        assert lab.campaign(purpose=purpose, split=split)
    else:
        with pytest.raises(JudgmentError, match="test split"):
            lab.campaign(purpose=purpose, split=split)


def test_a_prompt_is_on_its_author_s_side(lab: Lab) -> None:
    with lab.store.write() as connection:
        lab.prompt(connection, author="ann", split="train")

    with pytest.raises(JudgmentError), lab.store.write() as connection:
        lab.prompt(connection, author="ann", split="valid")


@pytest.mark.parametrize(("size", "is_fine"), [(3, False), (4, True), (9, True), (10, False)])
def test_a_ranking_task_has_four_to_nine_outputs(lab: Lab, size: int, is_fine: bool) -> None:
    if is_fine:
        assert lab.campaign([size])
    else:
        with pytest.raises(JudgmentError, match="as many outputs"):
            lab.campaign([size])


def test_the_unqualified_and_the_suspended_get_no_training_work(lab: Lab) -> None:
    campaign, practice = lab.campaign(), lab.campaign([4, 4], purpose="practice")
    pending, suspended = lab.labeler(standing="pending"), lab.labeler(state="suspended")

    with pytest.raises(JudgmentError, match="qualified"):
        lab.claim(pending, campaign)
    assert lab.claim(pending, practice) is not None
    with pytest.raises(JudgmentError, match="active"):
        lab.claim(suspended, practice)


def test_a_claim_gives_the_same_task_until_it_is_done(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign([4, 5])

    first, again = lab.claim(user, campaign), lab.claim(user, campaign)

    assert first is not None
    assert again is not None
    assert first.public_id == again.public_id
    assert sorted(first.display_order) == [1, 2, 3, 4]


def test_overlap_is_met_and_never_exceeded(lab: Lab) -> None:
    campaign = lab.campaign([4], overlap=2)
    people_ = [lab.labeler() for _ in range(3)]

    given_ = [lab.claim(user, campaign) for user in people_]

    assert [task is not None for task in given_] == [True, True, False]


def test_an_abandoned_task_goes_to_the_next_and_late_work_is_kept(lab: Lab) -> None:
    slow, quick, campaign = lab.labeler(), lab.labeler(), lab.campaign()
    task = lab.claim(slow, campaign)
    assert task is not None
    assert lab.claim(quick, campaign, after=59 * MINUTE) is None
    taken = lab.claim(quick, campaign, after=61 * MINUTE)
    assert taken is not None
    assert taken.task_id == task.task_id
    assert lab.rank(quick, taken, [1, 2, 3, 4], after=62 * MINUTE).is_surplus is False

    late = lab.rank(slow, task, [4, 3, 2, 1], after=300 * MINUTE)

    assert (late.state, late.is_surplus) == ("final", True)
    with lab.store.read() as connection:
        progress = campaigns.progress_of(connection, campaign)
    assert (progress.wanted, progress.done, progress.surplus) == (1, 1, 1)


def test_late_work_on_a_slot_that_nobody_took_is_ordinary(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None

    assert lab.rank(user, task, [1, 1, 1, 2], after=600 * MINUTE).is_surplus is False


def test_a_lost_lease_is_taken_back_where_the_other_gave_up(lab: Lab) -> None:
    slow, other, campaign = lab.labeler(), lab.labeler(), lab.campaign()
    task = lab.claim(slow, campaign)
    assert task is not None
    taken = lab.claim(other, campaign, after=61 * MINUTE)
    assert taken is not None
    with lab.store.write() as connection:
        queue.skip(connection, lab.now, other, taken.public_id, "not my field")

    assert lab.rank(slow, task, [1, 2, 3, 4], after=70 * MINUTE).is_surplus is False


def test_drafts_are_kept_and_two_tabs_conflict(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None
    with lab.store.write() as connection:
        first = drafts.save_draft(connection, lab.now, user, task.public_id, {"a": 1}, rev=0)
        second = drafts.save_draft(connection, lab.now, user, task.public_id, {"a": 2}, rev=first)

    with pytest.raises(ConflictError), lab.store.write() as connection:
        drafts.save_draft(connection, lab.now, user, task.public_id, {"a": 9}, rev=first)

    with lab.store.read() as connection:
        draft = drafts.draft_of(connection, task)
    assert draft is not None
    assert (draft.rev, draft.payload) == (second, {"a": 2})


def test_a_draft_keeps_the_lease(lab: Lab) -> None:
    user, other, campaign = lab.labeler(), lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None
    with lab.store.write() as connection:
        drafts.save_draft(connection, lab.now + 50 * MINUTE, user, task.public_id, {}, rev=0)

    assert lab.claim(other, campaign, after=100 * MINUTE) is None
    assert lab.claim(other, campaign, after=111 * MINUTE) is not None


def test_nobody_sees_another_s_task(lab: Lab) -> None:
    user, other, campaign = lab.labeler(), lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None

    with pytest.raises(JudgmentError, match="no such task"):
        lab.rank(other, task, [1, 2, 3, 4])


def test_a_submission_can_be_reopened_for_ten_minutes_and_the_old_one_is_kept(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None
    lab.rank(user, task, [1, 2, 3, 4])
    with lab.store.write() as connection:
        again = queue.reopen(connection, lab.now + 9 * MINUTE, user, task.public_id)
        draft = drafts.draft_of(connection, again)
    assert draft is not None
    assert draft.payload == {"groups": [1, 2, 3, 4]}

    second = lab.rank(user, again, [4, 3, 2, 1], after=9 * MINUTE)

    with lab.store.read() as connection:
        states = connection.execute(
            select(submissions.c.state).order_by(submissions.c.revision)
        ).scalars()
        assert [*states] == ["superseded", "final"]
    assert second.revision == 2
    with pytest.raises(JudgmentError, match="ten minutes"), lab.store.write() as connection:
        queue.reopen(connection, lab.now + 20 * MINUTE, user, task.public_id)


def test_a_second_tab_s_submission_is_kept_beside_the_first(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None
    lab.rank(user, task, [1, 2, 3, 4])

    second = lab.rank(user, task, [4, 3, 2, 1])

    assert (second.state, second.revision) == ("late", 2)


def test_skipping_needs_a_reason_and_three_skips_stop_a_task(lab: Lab) -> None:
    campaign = lab.campaign()
    for _ in range(3):
        user = lab.labeler()
        task = lab.claim(user, campaign)
        assert task is not None
        with pytest.raises(JudgmentError, match="why"), lab.store.write() as connection:
            queue.skip(connection, lab.now, user, task.public_id, "  ")
        with lab.store.write() as connection:
            queue.skip(connection, lab.now, user, task.public_id, "unclear")

    assert lab.claim(lab.labeler(), campaign) is None


def test_gold_comes_once_in_so_many_tasks_and_once_per_labeler(lab: Lab) -> None:
    gold = [campaigns.Gold(relations={(1, 2): 1})] * 3
    campaign = lab.campaign([4] * 12, gold=gold, gold_every=4)
    with lab.store.read() as connection:
        rows = connection.execute(text("select id, is_gold from tasks")).all()
    is_gold = {row.id: row.is_gold for row in rows}
    user, met = lab.labeler(), list[bool]()
    while (task := lab.claim(user, campaign)) is not None:
        met.append(bool(is_gold[task.task_id]))
        lab.rank(user, task, [1, 2, 3, 4])

    assert sum(met) == 3
    assert len(met) >= 15 - 3
    assert all(sum(met[at : at + 4]) == 1 for at in (0, 4, 8))


def test_every_form_has_its_answer(lab: Lab) -> None:
    cases = [
        ({"form": "demonstrate"}, WrittenDemonstration("A fox."), "train", [1]),
        ({"form": "write"}, WrittenPrompt("Why?", "labeler_plain"), "train", [1]),
        (
            {"form": "compare", "purpose": "evaluation"},
            Vote("item_2", left_item=2, margin=3),
            "test",
            [2],
        ),
        (
            {"form": "toxicity", "purpose": "evaluation", "k": (1, 9)},
            {1: Toxicity(0, -1, 7), 2: Toxicity(2, 1, 1)},
            "test",
            [2],
        ),
    ]
    for given_, answer, split, sizes in cases:
        campaign, user = lab.campaign(sizes, split=split, **given_), lab.labeler()
        task = lab.claim(user, campaign)
        assert task is not None
        wrong = RankedOutputs({1: 1}, {})
        with pytest.raises(JudgmentError), lab.store.write() as connection:
            judgments.submit(
                connection, lab.now, user, task.public_id, wrong, client_uuid=uuid.uuid4().hex
            )
        with lab.store.write() as connection:
            done = judgments.submit(
                connection, lab.now, user, task.public_id, answer, client_uuid=uuid.uuid4().hex
            )
        assert done.state == "final", given_


def test_an_evaluation_is_frozen_and_blind_until_it_closes(lab: Lab) -> None:
    campaign = lab.campaign(
        form="compare", purpose="evaluation", split="test", sizes=[2], planned=1
    )
    reader = lab.researcher()
    with lab.store.write() as connection:
        prompt = lab.prompt(connection, split="test")
    with pytest.raises(JudgmentError, match="frozen"), lab.store.write() as connection:
        campaigns.add_task(connection, campaign, prompt_id=prompt)
    with pytest.raises(JudgmentError, match="not closed"), lab.store.read() as connection:
        campaigns.models_of(connection, campaign, reader)

    with lab.store.write() as connection:
        closed = campaigns.set_state(connection, lab.now, "test", campaign, "closed")
        assert set(campaigns.models_of(connection, closed, reader).values()) == {"secret-model"}
    with pytest.raises(JudgmentError, match="stays closed"), lab.store.write() as connection:
        campaigns.set_state(connection, lab.now, "test", closed, "open")


def test_an_evaluation_opens_with_the_tasks_that_were_planned(lab: Lab) -> None:
    with pytest.raises(JudgmentError, match="planned with 5 tasks and has 1"):
        lab.campaign(form="compare", purpose="evaluation", split="test", sizes=[2], planned=5)


def test_an_adjudicator_has_not_labeled_the_task(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None

    with pytest.raises(JudgmentError, match="adjudicator"), lab.store.write() as connection:
        connection.execute(
            text(
                "insert into adjudications (task_id, adjudicator_id, outcome, reason, note, at) "
                f"values ({task.task_id}, {user.id}, 'ambiguous', 'taste', '', 0)"
            )
        )


def test_the_audit_finds_every_kind_of_tampering(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign([4, 4])
    for _ in range(2):
        task = lab.claim(user, campaign)
        assert task is not None
        lab.rank(user, task, [1, 2, 3, 4])
    with lab.store.read() as connection:
        clean = events.audit(connection)
    assert clean.findings == ()
    assert clean.submissions == 2
    tampering = {
        "update rank_entries set rank_group = 2 where item_no = 1 and submission_id = 1": "not what was submitted",
        "update events set actor = 'mallory' where seq = 3": "changed after",
        "delete from events where seq = 4": "missing",
        "delete from events where seq = (select max(seq) from events)": "the log ends",
        "delete from submissions where id = 2": "is gone",
    }
    for statement, problem in tampering.items():
        with lab.store.engine.connect() as connection, connection.begin() as transaction:
            if lab.store.dialect == "sqlite":
                for name in (
                    "rank_entries_update",
                    "events_update",
                    "events_delete",
                    "submissions_delete",
                ):
                    connection.exec_driver_sql(f"DROP TRIGGER guard_{name}")
                connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
            else:
                connection.exec_driver_sql("set local session_replication_role = replica")
            connection.exec_driver_sql(statement)
            found = " ".join(finding.problem for finding in events.audit(connection).findings)
            transaction.rollback()
        assert problem in found, statement


@pytest.mark.parametrize("overlap", [1, 2])
def test_many_at_once_lose_nothing_and_double_nothing(lab: Lab, overlap: int) -> None:
    campaign = lab.campaign([4] * 15, overlap=overlap)
    workers = [lab.labeler() for _ in range(6)]
    problems: list[BaseException] = []
    sent: list[str] = []

    def work(number: int) -> None:
        try:
            user = workers[number]
            while (task := lab.claim(user, campaign)) is not None:
                done = lab.rank(user, task, [1, 2, 2, 3])
                again = lab.rank(user, task, [1, 2, 2, 3], uuid_=f"again {task.public_id}")
                assert again.state == "late"
                sent.append(done.public_id)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(len(workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    with lab.store.read() as connection:
        final = connection.execute(
            select(submissions.c.public_id).where(submissions.c.state == "final")
        ).scalars()
        per_task = Counter(connection.execute(select(assignments.c.task_id)).scalars())
        states = set(connection.execute(select(slots.c.state)).scalars())
        found = events.audit(connection)
    assert sorted(final) == sorted(sent)
    assert set(per_task.values()) == {overlap}
    assert states == {"done"}
    assert found.findings == ()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=st.lists(st.one_of(st.none(), st.integers(1, 9)), min_size=4, max_size=4))
def test_the_database_takes_exactly_the_dense_rankings(lab: Lab, groups: list[int | None]) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None
    used = {group for group in groups if group is not None}
    if used == set(range(1, len(used) + 1)):
        assert lab.rank(user, task, groups).state == "final"
    else:
        with pytest.raises(JudgmentError, match="dense"):
            lab.rank(user, task, groups)
