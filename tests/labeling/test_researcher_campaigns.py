"""Campaigns as a researcher makes them, looks at them, changes, opens and closes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from alignloop.labeling.app.campaign_form import prompt_sets
from alignloop.labeling.app.i18n import catalogue
from alignloop.store import campaigns, events, flag_sets, oversight, queue, supply
from alignloop.store.gold import Gold, relations_of
from alignloop.store.schema import campaigns as campaign_table
from alignloop.store.schema import completions, policies, slots, task_items, tasks
from tests.labeling.client import DAY, MINUTE
from tests.labeling.research import SECRET_MODELS, Desk, cells, desk, errors_in, figure, form_values


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def fields(lab: Desk, **given: Any) -> dict[str, Any]:
    return {
        "title": "Rankings 1",
        "kind": "rank",
        "purpose": "training",
        "cohort": "train",
        "prompt_set": "train:all",
        "policies": [*lab.policies.values()],
        "k_min": "4",
        "k_max": "6",
        "overlap": "1",
        "shared_percent": "50",
        "gold_percent": "5",
        "repeat_percent": "3",
        "lease_minutes": "45",
        "pay": "22.50",
        "currency": "EUR",
        "guideline": "training/1",
        "flag_set": "table-3",
        "planned": "",
        **given,
    }


def evaluation(lab: Desk, **given: Any) -> dict[str, Any]:
    what = {"kind": "eval", "purpose": "evaluation", "cohort": "heldout", "prompt_set": "test:all"}
    size = {"title": "Blind 1", "planned": "4", "shared_percent": "0", "gold_percent": "0"}
    return fields(lab, **{**what, **size, **given})


def make(lab: Desk, given: dict[str, Any]) -> campaigns.Campaign:
    response = lab.browser.post("new_campaign", given)
    assert response.status_code == 303, errors_in(response.text)
    return lab.find(given["title"])


def opened(lab: Desk, given: dict[str, Any]) -> campaigns.Campaign:
    made = make(lab, given)
    response = lab.browser.post("campaign_state", {"state": "open"}, campaign=made.public_id)
    assert response.status_code == 303, errors_in(response.text)
    return lab.again(made)


def rows(lab: Desk, query: Any) -> list[Any]:
    with lab.site.store.read() as connection:
        return list(connection.execute(query).all())


# --- making -----------------------------------------------------------------------------------------------------


def test_the_form_offers_what_there_is(lab: Desk) -> None:
    lab.prompts("train", 3)
    lab.prompts("test", 1)

    html = lab.browser.get("new_campaign").text

    assert '<option value="train:all" selected>Train · 3</option>' in html
    assert '<option value="test:all">Test · 1</option>' in html
    assert 'value="new:50"' in html
    for name, public_id in lab.policies.items():
        assert f'value="{public_id}"' in html and name in html
    assert form_values(html)["guideline"] == "training/1"


def test_prompt_sets_come_in_round_numbers(lab: Desk) -> None:
    lab.prompts("train", 120, texts=0)
    with lab.site.store.read() as connection:
        found = {one.value: one.label for one in prompt_sets(connection, catalogue("en"))}

    assert [name for name in found if name.startswith("train")] == [
        "train:all",
        "train:50",
        "train:100",
    ]
    assert found["train:50"] == "Train · 50 / 120"


def test_a_campaign_is_made_as_a_draft_with_everything_that_was_asked_for(lab: Desk) -> None:
    lab.prompts("train", 3)

    made = make(lab, fields(lab))

    assert (made.form, made.purpose, made.cohort, made.state) == (
        "rank",
        "training",
        "training",
        "draft",
    )
    assert (made.k_min, made.k_max, made.overlap, made.lease_ms) == (4, 6, 1, 45 * MINUTE)
    assert (made.price_per_hour, made.currency, made.gold_every) == (2250, "EUR", 20)
    assert made.asks_ratings and made.flag_set_id is not None
    with lab.site.store.read() as connection:
        assert flag_sets.flags_of(connection, made.flag_set_id) == list(flag_sets.TABLE_3_FLAGS)
        assert campaigns.count_tasks(connection, made) == 0
    page = lab.browser.get("edit_campaign", campaign=made.public_id).text
    kept = form_values(page)
    for name, value in fields(lab).items():
        if name not in ("policies", "planned", "pay"):
            assert kept[name] == value, name
    assert kept["pay"] == "22.50"
    assert page.count(" checked") == 2


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"kind": "sorting"}, "kind"),
        ({"purpose": "fun"}, "purpose"),
        ({"kind": "eval"}, "purpose"),
        ({"kind": "toxicity"}, "purpose"),
        ({"cohort": "heldout"}, "cohort"),
        ({"cohort": "martians"}, "cohort"),
        ({"prompt_set": ""}, "prompt_set"),
        ({"prompt_set": "test:all"}, "prompt_set"),
        ({"prompt_set": "new:50"}, "prompt_set"),
        ({"prompt_set": "train:many"}, "prompt_set"),
        ({"prompt_set": "train:0"}, "prompt_set"),
        ({"policies": []}, "policies"),
        ({"policies": ["unknown"]}, "policies"),
        ({"k_min": "3"}, "k_min"),
        ({"k_max": "10"}, "k_max"),
        ({"k_min": "7", "k_max": "6"}, "k_max"),
        ({"k_min": "four"}, "k_min"),
        ({"overlap": "0"}, "overlap"),
        ({"overlap": "1.5"}, "overlap"),
        ({"overlap": "21"}, "overlap"),
        ({"shared_percent": "101"}, "shared_percent"),
        ({"shared_percent": "nan"}, "shared_percent"),
        ({"gold_percent": "51"}, "gold_percent"),
        ({"repeat_percent": "-1"}, "repeat_percent"),
        ({"lease_minutes": "0"}, "lease_minutes"),
        ({"lease_minutes": ""}, "lease_minutes"),
        ({"pay": "much"}, "pay"),
        ({"pay": "-1"}, "pay"),
        ({"pay": "NaN"}, "pay"),
        ({"currency": "euro"}, "currency"),
        ({"guideline": "training/9"}, "guideline"),
        ({"flag_set": "table-4"}, "flag_set"),
        ({"kind": "eval", "purpose": "evaluation", "prompt_set": "test:all"}, "planned"),
        (
            {"kind": "eval", "purpose": "evaluation", "prompt_set": "train:all", "planned": "3"},
            "prompt_set",
        ),
        ({"title": "", "overlap": "", "pay": "x"}, "title overlap pay"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_and_what_was_typed_is_kept(
    lab: Desk, given: dict[str, Any], wrong: str
) -> None:
    lab.prompts("train", 3)
    sent = fields(lab, **given)

    response = lab.browser.post("new_campaign", sent)

    assert response.status_code == 422
    assert errors_in(response.text) == set(wrong.split())
    assert 'id="errors"' in response.text
    kept = form_values(response.text)
    for name in ("title", "k_min", "k_max", "overlap", "pay", "lease_minutes"):
        assert kept[name] == sent[name].strip(), name
    assert rows(lab, select(campaign_table)) == []


def test_one_model_or_three_are_no_comparison(lab: Desk) -> None:
    lab.prompts("test", 3)
    [first, _] = lab.policies.values()

    response = lab.browser.post("new_campaign", evaluation(lab, policies=[first]))

    assert (response.status_code, errors_in(response.text)) == (422, {"policies"})


def test_a_name_is_used_once(lab: Desk) -> None:
    lab.prompts("train", 3)
    make(lab, fields(lab))

    assert errors_in(lab.browser.post("new_campaign", fields(lab)).text) == {"title"}


def test_a_campaign_without_grades_and_pay(lab: Desk) -> None:
    lab.prompts("train", 3)

    made = make(lab, fields(lab, flag_set="none", pay="", gold_percent="0"))

    assert (made.asks_ratings, made.flag_set_id, made.price_per_hour, made.gold_every) == (
        False,
        None,
        None,
        None,
    )


def test_a_flag_set_of_ones_own(lab: Desk) -> None:
    lab.prompts("train", 3)
    with lab.site.store.write() as connection:
        ours = flag_sets.add_flag_set(connection, "ours", ["rude"])

    assert make(lab, fields(lab, flag_set="ours")).flag_set_id == ours


@pytest.mark.parametrize(
    ("given", "form", "purpose"),
    [
        ({"purpose": "screening"}, "rank", "screening"),
        ({"kind": "demo", "purpose": "screening", "cohort": "pilot"}, "demonstrate", "screening"),
        ({"kind": "rank", "purpose": "practice", "cohort": "pilot"}, "rank", "practice"),
        ({"kind": "demo"}, "demonstrate", "training"),
        ({"kind": "prompt", "prompt_set": "new:50"}, "write", "training"),
        ({"kind": "toxicity", "purpose": "screening", "cohort": "pilot"}, "toxicity", "screening"),
    ],
)
def test_every_kind_opens_with_its_tasks(
    lab: Desk, given: dict[str, Any], form: str, purpose: str
) -> None:
    lab.prompts("train", 3)

    one = opened(lab, fields(lab, **given))

    assert (one.form, one.purpose, one.state) == (form, purpose, "open")
    with lab.site.store.read() as connection:
        assert campaigns.count_tasks(connection, one) == (50 if form == "write" else 3)
    assert lab.browser.get("campaign", campaign=one.public_id).status_code == 200
    assert lab.browser.get("edit_campaign", campaign=one.public_id).status_code == 200


# --- filling ----------------------------------------------------------------------------------------------------


def test_rankings_are_drawn_k_by_lot_and_in_an_order_that_tells_nothing(lab: Desk) -> None:
    lab.prompts("train", 40, texts=5)

    one = opened(lab, fields(lab, k_min="4", k_max="7"))

    found = rows(
        lab,
        select(tasks.c.id, tasks.c.prompt_id, task_items.c.item_no, completions.c.prompt_id, completions.c.text,
               completions.c.policy_id)
        .join(task_items, task_items.c.task_id == tasks.c.id)
        .join(completions, completions.c.id == task_items.c.completion_id)
        .where(tasks.c.campaign_id == one.id)
        .order_by(tasks.c.id, task_items.c.item_no),
    )  # fmt: skip
    by_task: dict[int, list[Any]] = {}
    for row in found:
        assert row[1] == row[3]
        by_task.setdefault(row[0], []).append(row)
    sizes = {len(items) for items in by_task.values()}
    assert len(by_task) == 40
    assert sizes == {4, 5, 6, 7}
    assert all(len({row.text for row in items}) == len(items) for items in by_task.values())
    firsts = [items[0].policy_id for items in by_task.values()]
    assert 8 <= firsts.count(firsts[0]) <= 32  # neither model always stands first
    wanted = rows(
        lab,
        select(func.count())
        .select_from(slots)
        .where(slots.c.campaign_id == one.id)
        .group_by(slots.c.task_id),
    )
    assert sorted(row[0] for row in wanted) == [1] * 20 + [3] * 20  # half of them are shared


def test_prompts_that_were_not_used_come_first(lab: Desk) -> None:
    lab.prompts("train", 4)
    first = opened(lab, fields(lab, title="First", prompt_set="train:2"))
    second = opened(lab, fields(lab, title="Second", prompt_set="train:2"))

    def prompts_of(one: campaigns.Campaign) -> set[int]:
        with lab.site.store.read() as connection:
            return campaigns.prompts_in(connection, one)

    assert len(prompts_of(first) | prompts_of(second)) == 4


def test_an_evaluation_compares_the_first_answers_of_both(lab: Desk) -> None:
    lab.prompts("test", 12)

    one = opened(lab, evaluation(lab, planned="10"))

    found = rows(
        lab,
        select(tasks.c.id, completions.c.draw, policies.c.name)
        .join(task_items, task_items.c.task_id == tasks.c.id)
        .join(completions, completions.c.id == task_items.c.completion_id)
        .join(policies, policies.c.id == completions.c.policy_id)
        .order_by(tasks.c.id, task_items.c.item_no),
    )
    assert {row.draw for row in found} == {1}
    pairs = [(found[at].name, found[at + 1].name) for at in range(0, len(found), 2)]
    assert len(pairs) == 10
    assert set(pairs) == {SECRET_MODELS, SECRET_MODELS[::-1]}
    assert one.frozen_at is not None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"prompt_set": "train:all", "k_min": "9", "k_max": "9"}, "prompt_set"),
        (
            {"kind": "eval", "purpose": "evaluation", "prompt_set": "test:all", "planned": "4"},
            "planned",
        ),
    ],
)
def test_too_little_to_fill_it_with_is_told_before_it_opens(
    lab: Desk, given: dict[str, Any], field: str
) -> None:
    lab.prompts("train", 3)
    lab.prompts("test", 3)
    made = make(lab, fields(lab, **given))

    response = lab.browser.post("campaign_state", {"state": "open"}, campaign=made.public_id)

    assert response.status_code == 422
    assert errors_in(response.text) == {field}
    assert lab.again(made).state == "draft"
    assert rows(lab, select(tasks)) == []


def test_a_campaign_from_elsewhere_without_tasks_is_not_opened(lab: Desk) -> None:
    made = lab.campaign([], opened=False)

    response = lab.browser.post("campaign_state", {"state": "open"}, campaign=made.public_id)

    assert (response.status_code, errors_in(response.text)) == (422, {"prompt_set"})


def test_an_evaluation_from_elsewhere_opens_as_it_was_planned_or_not_at_all(lab: Desk) -> None:
    made = lab.campaign(
        [2, 2],
        form="compare",
        purpose="evaluation",
        cohort="any",
        split="test",
        planned=3,
        opened=False,
    )

    response = lab.browser.post("campaign_state", {"state": "open"}, campaign=made.public_id)

    assert (response.status_code, errors_in(response.text)) == (422, {"planned"})


# --- changing ---------------------------------------------------------------------------------------------------


def test_a_draft_may_become_something_else(lab: Desk) -> None:
    lab.prompts("train", 3)
    made = make(lab, fields(lab))

    response = lab.browser.post(
        "edit_campaign",
        fields(lab, title="Demonstrations", kind="demo", pay="30", flag_set="none"),
        campaign=made.public_id,
    )

    assert response.status_code == 303
    changed = lab.again(made)
    assert (changed.name, changed.form, changed.asks_ratings) == (
        "Demonstrations",
        "demonstrate",
        False,
    )
    assert changed.price_per_hour == 3000
    lab.browser.post("campaign_state", {"state": "open"}, campaign=made.public_id)
    with lab.site.store.read() as connection:
        assert campaigns.count_tasks(connection, lab.again(made)) == 3


def test_wrong_changes_of_a_draft_are_told(lab: Desk) -> None:
    lab.prompts("train", 3)
    made = make(lab, fields(lab))

    response = lab.browser.post("edit_campaign", fields(lab, k_min="3"), campaign=made.public_id)

    assert (response.status_code, errors_in(response.text)) == (422, {"k_min"})
    assert lab.again(made) == made


def test_of_an_open_campaign_only_what_may_change_does(lab: Desk) -> None:
    lab.prompts("train", 4)
    one = opened(lab, fields(lab, shared_percent="50"))
    page = lab.browser.get("edit_campaign", campaign=one.public_id).text
    assert "Labels exist already" in page

    response = lab.browser.post(
        "edit_campaign",
        fields(
            lab,
            title="Another title",
            pay="25",
            lease_minutes="90",
            overlap="2",
            gold_percent="10",
            repeat_percent="8",
            kind="demo",
            purpose="practice",
            policies=[],
            k_min="9",
            k_max="9",
            prompt_set="",
        ),
        campaign=one.public_id,
    )

    assert response.status_code == 303, errors_in(response.text)
    changed = lab.again(one)
    assert (changed.name, changed.price_per_hour, changed.lease_ms) == (
        "Another title",
        2500,
        90 * MINUTE,
    )
    assert (changed.overlap, changed.gold_every) == (2, 10)
    assert (changed.form, changed.purpose, changed.k_min) == ("rank", "training", 4)
    with lab.site.store.read() as connection:
        plan = supply.plan_of(connection, changed)
        assert plan is not None
        assert (plan["repeat_percent"], plan["shared_percent"]) == (8, 50)
        progress = campaigns.progress_of(connection, changed)
    assert progress.wanted == 2 * 2 + 2 * 3
    assert (
        form_values(lab.browser.get("edit_campaign", campaign=one.public_id).text)["gold_percent"]
        == "10"
    )


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"title": ""}, "title"),
        ({"overlap": "0"}, "overlap"),
        ({"lease_minutes": "soon"}, "lease_minutes"),
        ({"pay": "x"}, "pay"),
        ({"shared_percent": "20"}, "shared_percent"),
    ],
    ids=str,
)
def test_wrong_changes_of_an_open_campaign_are_told(
    lab: Desk, given: dict[str, str], wrong: str
) -> None:
    lab.prompts("train", 4)
    one = opened(lab, fields(lab))

    response = lab.browser.post("edit_campaign", fields(lab, **given), campaign=one.public_id)

    assert (response.status_code, errors_in(response.text)) == (422, {wrong})
    assert lab.again(one) == one


def test_the_number_of_votes_of_an_open_evaluation_is_fixed(lab: Desk) -> None:
    lab.prompts("test", 4)
    one = opened(lab, evaluation(lab))

    response = lab.browser.post(
        "edit_campaign", evaluation(lab, overlap="3"), campaign=one.public_id
    )
    again = lab.browser.post(
        "edit_campaign", evaluation(lab, title="Blind one"), campaign=one.public_id
    )

    assert (response.status_code, errors_in(response.text)) == (422, {"overlap"})
    assert (again.status_code, lab.again(one).name) == (303, "Blind one")


def test_what_was_changed_is_in_the_log_and_what_it_says_is_not(lab: Desk) -> None:
    lab.prompts("train", 4)
    one = opened(lab, fields(lab))
    lab.browser.post("edit_campaign", fields(lab, title="Quite another"), campaign=one.public_id)

    with lab.site.store.read() as connection:
        found = {row.verb: row for row in events.each_event(connection)}
    assert found["change campaign"].actor == lab.boss.public_id
    assert "Quite another" not in found["change campaign"].detail


# --- opening, pausing, closing ----------------------------------------------------------------------------------


def test_open_pause_open_close_and_open_again(lab: Desk) -> None:
    lab.prompts("train", 3)
    one = opened(lab, fields(lab))
    ann = lab.site.labeler("Ann")

    def to(state: str) -> int:
        return lab.browser.post(
            "campaign_state", {"state": state}, campaign=one.public_id
        ).status_code

    def tag() -> str:
        return cells(lab.browser.get("campaigns").text, "Rankings 1")[1]

    outputs = items(lab, one)
    lab.rank(ann, one, outputs, likert=[4] * len(outputs))
    assert (to("paused"), tag()) == (303, "Paused")
    assert (to("open"), tag()) == (303, "Open")
    assert (to("closed"), tag()) == (303, "Closed")
    assert (to("closed"), tag()) == (303, "Closed")
    assert (to("open"), tag()) == (303, "Open")
    with lab.site.store.read() as connection:
        assert campaigns.count_tasks(connection, one) == 3
        assert campaigns.progress_of(connection, one).done == 1


def items(lab: Desk, one: campaigns.Campaign) -> list[int]:
    """Items of the task that comes first."""
    first = select(tasks.c.id).where(tasks.c.campaign_id == one.id).order_by(tasks.c.place).limit(1)
    return [
        row[0]
        for row in rows(
            lab, select(task_items.c.item_no).where(task_items.c.task_id == first.scalar_subquery())
        )
    ]


@pytest.mark.parametrize("sent", [{"state": "draft"}, {"state": ""}, {}])
def test_a_state_has_to_be_one_that_can_be_asked_for(lab: Desk, sent: dict[str, str]) -> None:
    lab.prompts("train", 3)
    made = make(lab, fields(lab))

    assert lab.browser.post("campaign_state", sent, campaign=made.public_id).status_code == 404
    assert lab.again(made).state == "draft"


def test_a_draft_is_not_paused(lab: Desk) -> None:
    lab.prompts("train", 3)
    made = make(lab, fields(lab))

    response = lab.browser.post("campaign_state", {"state": "paused"}, campaign=made.public_id)

    assert "had changed meanwhile" in lab.browser.follow(response).text
    assert lab.again(made).state == "draft"


def test_an_evaluation_is_paused_blind_and_once_closed_stays_closed(lab: Desk) -> None:
    lab.prompts("test", 4)
    one = opened(lab, evaluation(lab))

    def to(state: str) -> int:
        return lab.browser.post(
            "campaign_state", {"state": state}, campaign=one.public_id
        ).status_code

    def page() -> str:
        return lab.browser.get("campaign", campaign=one.public_id).text

    assert 'value="paused"' in page()
    assert (to("paused"), lab.again(one).state) == (303, "closed")
    for text in (page(), lab.browser.get("edit_campaign", campaign=one.public_id).text):
        assert not any(f"{name}<" in text for name in SECRET_MODELS)
        assert " checked" not in text
    assert "Hidden until the run is closed" in page()
    assert (to("open"), lab.again(one).state) == (303, "open")
    assert (to("paused"), lab.again(one).closed_at) == (303, None)
    assert (to("closed"), lab.again(one).state) == (303, "closed")
    assert (to("open"), lab.again(one).state) == (303, "closed")
    assert "had changed meanwhile" in page()


# --- looking ----------------------------------------------------------------------------------------------------


def test_the_list_by_state(lab: Desk) -> None:
    lab.prompts("train", 3)
    make(lab, fields(lab, title="A draft"))
    opened(lab, fields(lab, title="In work"))

    assert cells(lab.browser.get("campaigns").text, "A draft")[1] == "Draft"
    only = lab.browser.get("campaigns", state="open").text
    assert "In work" in only and "A draft" not in only
    assert "A draft" in lab.browser.get("campaigns", state="nonsense").text


def test_one_campaign_with_its_people_cost_and_agreement(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    one = lab.campaign([4] * 6, overlap=2, price_per_hour=3600, currency="EUR")
    for _ in range(6):
        lab.rank(ann, one, [1, 2, 3, 3], seconds=120)
        lab.rank(bob, one, [1, 2, 4, 3], seconds=60)

    html = lab.browser.get("campaign", campaign=one.public_id).text

    assert figure(html, "Labels done") == "12 / 12"
    assert figure(html, "Cost") == "EUR 10.80"  # 18 minutes at 36 an hour
    assert figure(html, "Agreement").startswith("100.0%")
    assert cells(html, "Ann") == ["Ann", "6", "0", "02:00", cells(html, "Ann")[4], "16.7%", "–"]
    assert cells(html, "Bob")[3] == "01:00"
    assert "<svg" in html
    assert (
        figure(lab.browser.get("campaign", campaign=one.public_id).text, "Labels done") == "12 / 12"
    )


def test_gold_is_told_per_labeler(lab: Desk) -> None:

    one = lab.campaign([4], gold=[Gold(relations_of({1: 1, 2: 2, 3: 3}))], gold_every=2)
    ann = lab.site.labeler("Ann")
    for _ in range(2):
        lab.rank(ann, one, [1, 3, 2, 4])

    assert cells(lab.browser.get("campaign", campaign=one.public_id).text, "Ann")[-1] == "2 / 3"


def test_skipped_tasks_are_kept_or_dropped(lab: Desk) -> None:
    one = lab.campaign([4, 4])
    for reason in ("unclear", "expertise: tax law", "because"):
        lab.skip(one, reason)
    html = lab.browser.get("campaign", campaign=one.public_id).text
    assert "I do not know enough about the subject: tax law" in html
    assert "Another reason: because" in html
    with lab.site.store.read() as connection:
        [skipped] = oversight.skipped_often(connection, one)

    def send(**sent: str) -> int:
        return lab.browser.post("campaign_state", sent, campaign=one.public_id).status_code

    assert send(task=skipped.public_id) == 404
    assert send(task=skipped.public_id, drop="1", keep="1") == 404
    assert send(task="another", drop="1") == 404
    assert send(task=skipped.public_id, keep="1") == 303
    assert "Skipped often" not in lab.browser.get("campaign", campaign=one.public_id).text
    assert send(task=skipped.public_id, drop="1") == 303  # it is not stopped any more
    lab.skip(one, "unclear")
    assert send(task=skipped.public_id, drop="1") == 303
    with lab.site.store.read() as connection:
        assert oversight.task_states(connection, one)["dropped"] == 1


def test_an_evaluation_is_blind_until_it_is_closed(lab: Desk) -> None:
    lab.prompts("test", 6)
    one = opened(lab, evaluation(lab, planned="6", cohort="pilot"))
    ann = lab.site.labeler("Ann", cohort="heldout")
    for _ in range(6):
        lab.vote(ann, one, winner(lab, ann, one))

    for name, params in (
        ("campaign", {"campaign": one.public_id}),
        ("campaigns", {}),
        ("overview", {}),
        ("agreement", {}),
        ("agreement", {"campaign": one.public_id}),
        ("economics", {}),
        ("disagreements", {}),
        ("audit", {}),
        ("exports", {}),
        ("labelers", {}),
        ("labeler", {"labeler": ann.public_id}),
    ):
        response = lab.browser.get(name, **params)
        assert response.status_code == 200
        for model in SECRET_MODELS:
            assert model not in response.text, name
            assert model not in str(response.headers), name
        assert "Win rate" not in response.text
    form = lab.browser.get("edit_campaign", campaign=one.public_id).text
    assert " checked" not in form
    assert (
        "Hidden until the run is closed" in lab.browser.get("campaign", campaign=one.public_id).text
    )

    lab.browser.post("campaign_state", {"state": "closed"}, campaign=one.public_id)
    html = lab.browser.get("campaign", campaign=one.public_id).text

    assert f"{SECRET_MODELS[1]}, {SECRET_MODELS[0]}" in html
    assert figure(html, "Win rate").startswith("100.0%")
    assert lab.browser.get("edit_campaign", campaign=one.public_id).text.count(" checked") == 2


def winner(lab: Desk, user: Any, one: campaigns.Campaign) -> str:
    """The verdict for whichever answer the second model wrote, of the task that comes next."""

    with lab.site.store.write() as connection:
        task = queue.claim(connection, lab.site.clock.now, user, one)
        assert task is not None
        query = (
            select(task_items.c.item_no)
            .join(completions, completions.c.id == task_items.c.completion_id)
            .join(policies, policies.c.id == completions.c.policy_id)
            .where(task_items.c.task_id == task.task_id, policies.c.name == SECRET_MODELS[1])
        )
        return f"item_{connection.execute(query).scalar_one()}"


def test_a_campaign_is_paid_as_days_go_by(lab: Desk) -> None:
    one = lab.campaign([4, 4], price_per_hour=3600, currency="USD")
    ann = lab.site.labeler("Ann")
    lab.rank(ann, one, [1, 2, 3, 4], seconds=3600)
    lab.site.clock.pass_(40 * DAY)
    lab.browser = lab.site.sign_in(lab.boss)
    lab.rank(ann, one, [1, 2, 3, 4], seconds=1800)

    assert figure(lab.browser.get("campaign", campaign=one.public_id).text, "Cost") == "USD 54.00"
    assert figure(lab.browser.get("overview", period="7d").text, "Cost") == "USD 18.00"
    assert figure(lab.browser.get("overview", period="all").text, "Cost") == "USD 54.00"
