"""What several of the researchers' pages show alike: campaigns in a list, names of states, days on an axis, pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, cast, get_args

from sqlalchemy import Connection

from alignloop.labeling.app import charts
from alignloop.labeling.app.access import Ask
from alignloop.labeling.app.i18n import catalogue
from alignloop.labeling.app.known import Known, Money, estimate
from alignloop.labeling.app.pages.common import (
    Estimate,
    Option,
    Paging,
    Passage,
    Turn,
)
from alignloop.labeling.app.pages.researcher import CampaignRow, Chart, Period
from alignloop.labeling.app.render import money
from alignloop.labeling.app.routes.home import KINDS
from alignloop.labeling.app.tasks import turns_of_prompt
from alignloop.store import campaigns, oversight
from alignloop.store.campaigns import Campaign
from alignloop.store.people import DAY
from alignloop.web.i18n import Catalogue

COHORTS: Mapping[str, str] = {
    "training": "train",
    "heldout": "heldout",
    "any": "pilot",
    "users": "users",
}
"""Cohort in the store -> what the face calls it."""
PAPER = ("Ouyang et al.", 0.726)
"""The paper's agreement of training labelers, to compare with."""
MOST_BARS = 60


def kind_of(campaign: Campaign) -> str:
    """What the face calls a campaign's form."""
    return KINDS[campaign.form]


def campaign_rows(
    known: Known, connection: Connection, found: Sequence[Campaign]
) -> tuple[CampaignRow, ...]:
    """Campaigns for a list."""
    progress = oversight.progress_of_all(connection)
    pays = known.pay(list(found))
    rows: list[CampaignRow] = []
    for one in found:
        there = progress.get(one.id)
        pay = pays.get(one.id)
        rows.append(
            CampaignRow(
                id=one.public_id,
                title=one.name,
                kind=cast(Any, kind_of(one)),
                state=one.phase,
                done=there.done if there else 0,
                wanted=there.wanted if there else 0,
                overlap=one.overlap,
                k_range=(one.k_min, one.k_max) if one.form in ("rank", "toxicity") else None,
                agreement=agreement_in(known, one),
                cost=pay.amounts[0] if pay and pay.amounts else None,
                purpose=one.purpose,
                cohort=cast(Any, COHORTS[one.cohort]),
            )
        )
    return tuple(rows)


def agreement_in(known: Known, campaign: Campaign) -> Estimate | None:
    """How far labelers agree in a campaign that asks for an order."""
    if campaign.form not in ("rank", "compare"):
        return None
    return estimate(known.agreement(campaign).strict)


def campaign_options(connection: Connection, forms: Sequence[str] = ()) -> tuple[Option, ...]:
    """Campaigns to choose from, newest first."""
    return tuple(
        Option(one.public_id, one.name)
        for one in campaigns.all_campaigns(connection)
        if not forms or one.form in forms
    )


def chosen_campaign(connection: Connection, public_id: str) -> Campaign | None:
    """The campaign of a query; None where all are meant.

    Raises:
        JudgmentError: there is none with this id.
    """
    return campaigns.get_campaign(connection, public_id=public_id) if public_id else None


def prompt_of(row: Any) -> tuple[Turn, ...]:
    """The conversation of a task; nothing where a prompt was to be written."""
    return () if row.prompt_id is None else turns_of_prompt(row)


def plain(text: str) -> Passage:
    """A text of our own people's."""
    return Passage(text)


# --- periods and charts -----------------------------------------------------------------------------------------


def period_of(ask: Ask, default: Period = "30d") -> Period:
    """The query `period`."""
    asked = ask.query("period")
    return cast(Period, asked) if asked in get_args(Period) else default


def first_day(ask: Ask, period: Period) -> int:
    """The first whole day of a period, in days since 1970; 0 for all time."""
    days = {"7d": 7, "30d": 30}.get(period)
    return 0 if days is None else ask.now // DAY - days + 1


def words_of(ask: Ask) -> Catalogue:
    """The words of the reader's language."""
    return catalogue(ask.locale)


def stretch(first: int, last: int) -> int:
    """Days per bar, so that no chart has more bars than fit."""
    return max(1, -(-(last - first + 1) // MOST_BARS))


def stretches(first: int, last: int) -> list[int]:
    """The first day of every bar, on whole multiples, so that bars stay what they are from day to day."""
    days = stretch(first, last)
    return list(range(first // days * days, last + 1, days))


def day_label(day: int) -> str:
    """A day on an axis."""
    return (date(1970, 1, 1) + timedelta(days=day)).strftime("%m-%d")


def bars_by_day(ask: Ask, title: str, counts: Mapping[int, float], first: int) -> Chart:
    """Counts by day, from a day (0: from the first that has any) until today."""
    words, last = words_of(ask), ask.now // DAY
    first = first or min(counts, default=last)
    days = stretch(first, last)
    sums = dict.fromkeys(stretches(first, last), 0.0)
    for day, count in counts.items():
        if (start := day // days * days) in sums and day >= first:
            sums[start] += count
    bars = [(day_label(day), count) for day, count in sums.items()]
    label = words.sentence("table.day")
    return Chart(title, charts.bar_chart(title, bars, charts.chart_words(words), label=label))


def agreement_by_person(
    ask: Ask, rows: Sequence[tuple[str, Estimate]], most: int = 40
) -> Chart | None:
    """Agreement of each labeler, the highest first, beside the paper's; None where there is nothing to show."""
    if not rows:
        return None
    words = words_of(ask)
    title = words.sentence("table.agreement")
    ordered = sorted(rows, key=lambda row: -row[1].value)[:most]
    svg = charts.interval_chart(
        title,
        ordered,
        charts.chart_words(words),
        label=words.sentence("table.labeler"),
        references=[PAPER],
    )
    return Chart(title, svg, words.sentence("chart.intervals"))


def written_out(amounts: Sequence[Money]) -> str:
    """Amounts of money, one per currency."""
    return " + ".join(money(amount, currency) for amount, currency in amounts) or "–"


# --- pages -------------------------------------------------------------------------------------------


def page_number(ask: Ask) -> int:
    """The query `page`, from 1."""
    asked = ask.query("page", "1")
    return max(int(asked), 1) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1


def paging(ask: Ask, total: int, per_page: int) -> Paging:
    """Where in a list the request is; beyond its end is its last page."""
    pages = max(1, -(-total // per_page))
    return Paging(min(page_number(ask), pages), pages)
