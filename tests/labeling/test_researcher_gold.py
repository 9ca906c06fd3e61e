"""Right answers given on a page, and demonstrations graded on one: the same as by file, and as blind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from alignloop.labeling import screened
from alignloop.store import answer_keys, campaigns, figures, oversight, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.flag_sets import TABLE_3_FLAGS
from alignloop.store.schema import grades, tasks
from tests.labeling.research import SECRET_MODELS, Desk, desk, errors_in, practice


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def listed(lab: Desk, campaign: Campaign) -> list[str]:
    html = lab.browser.get("gold_tasks", campaign=campaign.public_id).text
    return re.findall(rf'href="/campaigns/{campaign.public_id}/gold/([^"]+)"', html)


def give(lab: Desk, campaign: Campaign, task: str, **sent: object) -> tuple[int, str]:
    fields = {name.replace("_at_", "[") + "]" if "_at_" in name else name: value
              for name, value in sent.items()}  # fmt: skip
    response = lab.browser.post("gold", fields, campaign=campaign.public_id, task=task)  # type: ignore[arg-type]
    return response.status_code, response.text


RANKS = {"rank_at_1": "1", "rank_at_2": "2", "rank_at_3": "2", "rank_at_4": "0"}


def order_on_the_page(lab: Desk, campaign: Campaign, task: str) -> list[int]:
    """Items in the order in which the page shows them, by their texts."""
    html = lab.browser.get("gold", campaign=campaign.public_id, task=task).text
    with lab.site.store.read() as connection:
        number = connection.execute(
            select(tasks.c.id).where(tasks.c.public_id == task)
        ).scalar_one()
        texts = campaigns.items_of(connection, number)
    return sorted(texts, key=lambda item: html.index(texts[item]))


def test_a_practice_task_is_answered_on_the_labelers_screen(lab: Desk) -> None:
    campaign = practice(lab)
    assert (
        f"/campaigns/{campaign.public_id}/gold"
        in lab.browser.get("campaign", campaign=campaign.public_id).text
    )
    first, second = listed(lab, campaign)
    order = order_on_the_page(lab, campaign, first)
    page = lab.browser.get("gold", campaign=campaign.public_id, task=first).text
    for secret in (*SECRET_MODELS, "secret-model"):
        assert secret not in page
    assert "data-rank" in page and "rank.js" in page

    flags = {"flag_at_1": ["violent", "sexual"], "none_apply_at_2": "1"}
    status, _ = give(lab, campaign, first, **RANKS, **flags)

    assert status == 303
    assert listed(lab, campaign) == [second]
    with lab.site.store.read() as connection:
        number = connection.execute(
            select(tasks.c.id).where(tasks.c.public_id == first)
        ).scalar_one()
        relations, said = figures.gold_of(connection, number)
        assert answer_keys.count_gold(connection, campaign) == 1
    best, tied, also, _ = order
    want = {(best, tied): 1, (best, also): 1, (tied, also): 0}
    assert relations == {
        (min(pair), max(pair)): sign if pair[0] < pair[1] else -sign for pair, sign in want.items()
    }
    assert {key for key, value in said.items() if value} == {(best, "violent"), (best, "sexual")}
    assert {item for item, _ in said} == {best, tied} and len(said) == 2 * len(TABLE_3_FLAGS)


def test_labelers_are_measured_by_it(lab: Desk) -> None:
    campaign = practice(lab, (2,))
    [task] = listed(lab, campaign)
    order = order_on_the_page(lab, campaign, task)
    assert give(lab, campaign, task, rank_at_1="1", rank_at_2="2")[0] == 303
    ann = lab.site.labeler("Ann", standing="pending")
    lab.rank(ann, campaign, [1 if order.index(item) == 0 else 2 for item in (1, 2)], likert=[4, 4])
    with lab.site.store.read() as connection:
        assert screened.all_measures(connection)[ann.id][1] == 1.0


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        ({}, "rank[1]"),
        ({"rank_at_1": "1"}, "rank[2] rank[3] rank[4]"),
        ({**RANKS, "rank_at_3": "9"}, "rank[3]"),
        ({**RANKS, "flag_at_2": "violent", "none_apply_at_2": "1"}, "flag[2]"),
        ({**RANKS, "flag_at_2": "no-such"}, "flag[2]"),
        ({f"rank_at_{at}": "0" for at in range(1, 5)}, "rank[1]"),
    ],
    ids=str,
)
def test_half_an_answer_is_told_and_kept_on_the_page(
    lab: Desk, sent: dict[str, object], wrong: str
) -> None:
    campaign = practice(lab)
    task = listed(lab, campaign)[0]

    status, html = give(lab, campaign, task, **sent)

    assert (status, errors_in(html)) == (422, set(wrong.split()))
    assert len(re.findall(r' name="rank\[\d\]" value="\d" checked', html)) == len(
        [value for name, value in sent.items() if name.startswith("rank") and value != "9"]
    )
    assert task in listed(lab, campaign)


def test_answers_are_given_once_and_to_what_nobody_has_seen(lab: Desk) -> None:
    training = lab.campaign([4, 4], gold_every=2)
    first, second = listed(lab, training)
    ann = lab.site.labeler("Ann")
    with lab.site.store.write() as connection:
        seen = queue.claim(connection, lab.site.clock.now, ann, training)
    assert seen is not None
    assert listed(lab, training) == [second]

    for task in (first, second, second):
        response = lab.browser.post(
            "gold",
            {name.replace("_at_", "[") + "]": value for name, value in RANKS.items()},
            campaign=training.public_id,
            task=task,
        )
        told = lab.browser.follow(response).text
        assert ("choose another" in told) == (
            task == first or (not listed(lab, training) and "are kept" not in told)
        )
    with lab.site.store.read() as connection:
        assert answer_keys.count_gold(connection, training) == 1
        assert campaigns.count_tasks(connection, training) == 2
    page = lab.browser.get("gold", campaign=training.public_id, task=second)
    assert "choose another" in lab.browser.follow(page).text


def test_evaluations_and_other_forms_have_no_right_answers(lab: Desk) -> None:
    blind = lab.campaign([2], form="compare", purpose="evaluation", cohort="any", split="test")
    ranked = lab.campaign([4], purpose="evaluation", cohort="any", split="test")
    demos = lab.campaign([1], form="demonstrate")
    closed = lab.campaign([4])
    with lab.site.store.write() as connection:
        oversight.pause(connection, lab.site.clock.now, lab.boss.public_id, closed)
    for one in (blind, ranked, demos, closed):
        assert lab.browser.get("gold_tasks", campaign=one.public_id).status_code == 404
        assert lab.browser.get("gold", campaign=one.public_id, task="x").status_code == 404
        assert "/gold" not in lab.browser.get("campaign", campaign=one.public_id).text


def test_a_task_of_another_campaign_is_not_there(lab: Desk) -> None:
    one, other = practice(lab), practice(lab)
    task = listed(lab, other)[0]

    assert lab.browser.get("gold", campaign=one.public_id, task=task).status_code == 404
    give(lab, one, task, **RANKS)

    assert task in listed(lab, other)


# --- grades -----------------------------------------------------------------------------------------------------


def test_demonstrations_are_graded_one_after_the_other_without_a_name(lab: Desk) -> None:
    campaign = lab.campaign(
        [1, 1], form="demonstrate", purpose="screening", cohort="any", overlap=9
    )
    ann = lab.site.labeler("Ann Onymous", standing="pending")
    assert "Nothing is left to grade" in lab.browser.get("grade").text
    for text in ("The first answer.", "The second answer."):
        lab.demonstrate(ann, campaign, text)
    assert "Grade 2 demonstrations" in lab.browser.get("labelers").text

    html = lab.browser.get("grade").text
    assert "The first answer." in html and "2 are left." in html and "Ann" not in html
    found = re.search(r'name="submission" value="([^"]+)"', html)
    assert found is not None
    first = found[1]
    for score in ("", "0", "8", "6.5", "six"):
        response = lab.browser.post("grade", {"submission": first, "score": score})
        assert (response.status_code, errors_in(response.text)) == (422, {"score"})
        assert "The first answer." in response.text
    response = lab.browser.post("grade", {"submission": first, "score": "6"})
    html = lab.browser.follow(response).text
    assert "The second answer." in html and "1 is left." in html

    again = lab.browser.post("grade", {"submission": first, "score": "2"})
    assert "graded or replaced meanwhile" in lab.browser.follow(again).text
    with lab.site.store.read() as connection:
        assert connection.execute(select(grades.c.score)).scalars().all() == [6]
        assert screened.all_measures(connection)[ann.id][2] == 6.0
