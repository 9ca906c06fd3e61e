"""How the work goes: figures, charts and what wants a look."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignloop.store import queue
from tests.labeling.client import DAY, HOUR
from tests.labeling.research import Desk, cells, desk, figure


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def page(lab: Desk, **query: str) -> str:
    response = lab.browser.get("overview", **query)
    assert response.status_code == 200
    return response.text


def alerts(html: str) -> dict[str, str]:
    """Words of each alert -> where it leads."""
    listed = html.partition('<ul class="alerts"')[2].partition("</ul>")[0]
    return {words: link for link, words in re.findall(r'<a href="([^"]+)">([^<]+)</a>', listed)}


def later(lab: Desk, milliseconds: int) -> None:
    lab.site.clock.pass_(milliseconds)
    lab.browser = lab.site.sign_in(lab.boss)


def test_an_empty_project_has_an_overview(lab: Desk) -> None:
    html = page(lab)

    assert figure(html, "Labels today") == "0"
    assert figure(html, "Agreement") == "–" and figure(html, "Cost per label") == "–"
    assert alerts(html) == {}
    assert "No campaigns." in html


def test_labels_queue_people_hours_and_cost(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    lab.site.labeler("Bob")
    one = lab.campaign([4] * 12, price_per_hour=3600, currency="EUR")
    lab.rank(ann, one, [1, 2, 3, 4], seconds=3600)
    later(lab, 8 * DAY)
    for _ in range(2):
        lab.rank(ann, one, [1, 2, 3, 4], seconds=900)
    later(lab, DAY)
    lab.rank(ann, one, [1, 2, 3, 4], seconds=900)
    lab.site.sign_in(ann)

    week, every = page(lab, period="7d"), page(lab, period="all")

    assert figure(week, "Labels today") == "1"
    assert figure(week, "Labels in 7 days") == "3"
    assert figure(week, "Waiting in queues") == "8"
    assert figure(week, "Labelers at work") == "1 / 2"
    assert figure(week, "Paid hours") == "45 min" and figure(every, "Paid hours") == "1.8 h"
    assert figure(week, "Cost") == "EUR 27.00" and figure(every, "Cost") == "EUR 63.00"
    assert (
        figure(week, "Cost per label") == "EUR 9.00"
        and figure(every, "Cost per label") == "EUR 15.75"
    )
    assert cells(week, one.name)[2].endswith("4 / 12")


def test_several_currencies_are_not_added_up(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    for currency in ("USD", "EUR"):
        lab.rank(
            ann,
            lab.campaign([4], price_per_hour=3600, currency=currency),
            [1, 2, 3, 4],
            seconds=100,
        )

    html = page(lab)

    assert figure(html, "Cost") == "EUR 1.00 + USD 1.00"
    assert figure(html, "Cost per label") == "–"


def test_agreement_with_its_interval_beside_the_papers(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    one = lab.campaign([4] * 10, overlap=2)
    for number in range(10):
        lab.rank(ann, one, [1, 2, 3, 4])
        lab.rank(bob, one, [1, 2, 3, 4] if number % 2 else [2, 1, 3, 4])

    html = page(lab)

    assert re.fullmatch(r"91\.7% \(\d+\.\d to \d+\.\d\)", figure(html, "Agreement"))
    assert "paper: 72.6 ± 1.5%" in html
    assert cells(html, one.name)[5].startswith("91.7%")


def test_the_charts_show_each_day(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    one = lab.campaign([4] * 6, overlap=2)
    for count in (2, 3):
        for _ in range(count):
            lab.rank(ann, one, [1, 2, 3, 4])
            lab.rank(bob, one, [1, 2, 4, 3])
        later(lab, DAY)

    html = page(lab, period="7d")

    tables = [re.findall(r"<tr><th scope='row'>(.*?)</th><td class='number'>(.*?)</td>", table) for table in
              re.findall(r"<table><thead>.*?</table>", html, re.DOTALL)]  # fmt: skip
    labels, waiting = tables[:2]
    days = ["01-10", "01-11", "01-12", "01-13", "01-14", "01-15", "01-16", "01-17"][-7:]
    assert [day for day, _ in labels] == days
    assert [count for _, count in labels][-3:] == ["4", "6", "0"]
    assert [count for _, count in waiting][-4:] == ["12", "8", "2", "2"]


def test_the_trend_is_by_week_and_leaves_weeks_of_few_pairs_out(lab: Desk) -> None:
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    one = lab.campaign([4] * 8, overlap=2)

    def rank(count: int) -> None:
        for _ in range(count):
            lab.rank(ann, one, [1, 2, 3, 4])
            lab.rank(bob, one, [1, 2, 4, 3])

    rank(2)  # 12 pairs
    later(lab, 7 * DAY)
    rank(5)  # 30 pairs
    later(lab, 7 * DAY)

    html = page(lab, period="30d")

    caption = html.rindex("<figure")
    assert "By week; weeks with fewer than 30 pairs" in html[caption:]
    trend = re.findall(
        r"<tr><th scope='row'>(.*?)</th><td class='number'>(.*?)</td>", html[caption:], re.DOTALL
    )
    # Weeks begin on Thursdays, as 1970 did; the clock of the tests begins on Friday, 15 January.
    assert trend[-3:] == [("01-14", "–"), ("01-21", "83%"), ("01-28", "–")]


def test_no_chart_has_more_bars_than_fit(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    one = lab.campaign([4, 4])
    lab.rank(ann, one, [1, 2, 3, 4])
    later(lab, 1000 * DAY)
    lab.rank(ann, one, [1, 2, 3, 4])

    html = page(lab, period="all")

    assert html.count('class="bar"') <= 61
    assert page(lab, period="30d").count('class="bar"') == 30


# --- what wants a look ------------------------------------------------------------------------------------------


def test_tasks_that_were_skipped_often(lab: Desk) -> None:
    one = lab.campaign([4] * 3)
    for _ in range(3):
        lab.skip(one, "unclear")

    assert alerts(page(lab))["1 task was skipped three times"] == f"/campaigns/{one.public_id}"


def test_leases_that_ran_out_and_work_that_came_late(lab: Desk) -> None:
    ann, bob, one = lab.site.labeler("Ann"), lab.site.labeler("Bob"), lab.campaign([4])
    with lab.site.store.write() as connection:
        slow = queue.claim(connection, lab.site.clock.now, ann, one)
    assert slow is not None
    later(lab, 2 * HOUR)
    assert "1 lease ran out today" in alerts(page(lab))

    lab.rank(bob, one, [1, 2, 3, 4])
    lab.bench.rank(ann, slow, [4, 3, 2, 1], after=2 * HOUR)

    found = alerts(page(lab))
    assert found["1 surplus submission"] == f"/campaigns/{one.public_id}"
    assert "1 lease ran out today" not in found
    html = lab.browser.get("campaign", campaign=one.public_id).text
    assert re.search(r"<dt>Surplus</dt><dd>1</dd>", html)


def test_queues_that_are_nearly_empty(lab: Desk) -> None:
    ann = lab.site.labeler("Ann")
    one = lab.campaign([4] * 12)
    assert alerts(page(lab)) == {}
    for _ in range(11):
        lab.rank(ann, one, [1, 2, 3, 4])

    assert alerts(page(lab)) == {"1 queue is nearly empty": f"/campaigns/{one.public_id}"}


def test_a_labeler_who_does_not_agree_any_more(lab: Desk) -> None:
    users = [lab.site.labeler(name) for name in ("Ann", "Bob", "Cyd")]
    for ranks in ([1, 2, 3, 4], [4, 3, 2, 1]):
        one = lab.campaign([4] * 15, overlap=3)
        for _ in range(15):
            for user in users:
                lab.rank(user, one, ranks if user.name == "Cyd" else [1, 2, 3, 4])
        later(lab, 20 * DAY)
    lab.site.clock.now -= 20 * DAY
    lab.browser = lab.site.sign_in(lab.boss)

    found = alerts(page(lab))

    assert any("dropped" in words for words in found)
