"""Disagreements and their decisions, agreement, and what labels cost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from alignloop.labeling.config import ExportConfig
from alignloop.labeling.export import each_export
from alignloop.store import campaigns, drafts, people, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.people import User
from alignloop.store.schema import adjudications, tasks
from tests.labeling.client import DAY
from tests.labeling.research import Desk, cells, desk, errors_in, figure


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def ranked(
    lab: Desk,
    *rankings: Sequence[int | None],
    names: str = "Ann Bob Cyd",
    comment: str = "",
    **given: object,
) -> str:
    """A task of a campaign of its own that several ranked; its public id."""
    users = [_labeler(lab, name) for name in names.split()[: len(rankings)]]
    campaign = lab.campaign([len(rankings[0])], overlap=len(rankings), k=(2, 9), **given)
    for user, ranks in zip(users, rankings, strict=True):
        task = lab.rank(user, campaign, ranks, comment=comment)
    return task


def _labeler(lab: Desk, name: str) -> User:

    with lab.site.store.read() as connection:
        found = people.find_user(connection, email=f"{name.lower()}@example.org")
    return found or lab.site.labeler(name)


def open_page(lab: Desk, task: str) -> str:
    response = lab.browser.get("adjudicate", task=task)
    assert response.status_code == 200
    return response.text


def shown_order(lab: Desk, html: str, task: str) -> list[int]:
    """Items in the order in which a page shows their texts."""
    with lab.site.store.read() as connection:
        task_id = connection.execute(
            select(tasks.c.id).where(tasks.c.public_id == task)
        ).scalar_one()
        texts = campaigns.items_of(connection, task_id)
    return sorted(texts, key=lambda item: html.index(f">{texts[item]}<"))


def decisions(lab: Desk) -> list[tuple[object, ...]]:
    with lab.site.store.read() as connection:
        rows = connection.execute(select(adjudications).order_by(adjudications.c.id)).all()
        return [(row.outcome, row.rank_groups, row.reason, row.note) for row in rows]


# --- disagreements ----------------------------------------------------------------------------------------------


def test_the_most_contested_come_first_and_the_agreed_not_at_all(lab: Desk) -> None:
    agreed = ranked(lab, [1, 2, 3, 4], [1, 2, 3, 4])
    ties = ranked(lab, [1, 2, 3, 4], [1, 1, 1, 1])
    opposed = ranked(lab, [1, 2, 3, 4], [4, 3, 2, 1])
    swapped = ranked(lab, [1, 2, 3, 4], [2, 1, 3, 4])
    alone = ranked(lab, [1, 2, 3, 4])

    html = lab.browser.get("disagreements").text

    places = [html.index(task) for task in (opposed, swapped, ties)]
    assert places == sorted(places)
    assert agreed not in html and alone not in html
    assert "2 rankings of 4 outputs; 6 of 6 pairs contested; 0% agreement" in html
    assert "2 rankings of 4 outputs; 1 of 6 pairs contested; 83% agreement" in html


def test_training_alone_is_adjudicated(lab: Desk) -> None:
    practice = ranked(lab, [1, 2, 3, 4], [4, 3, 2, 1], purpose="practice", cohort="any")
    evaluation = ranked(
        lab, [1, 2, 3, 4], [4, 3, 2, 1], purpose="evaluation", cohort="any", split="test"
    )
    alone = ranked(lab, [1, 2, 3, 4])

    html = lab.browser.get("disagreements").text

    for task in (practice, evaluation, alone, "nothing"):
        assert task not in html
        assert lab.browser.get("adjudicate", task=task).status_code == 404
        sent = {"choice": "ambiguous", "reason": "taste"}
        assert lab.browser.post("adjudicate", sent, task=task).status_code == 404
    assert decisions(lab) == []


def test_twenty_on_a_page(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    campaign = lab.campaign([2] * 45, k=(2, 2), overlap=2)
    for _ in range(45):
        lab.rank(ann, campaign, [1, 2])
        lab.rank(bob, campaign, [2, 1])

    pages = [lab.browser.get("disagreements", page=page).text for page in (1, 2, 3)]

    found = [re.findall(r'href="/disagreements/([\w-]+)"', page) for page in pages]
    assert [len(one) for one in found] == [20, 20, 5]
    assert len({task for one in found for task in one}) == 45
    assert "Page 2 of 3" in pages[1]
    for beyond in ("9", "0", "-1", "x", "9" * 30):
        assert lab.browser.get("disagreements", page=beyond).status_code == 200


def places(digits: str) -> dict[str, str]:
    """What a form says about the outputs' places."""
    return {f"rank[{at}]": digit for at, digit in enumerate(digits, start=1)}


# --- deciding ---------------------------------------------------------------------------------------------------


def test_rankings_are_anonymous_and_in_an_order_of_the_readers_own(lab: Desk) -> None:
    task = ranked(lab, [1, 2, 3, None], [3, 2, 1, 4], comment="Hard to say.")

    html = open_page(lab, task)

    main = html[html.index("<main") :]
    for name in ("Ann", "Bob", "example.org", "secret-model"):
        assert name not in main
    assert "Hard to say." in main
    assert main.count("Ranking 1") >= 1 and "Not rankable" in main
    other = lab.site.sign_in(lab.site.researcher("Other")).get("adjudicate", task=task).text
    orders = {tuple(shown_order(lab, page, task)) for page in (html, other)}
    assert shown_order(lab, open_page(lab, task), task) == shown_order(lab, html, task)
    assert len(orders) in (1, 2)


def test_contested_pairs_are_counted_by_letters(lab: Desk) -> None:
    task = ranked(lab, [1, 2, 3], [2, 1, 3], [1, 1, 2])
    html = open_page(lab, task)
    order = shown_order(lab, html, task)
    letter = {item: "ABC"[at] for at, item in enumerate(order)}
    first, second = sorted((letter[1], letter[2]))

    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", html, re.DOTALL)
    [row] = [" ".join(re.sub(r"<[^>]+>|\(contested\)", " ", row).split()) for row in rows]

    assert row == f"{first} {second} 1 1 1"


def accepted_by(html: str, places: Sequence[int]) -> str:
    """The id of the ranking whose ranks, output by output as they are shown, are these."""
    articles = re.findall(
        r"<article class=\"card\"><h3>(Ranking \d+)</h3>(.*?)</article>", html, re.DOTALL
    )
    radios = dict(
        (title, value)
        for value, title in re.findall(
            r'name="accepted" value="([^"]+)"[^>]*><span>(Ranking \d+)</span>', html
        )
    )
    for title, body in articles:
        ranks: dict[str, int] = {}
        for number, line in enumerate(re.findall(r"<li>(.*?)</li>", body, re.DOTALL), start=1):
            for name in re.findall(r"chip-still[^>]*>([A-I])", line):
                ranks[name] = number
        if [ranks[name] for name in sorted(ranks)] == list(places):
            return radios[title]
    raise AssertionError("no such ranking")


def test_one_of_the_rankings_is_accepted(lab: Desk) -> None:
    task = ranked(lab, [1, 2, 3, 4], [4, 3, 2, 1])
    html = open_page(lab, task)
    order = shown_order(lab, html, task)
    chosen = accepted_by(html, [5 - item for item in order])  # the second one's

    response = lab.browser.post(
        "adjudicate",
        {
            "choice": "accept",
            "accepted": chosen,
            "reason": "slip",
            "note": "The first one is upside down.",
        },
        task=task,
    )

    assert (response.status_code, response.headers["location"]) == (303, "/disagreements")
    assert decisions(lab) == [("accepted", None, "slip", "The first one is upside down.")]
    with lab.site.store.read() as connection:
        [record] = [one.record for one in each_export(connection, ExportConfig(kind="rankings"))]
    assert record.ranks == (4, 3, 2, 1)  # type: ignore[union-attr]
    assert task not in lab.browser.get("disagreements").text
    done = lab.browser.get("disagreements", decided=1).text
    assert task in done
    again = open_page(lab, task)
    assert f'value="{chosen}" checked' in again
    assert 'value="accept" required checked' in again and "upside down" in again


def test_ones_own_ranking_is_kept_item_by_item(lab: Desk) -> None:
    task = ranked(lab, [1, 2, 3, 4], [4, 3, 2, 1])
    order = shown_order(lab, open_page(lab, task), task)
    wanted = {
        1: 0,
        2: 5 % 4,
        3: 4,
        4: 4,
    }  # the first is not rankable, the last two are tied; with a gap
    sent = {f"rank[{at}]": str(wanted[item]) for at, item in enumerate(order, start=1)}

    response = lab.browser.post(
        "adjudicate", {"choice": "own", "reason": "guideline_gap", **sent}, task=task
    )

    assert response.status_code == 303, errors_in(response.text)
    assert decisions(lab) == [("own", [None, 1, 2, 2], "guideline_gap", "")]
    with lab.site.store.read() as connection:
        [record] = [one.record for one in each_export(connection, ExportConfig(kind="rankings"))]
    assert (record.ranks, record.labeler) == ((1, 2, 2), "Boss")  # type: ignore[union-attr]
    again = open_page(lab, task)
    chosen = dict(re.findall(r'name="rank\[(\d)\]".*?<option value="(\d)" selected', again))
    assert {order[int(at) - 1]: int(place) for at, place in chosen.items()} == {
        1: 0,
        2: 1,
        3: 2,
        4: 2,
    }


def test_an_ambiguous_task_keeps_all_rankings(lab: Desk) -> None:
    task = ranked(lab, [1, 2, 3, 4], [4, 3, 2, 1])

    lab.browser.post("adjudicate", {"choice": "ambiguous", "reason": "taste"}, task=task)

    with lab.site.store.read() as connection:
        assert len(list(each_export(connection, ExportConfig(kind="rankings")))) == 2
    assert decisions(lab) == [("ambiguous", None, "taste", "")]


def test_a_task_is_decided_again_and_the_last_one_counts(lab: Desk) -> None:
    task = ranked(lab, [1, 2, 3, 4], [4, 3, 2, 1])
    for reason in ("taste", "slip"):
        lab.browser.post("adjudicate", {"choice": "ambiguous", "reason": reason}, task=task)

    assert [row[2] for row in decisions(lab)] == ["taste", "slip"]
    assert lab.browser.get("disagreements", decided=1).text.count(f"/disagreements/{task}") == 1


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        ({}, "choice reason"),
        ({"choice": "toss", "reason": "taste"}, "choice"),
        ({"choice": "ambiguous", "reason": "weather"}, "reason"),
        ({"choice": "accept", "reason": "slip"}, "accepted"),
        ({"choice": "accept", "reason": "slip", "accepted": "nothing"}, "accepted"),
        ({"choice": "own", "reason": "slip"}, "rank[1] rank[2] rank[3] rank[4]"),
        ({"choice": "own", "reason": "slip", **places("1923")}, "rank[2]"),
        ({"choice": "own", "reason": "slip", **places("1000")}, "rank[1]"),
        ({"choice": "ambiguous", "reason": "taste", "note": "x" * 4001}, "note"),
    ],
    ids=str,
)
def test_a_wrong_decision_is_told_and_what_was_typed_is_kept(
    lab: Desk, sent: dict[str, str], wrong: str
) -> None:
    task = ranked(lab, [1, 2, 3, 4], [4, 3, 2, 1])

    response = lab.browser.post("adjudicate", {"note": "My reasons", **sent}, task=task)

    assert (response.status_code, errors_in(response.text)) == (422, set(wrong.split()))
    assert decisions(lab) == []
    if "note" not in sent:
        assert "My reasons" in response.text
    if sent.get("rank[1]") == "1":
        assert re.search(r'name="rank\[1\]".*?<option value="1" selected', response.text)


def test_a_ranking_of_another_task_is_not_accepted(lab: Desk) -> None:
    task = ranked(lab, [1, 2, 3, 4], [4, 3, 2, 1])
    other = ranked(lab, [1, 2, 3, 4], [4, 3, 2, 1])
    [theirs, _] = re.findall(r'name="accepted" value="([^"]+)"', open_page(lab, other))

    response = lab.browser.post(
        "adjudicate", {"choice": "accept", "reason": "slip", "accepted": theirs}, task=task
    )

    assert (response.status_code, errors_in(response.text)) == (422, {"accepted"})


# --- agreement --------------------------------------------------------------------------------------------------


def test_agreement_by_cohort_k_and_distance(lab: Desk) -> None:
    users = [lab.site.labeler(name) for name in ("Ann", "Bob")]
    held = [lab.site.labeler(name, cohort="heldout") for name in ("Hal", "Hed")]
    training = lab.campaign([3] * 8, k=(3, 3), overlap=2)
    evaluation = lab.campaign(
        [2] * 8, form="compare", purpose="evaluation", cohort="heldout", split="test", overlap=2
    )
    for _ in range(8):
        lab.rank(users[0], training, [1, 2, 3])
        lab.rank(users[1], training, [2, 1, 3])  # two of three pairs alike
        lab.vote(held[0], evaluation, "item_1")
        lab.vote(held[1], evaluation, "item_1")

    html = lab.browser.get("agreement").text

    assert figure(html, "Training labelers").startswith("66.7%")
    assert figure(html, "Held-out labelers").startswith("100.0%")
    assert cells(html, "3")[1].startswith("66.7%")
    assert cells(html, "2")[1].startswith("100.0%")
    only = lab.browser.get("agreement", campaign=training.public_id).text
    assert figure(only, "Held-out labelers") == "–"
    assert figure(only, "With ties").startswith("66.7%")
    assert f'<option value="{training.public_id}" selected' in only


def test_agreement_by_period(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    campaign = lab.campaign([3] * 4, k=(3, 3), overlap=2)
    for ranks in ([3, 2, 1], [1, 2, 3]):
        for _ in range(2):
            lab.rank(ann, campaign, [1, 2, 3])
            lab.rank(bob, campaign, ranks)
        lab.site.clock.pass_(10 * DAY)
    lab.browser = lab.site.sign_in(lab.boss)

    values = {
        period: figure(lab.browser.get("agreement", period=period).text, "Training labelers")[:5]
        for period in ("7d", "30d", "all", "nonsense")
    }

    assert values == {"7d": "–", "30d": "50.0%", "all": "50.0%", "nonsense": "50.0%"}


def test_grades_and_flags(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    campaign = lab.campaign([4] * 6, overlap=2, asks_ratings=True)
    for _ in range(6):
        lab.rank(ann, campaign, [1, 2, 3, 4], likert=[7, 5, 3, 1], flags={"violent": True})
        lab.rank(bob, campaign, [1, 2, 3, 4], likert=[7, 5, 3, 1], flags={"moral": True})

    html = lab.browser.get("agreement").text

    assert figure(html, "Alpha of the grades").startswith("1.00")
    assert figure(html, "Alpha of the pairs").startswith("1.00")
    violent = cells(html, "Contains violent content")
    assert violent[1:3] == ["50.0%", "0.0%"]
    assert violent[4] == "48"
    assert cells(html, "Hallucination")[1:4] == ["0.0%", "–", "undefined: no variance"]


def test_an_output_that_is_not_rankable_leaves_its_ranking_out(lab: Desk) -> None:
    ranked(lab, [1, 2, 3, None], [1, 2, 3, 4])

    assert figure(lab.browser.get("agreement").text, "Training labelers") == "–"


def test_nothing_is_made_up_where_nobody_has_judged(lab: Desk) -> None:
    html = lab.browser.get("agreement").text

    assert figure(html, "Training labelers") == "–"
    assert figure(html, "Alpha of the grades") == "undefined: no variance"
    assert lab.browser.get("agreement", campaign="nothing").status_code == 404


def test_a_new_judgment_is_seen_at_once(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    for verdict, expected in (([1, 2], "100.0%"), ([2, 1], "50.0%")):
        campaign = lab.campaign([2] * 3, k=(2, 2), overlap=2)
        for _ in range(3):
            lab.rank(ann, campaign, [1, 2])
            lab.rank(bob, campaign, verdict)
        html = lab.browser.get("agreement").text
        assert figure(html, "Training labelers").startswith(expected)
        assert lab.browser.get("agreement").text.count(expected) == html.count(expected)


# --- economics --------------------------------------------------------------------------------------------------


def priced(lab: Desk, sizes: list[int], **given: object) -> Campaign:
    return lab.campaign(sizes, k=(4, 9), price_per_hour=3600, currency="EUR", **given)


def test_what_k_costs(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    campaign = priced(lab, [4, 4, 4, 9, 9, 9])
    for number in range(3):
        lab.rank(ann, campaign, [1, 2, 3, 3], seconds=[60, 30, 90][number])
    for number in range(3):
        lab.rank(ann, campaign, [*range(1, 10)], seconds=[90, 120, 150][number])

    html = lab.browser.get("economics").text

    four, nine = cells(html, "4"), cells(html, "9")
    assert four[1:4] == ["3", "6", "6.23"] and nine[1:4] == ["3", "36", "22.76"]
    assert four[4].startswith("1.0") and nine[4].startswith("2.0")
    assert (four[5], nine[5]) == ("300", "1,080")  # 15 pairs in 180 s, 108 in 360 s
    assert (four[7], nine[7]) == ("EUR 0.12", "EUR 0.03")  # at 36 an hour
    assert four[9] == "16.7%"
    assert "The largest K takes 2.00 times as long as the smallest." in html
    assert "6.00" in html and "3.65" in html
    assert html.count("it pays.") == 2


def test_paid_time_of_what_is_left_out_elsewhere_is_in_the_cost(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    campaign = priced(lab, [4, 4, 4])
    lab.rank(ann, campaign, [1, 2, 3, 4], seconds=60)  # 6 pairs
    lab.rank(ann, campaign, [1, 1, 2, None], seconds=60)  # 2 pairs, a tie, and an output apart
    html = lab.browser.get("economics").text
    four = cells(html, "4")
    assert (four[1], four[5], four[7]) == (
        "2",
        "240",
        "EUR 0.15",
    )  # 8 pairs in 120 s, 1.20 at 36 an hour
    assert "1 ranking has outputs that are not rankable" in html and "Intervals: " in html
    assert (
        "1 ranking with outputs that are not rankable is left out"
        in lab.browser.get("agreement").text
    )

    with lab.site.store.write() as connection:
        task = queue.claim(connection, lab.site.clock.now, bob, campaign)
        assert task is not None
        payload = {"fields": {}, "visits": {}}
        now = lab.site.clock.now
        drafts.save_draft(connection, now, bob, task.public_id, payload, rev=0, active_ms=60_000)
        queue.skip(connection, now, bob, task.public_id, "unclear")

    html = lab.browser.get("economics").text
    four = cells(html, "4")
    assert (four[1], four[5], four[7]) == ("2", "240", "EUR 0.22")  # 60 s more: 1.80 for 8 pairs
    assert "1 task was skipped after 1 minute" in html or "1 task was skipped after 1 min" in html
    page = lab.browser.get("campaign", campaign=campaign.public_id).text
    assert figure(page, "Cost") == "EUR 1.80"


def test_one_labelers_figures(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    campaign = priced(lab, [4, 4])
    lab.rank(ann, campaign, [1, 2, 3, 4], seconds=30)
    lab.rank(bob, campaign, [1, 2, 3, 4], seconds=90)

    def pairs_per_hour(**query: str) -> str:
        return cells(lab.browser.get("economics", **query).text, "4")[5]

    assert pairs_per_hour() == "360"
    assert pairs_per_hour(labeler=ann.public_id) == "720"
    assert pairs_per_hour(labeler=bob.public_id) == "240"
    assert lab.browser.get("economics", labeler="nobody").status_code == 404


def test_a_demonstration_beside_a_ranking(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    rankings = priced(lab, [4, 4])
    demonstrations = lab.campaign([1, 1], form="demonstrate", price_per_hour=7200, currency="EUR")
    for _ in range(2):
        lab.rank(ann, rankings, [1, 2, 3, 4], seconds=60)
        lab.demonstrate(ann, demonstrations, "Here you are.", seconds=600)

    lab.rank(ann, priced(lab, [4]), [1, 2, 3, 4], seconds=120)
    more = lab.campaign([1], form="demonstrate", price_per_hour=7200, currency="EUR")
    lab.demonstrate(ann, more, "There you go.", seconds=300)
    html = lab.browser.get("economics").text
    assert "Cost, EUR" in html
    assert cells(html, "Demonstrations")[1] == "10.00"  # 500 s at 72 an hour
    assert cells(html, "Rankings")[1] == "0.80"  # 80 s at 36 an hour
    assert cells(html, "Pairs")[1] == "0.13"


def test_without_a_price_there_is_no_cost(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    lab.rank(ann, lab.campaign([4]), [1, 2, 3, 4], seconds=60)

    assert cells(lab.browser.get("economics").text, "4")[7] == "–"


def test_the_calculator(lab: Desk) -> None:
    html = lab.browser.get("economics", read_s="22", item_s="2").text
    assert cells(html, "4") == ["4", "720"] and cells(html, "9") == ["9", "3,240"]
    for read_s, item_s in (("0", "0"), ("-5", "x"), ("nan", "inf"), ("1e400", "")):
        assert lab.browser.get("economics", read_s=read_s, item_s=item_s).status_code == 200
