"""What campaigns are filled with, and tasks added by the thousand, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, select

from alignloop.data.records import Completion
from alignloop.errors import JudgmentError
from alignloop.store import campaigns, correspondence, flag_sets, prompts, supply
from alignloop.store.campaigns import Campaign
from alignloop.store.schema import slots, tasks
from alignloop.store.supply import NewTask
from tests.store.conftest import Lab


def draft(lab: Lab, **given: object) -> Campaign:
    return lab.campaign([], opened=False, **given)


def written(connection: Connection, prompt: int, policy: int, *texts: str) -> list[int]:
    completions = [Completion(text=text, model="m", finished=True, tokens=3) for text in texts]
    return prompts.add_completions(connection, prompt, policy, completions)


def policy(lab: Lab, connection: Connection, name: str) -> int:
    return prompts.add_policy(connection, lab.now, name=name, sha256=name, sampling={})


def test_prompts_by_what_was_written_to_them(lab: Lab) -> None:
    with lab.store.write() as connection:
        a, b = policy(lab, connection, "a"), policy(lab, connection, "b")
        one, two, three = (lab.prompt(connection) for _ in range(3))
        held = lab.prompt(connection, split="test")
        written(connection, one, a, "x", "y", "y", "z")
        written(connection, two, a, "x", "x", "x", "x")
        written(connection, two, b, "y")
        written(connection, held, a, "x")
        written(connection, held, b, "x")

        assert supply.prompts_by_split(connection) == {"train": 3, "test": 1}
        assert supply.prompts_to_answer(connection, "train") == [one, two, three]
        assert supply.prompts_to_rank(connection, "train", [a], 3) == [one]
        assert supply.prompts_to_rank(connection, "train", [a, b], 2) == [one, two]
        assert supply.prompts_to_rank(connection, "train", [b], 2) == []
        assert supply.prompts_to_compare(connection, "train", [a, b]) == [two]
        assert supply.prompts_to_compare(connection, "test", [a, b]) == [held]
        assert [row.name for row in supply.all_policies(connection)] == ["b", "a"]
        found = supply.completions_of(connection, [one, two], [a])
    assert [(row.draw, row.text) for row in found[one]] == [(1, "x"), (2, "y"), (3, "y"), (4, "z")]
    assert len(found[two]) == 4


def test_personal_data_on_the_training_side_is_nothing_to_label(lab: Lab) -> None:
    with lab.store.write() as connection:
        a = policy(lab, connection, "a")
        clean, *flagged = (
            prompts.add_prompts(
                connection,
                lab.now,
                [
                    prompts.NewPrompt(
                        author=f"{split} {pii}",
                        split=split,
                        kind="customer",
                        text=f"{split} {pii}",
                        text_digest=f"{split} {pii}".encode().ljust(16),
                        pii=pii,
                    )
                ],
            )[0]
            for split, pii in (("train", []), ("train", ["email"]), ("test", ["email"]))
        )
        for prompt in (clean, *flagged):
            written(connection, prompt, a, "x", "y")

        assert supply.prompts_to_answer(connection, "train") == [clean]
        assert supply.prompts_to_rank(connection, "train", [a], 2) == [clean]
        assert supply.prompts_to_compare(connection, "train", [a]) == [clean]
        assert supply.prompts_to_answer(connection, "test") == [flagged[1]]  # measured, not learned


def test_tasks_by_the_thousand_are_what_one_at_a_time_are(lab: Lab) -> None:
    campaign, user = draft(lab, k=(2, 9)), lab.labeler()
    with lab.store.write() as connection:
        a = policy(lab, connection, "a")
        new: list[NewTask] = []
        for number in range(1203):
            prompt = lab.prompt(connection)
            ids = written(
                connection, prompt, a, *(f"{number} {at}" for at in range(2 + number % 3))
            )
            new.append(NewTask(prompt, tuple(reversed(ids)), 1 + number % 2))
        ids = supply.add_tasks(connection, campaign, new)
        opened = campaigns.set_state(connection, lab.now, "test", campaign, "open")

    with lab.store.read() as connection:
        rows = connection.execute(select(tasks).order_by(tasks.c.place)).all()
        wanted = connection.execute(select(slots.c.task_id)).scalars().all()
        texts = campaigns.items_of(connection, ids[4])
    assert [row.id for row in rows] == ids
    assert [row.place for row in rows] == list(range(1, 1204))
    assert {row.state for row in rows} == {"open"}
    assert len(wanted) == sum(task.labels for task in new)
    assert texts == {1: "4 2", 2: "4 1", 3: "4 0"}
    first = lab.claim(user, opened)
    assert first is not None and first.task_id == ids[0]


def test_the_guards_hold_for_many_tasks_as_for_one(lab: Lab) -> None:
    with lab.store.write() as connection:
        a = policy(lab, connection, "a")
        prompt, held = lab.prompt(connection), lab.prompt(connection, split="test")
        ids = written(connection, prompt, a, "x", "y")
    ranked, asked = draft(lab), draft(lab, form="demonstrate")
    with pytest.raises(JudgmentError, match="as many outputs"), lab.store.write() as connection:
        supply.add_tasks(connection, ranked, [NewTask(prompt, tuple(ids))])
    with pytest.raises(JudgmentError, match="test split"), lab.store.write() as connection:
        supply.add_tasks(connection, asked, [NewTask(held)])


def test_how_often_prompts_were_used_for_the_same_kind_of_work(lab: Lab) -> None:
    lab.campaign([4, 4])
    lab.campaign(form="demonstrate")
    drafts = draft(lab), draft(lab, form="demonstrate"), draft(lab, purpose="practice")
    with lab.store.read() as connection:
        used, asked, none = (supply.times_used(connection, one) for one in drafts)

    assert (sorted(used.values()), list(asked.values()), none) == ([1, 1], [1], {})


def test_a_plan_is_kept_and_replaced(lab: Lab) -> None:
    campaign, other = draft(lab), draft(lab)
    with lab.store.write() as connection:
        supply.keep_plan(connection, campaign, {"count": 5})
        supply.keep_plan(connection, campaign, {"count": 7})

        assert supply.plan_of(connection, campaign) == {"count": 7}
        assert supply.plan_of(connection, other) is None


def test_guidelines_and_flag_sets_to_choose_from(lab: Lab) -> None:
    with lab.store.write() as connection:
        for purpose, version in (("training", 1), ("training", 2), ("evaluation", 1)):
            for locale in ("en", "zh"):
                correspondence.add_guideline(
                    connection,
                    lab.now,
                    "test",
                    purpose=purpose,
                    version=version,
                    locale=locale,
                    body="x",
                )
        flag_sets.add_flag_set(connection, "ours", ["rude"])

        assert supply.guideline_versions(connection) == [
            ("training", 2),
            ("training", 1),
            ("evaluation", 1),
        ]
        assert [row.name for row in supply.all_flag_sets(connection)] == ["ours"]
