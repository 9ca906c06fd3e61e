"""How the work goes, on one page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from sqlalchemy import Connection
from starlette.responses import Response

from alignloop.labeling import judged
from alignloop.labeling.app import charts, shown
from alignloop.labeling.app.access import Access, Ask, Routes
from alignloop.labeling.app.known import Known, estimate, total
from alignloop.labeling.app.pages.researcher import Alert, Chart, Figure, OverviewPage
from alignloop.labeling.app.paths import path_to
from alignloop.labeling.app.render import hours, interval, money, number
from alignloop.store import campaigns, figures, oversight
from alignloop.store.campaigns import Campaign
from alignloop.store.people import DAY

routes = Routes()

_WEEK = 7
_SHORT = 0.1
"""A queue with less than this share of its labels left is nearly empty."""


@routes.get("overview", Access.RESEARCHER)
def overview(ask: Ask) -> Response:
    """Throughput, queues, people, cost and agreement, and what wants a look."""
    period = shown.period_of(ask)
    first = shown.first_day(ask, period)
    with ask.lab.store.read() as connection:
        known = Known(ask, connection)
        every = campaigns.all_campaigns(connection)
        waiting = figures.waiting(connection, ask.now)
        is_open = [one for one in every if one.state == "open"]
        page = OverviewPage(
            period=period,
            figures=_figures(ask, connection, known, every, waiting, first),
            charts=_charts(ask, known, is_open, waiting, first),
            campaigns=shown.campaign_rows(known, connection, is_open),
            alerts=_alerts(ask, connection, known, is_open, waiting),
        )
    return ask.show(page)


# --- inside -----------------------------------------------------------------------------------------------------


def _figures(
    ask: Ask,
    connection: Connection,
    known: Known,
    every: list[Campaign],
    waiting: Mapping[int, int],
    first: int,
) -> tuple[Figure, ...]:
    words, today = shown.words_of(ask), ask.now // DAY
    labels: dict[int, int] = defaultdict(int)
    for row in known.work():
        labels[row.day] += row.labels
    week = sum(count for day, count in labels.items() if day > today - 7)
    in_period = sum(count for day, count in labels.items() if day >= first)
    pays = list(known.pay(every, first).values())
    paid = total(pays)
    here, active = figures.at_work(connection, ask.now)
    training = known.agreement_by_cohort(since=first * DAY).get("training")
    agreement = estimate(None if training is None else training.strict)
    one_currency = paid[0] if len(paid) == 1 and in_period else None
    each = (
        money((one_currency[0] / in_period).quantize(Decimal("0.01")), one_currency[1])
        if one_currency
        else "–"
    )
    return (
        Figure("labels_today", number(labels[today])),
        Figure("labels_week", number(week)),
        Figure("queue", number(sum(waiting.values()))),
        Figure("active_labelers", f"{here} / {active}"),
        Figure(
            "agreement",
            "–" if agreement is None else str(interval(words, agreement)),
            words.sentence("agreement.paper", value="72.6 ± 1.5%"),
        ),
        Figure("hours", str(hours(words, sum(pay.active_ms for pay in pays) / 1000))),
        Figure("cost", shown.written_out(paid)),
        Figure("cost_each", each),
    )


def _charts(
    ask: Ask, known: Known, is_open: list[Campaign], waiting: Mapping[int, int], first: int
) -> tuple[Chart, ...]:
    words = shown.words_of(ask)
    labels: dict[int, float] = defaultdict(float)
    for row in known.work():
        labels[row.day] += row.labels
    found = [shown.bars_by_day(ask, words.sentence("table.labels"), labels, first)]
    if is_open:
        found.append(_queue(ask, known, is_open, waiting, first))
    trend = _trend(ask, known, first)
    return tuple([*found, trend] if trend is not None else found)


def _queue(
    ask: Ask, known: Known, is_open: list[Campaign], waiting: Mapping[int, int], first: int
) -> Chart:
    """Labels that waited at the end of each day: those that wait now, and those that came in since.

    Tasks that were added meanwhile are counted from the first day on, since the store does not say when they came.
    """
    words, last = shown.words_of(ask), ask.now // DAY
    ids = {one.id for one in is_open}
    came: dict[int, int] = defaultdict(int)
    for row in known.work():
        if row.campaign_id in ids:
            came[row.day] += row.labels - int(row.surplus)
    first = first or min(came, default=last)
    days = shown.stretch(first, last)
    starts = shown.stretches(first, last)
    left, after = float(sum(waiting.values())), last
    at_end: dict[int, float] = {}
    for start in reversed(starts):
        end = min(start + days - 1, last)
        while after > end:
            left += came[after]
            after -= 1
        at_end[start] = left
    title = words.sentence("figure.queue")
    svg = charts.line_chart(
        title,
        [shown.day_label(start) for start in starts],
        [charts.Series(title, [at_end[start] for start in starts])],
        charts.chart_words(words),
        label=words.sentence("table.day"),
    )
    return Chart(title, svg)


def _trend(ask: Ask, known: Known, first: int) -> Chart | None:
    words, last = shown.words_of(ask), ask.now // DAY
    first = first or min((row.day for row in known.work()), default=last)
    days = max(_WEEK, shown.stretch(first, last))
    found = known.agreement_over_time(days)
    starts = list(range(first // days * days, last + 1, days))
    series = [
        charts.Series(
            words.sentence(f"cohort.{shown.COHORTS[cohort]}"),
            [found[cohort].get(start) for start in starts],
        )
        for cohort in ("training", "heldout")
        if any(start in found.get(cohort, {}) for start in starts)
    ]
    if not series:
        return None
    title = words.sentence("table.agreement")
    svg = charts.line_chart(
        title,
        [shown.day_label(start) for start in starts],
        series,
        charts.chart_words(words),
        label=words.sentence("table.week"),
        write="{:.0%}".format,
        from_zero=False,
    )
    paper = words.sentence("agreement.paper", value="72.6 ± 1.5%")
    return Chart(title, svg, words.sentence("chart.weeks", n=judged.LEAST_PAIRS, paper=paper))


def _alerts(
    ask: Ask,
    connection: Connection,
    known: Known,
    is_open: list[Campaign],
    waiting: Mapping[int, int],
) -> tuple[Alert, ...]:
    found: list[Alert] = []
    skipped = oversight.count_skipped_often(connection)
    if skipped:
        link = path_to("campaign", campaign=next(iter(skipped)))
        found.append(Alert("skipped_often", sum(skipped.values()), link))
    if run_out := figures.leases_run_out(connection, ask.now):
        found.append(Alert("leases_expired", run_out, path_to("campaigns", state="open")))
    progress = oversight.progress_of_all(connection)
    short = [
        one
        for one in is_open
        if (there := progress.get(one.id)) and waiting.get(one.id, 0) < _SHORT * there.wanted
    ]
    if short:
        link = path_to("campaign", campaign=short[0].public_id)
        found.append(Alert("queue_short", len(short), link))
    if drifting := known.drifting():
        link = path_to("agreement", period="7d")
        found.append(Alert("drift", len(drifting), link))
    week = ask.now // DAY - 6
    of_campaign: dict[int, int] = defaultdict(int)
    for row in known.work():
        if row.day >= week and row.surplus:
            of_campaign[row.campaign_id] += int(row.surplus)
    if of_campaign:
        most = max(of_campaign, key=lambda one: of_campaign[one])
        campaign = campaigns.get_campaign(connection, campaign_id=most)
        link = path_to("campaign", campaign=campaign.public_id)
        found.append(Alert("surplus", sum(of_campaign.values()), link))
    return tuple(found)
