"""Tasks drawn for a campaign: the same seed draws the same, and no model can be read off a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from alignloop.data.records import Completion
from alignloop.labeling import drawing
from alignloop.labeling.drawing import Plan, TooFewError
from alignloop.store import campaigns, prompts, supply
from alignloop.store.campaigns import Campaign
from alignloop.store.supply import NewTask
from tests.labeling.research import SECRET_MODELS, Desk, desk


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def drawn(lab: Desk, plan: Plan, seed: int = 7, **given: Any) -> list[NewTask]:
    campaign = draft(lab, seed, **given)
    with lab.site.store.read() as connection:
        return drawing.draw(connection, campaign, plan)


def draft(lab: Desk, seed: int = 7, **given: Any) -> Campaign:
    return lab.campaign([], opened=False, seed=seed, **{"form": "rank", **given})


def ids(lab: Desk) -> tuple[int, ...]:
    with lab.site.store.read() as connection:
        rows = supply.all_policies(connection)
        return tuple(sorted(row.id for row in rows if row.name in SECRET_MODELS))


def written(connection: Connection, prompt: int, policy: int, *texts: str) -> None:
    found = [Completion(text=text, model="m", finished=True, tokens=3) for text in texts]
    prompts.add_completions(connection, prompt, policy, found)


def test_the_same_seed_draws_the_same_and_another_does_not(lab: Desk) -> None:
    lab.prompts("train", 30, texts=5)
    plan = Plan("train", 20, ids(lab), 15)
    campaign, other = draft(lab, 7), draft(lab, 8)

    with lab.site.store.read() as connection:
        first, again = (drawing.draw(connection, campaign, plan) for _ in range(2))
        another = drawing.draw(connection, other, plan)

    assert first == again
    assert first != another
    assert len({task.prompt_id for task in first}) == 20


def test_k_is_drawn_evenly_and_before_what_there_is(lab: Desk) -> None:
    lab.prompts("train", 240, texts=5)  # ten texts each: K is never cut short

    found = drawn(lab, Plan("train", None, ids(lab), 0))

    sizes = Counter(len(task.completion_ids) for task in found)
    assert set(sizes) == set(range(4, 10))
    assert all(20 <= count <= 62 for count in sizes.values())  # 40 each, give or take 3.5 sigma


def test_texts_that_are_the_same_are_shown_once(lab: Desk) -> None:
    with lab.site.store.write() as connection:
        policy = prompts.add_policy(connection, 0, name="p", sha256="p", sampling={})
        for texts in (("a", "b", "c", "d", "d", "d"), ("a", "a", "a", "b", "c", "c")):
            written(connection, lab.bench.prompt(connection), policy, *texts)

    found = drawn(lab, Plan("train", None, (policy,)))

    [task] = found  # the other prompt has three texts alone
    assert len(task.completion_ids) == 4


def test_a_comparison_is_of_two_first_answers_that_differ(lab: Desk) -> None:
    with lab.site.store.write() as connection:
        a, b = (prompts.add_policy(connection, 0, name=n, sha256=n, sampling={}) for n in "ab")
        for first, second in (("x", "y"), ("same", "same"), ("z", "w")):
            prompt = lab.bench.prompt(connection, split="test")
            written(connection, prompt, a, first, "later")
            written(connection, prompt, b, second, "later")
    campaign = draft(lab, form="compare", purpose="evaluation", cohort="any", planned=2)

    with lab.site.store.read() as connection:
        found = drawing.draw(connection, campaign, Plan("test", None, (a, b)))
        texts = {
            row.id: row.text
            for rows in supply.completions_of(
                connection, [t.prompt_id or 0 for t in found], [a, b]
            ).values()
            for row in rows
        }

    assert sorted(sorted(texts[one] for one in task.completion_ids) for task in found) == [
        ["w", "z"],
        ["x", "y"],
    ]


def test_either_model_stands_first_as_often(lab: Desk) -> None:
    lab.prompts("test", 200, texts=1)
    campaign = draft(lab, form="compare", purpose="evaluation", cohort="any", planned=200)

    with lab.site.store.read() as connection:
        found = drawing.draw(connection, campaign, Plan("test", None, ids(lab)))
    firsts = sum(task.completion_ids[0] < task.completion_ids[1] for task in found)

    assert len(found) == 200
    assert 75 <= firsts <= 125


@pytest.mark.parametrize(
    ("percent", "overlap", "labels"), [(15, 1, {1: 17, 3: 3}), (0, 2, {2: 20}), (100, 5, {5: 20})]
)
def test_shared_tasks_get_three_labels_or_more(
    lab: Desk, percent: float, overlap: int, labels: dict[int, int]
) -> None:
    lab.prompts("train", 20)

    found = drawn(lab, Plan("train", None, ids(lab), percent), overlap=overlap)

    assert Counter(task.labels for task in found) == labels


def test_prompts_to_be_written_and_to_be_answered(lab: Desk) -> None:
    lab.prompts("train", 5)

    to_write = drawn(lab, Plan("train", 7), form="write")
    to_answer = drawn(lab, Plan("train", 3), form="demonstrate")

    assert [task.prompt_id for task in to_write] == [None] * 7
    assert len({task.prompt_id for task in to_answer}) == 3


def test_a_plan_survives_the_store() -> None:
    plan = Plan("valid", 12, (3, 5), 15.5, 3.0)

    assert Plan.from_json(plan.as_json()) == plan


def test_an_evaluation_is_filled_whole_or_not_at_all(lab: Desk) -> None:
    lab.prompts("test", 3)
    campaign = draft(lab, form="compare", purpose="evaluation", cohort="any", planned=4)
    with (
        pytest.raises(TooFewError, match="4 tasks were planned") as raised,
        lab.site.store.write() as connection,
    ):
        drawing.fill(connection, campaign, Plan("test", None, ids(lab)))
    assert raised.value.there == 3
    with lab.site.store.read() as connection:
        assert campaigns.count_tasks(connection, campaign) == 0

    lab.prompts("test", 3)
    with lab.site.store.write() as connection:
        assert drawing.fill(connection, campaign, Plan("test", None, ids(lab))) == 4
