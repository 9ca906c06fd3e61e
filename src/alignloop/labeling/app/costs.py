"""The economics page: what rankings of K outputs bring and cost, measured and estimated, and demonstrations beside."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from alignloop.judges import agreement_tables, economics
from alignloop.judges.economics_tables import (
    CostOfK,
    LabelCosts,
    TimedRanking,
    break_even,
    cost_table,
    label_costs,
)
from alignloop.judges.measure import Measure
from alignloop.labeling import judged
from alignloop.labeling.app import charts, shown
from alignloop.labeling.app.access import Ask
from alignloop.labeling.app.known import SEED, Known, estimate, resamples
from alignloop.labeling.app.pages.common import Estimate, Option
from alignloop.labeling.app.pages.quality import EconomicsPage, EconomicsRow
from alignloop.labeling.app.pages.researcher import Chart
from alignloop.store import campaigns, people, quality
from alignloop.store.campaigns import Campaign
from alignloop.store.people import User
from alignloop.store.quality import Scope

_KS = range(4, 10)
_LONGEST_S = 3600.0


def economics_page(ask: Ask, connection: Connection) -> EconomicsPage:
    """The page of one labeler, or of all."""
    known = Known(ask, connection)
    user = _chosen(connection, ask.query("labeler"))
    read_s, item_s = _seconds(ask, "read_s", 30.0), _seconds(ask, "item_s", 2.0)
    rankings = known.keep(("timed", user and user.id), lambda: _timed(known, user))
    wage = _wage(connection, known, "rank")
    skipped, skipped_s = _skipped(known)
    paid = _with_skips(known, wage, skipped_s)
    table = known.keep(("costs", user and user.id, paid), lambda: _table(rankings, paid))
    small, large = (min(table), max(table)) if len(table) > 1 else (4, 9)
    verdict = known.keep(
        ("break-even", user and user.id, small, large),
        lambda: break_even(rankings, large, small, seed=SEED, resamples=resamples(len(rankings))),
    )
    page_charts = [_rates(ask, table), _both_kinds(ask, connection, known)]
    return EconomicsPage(
        rows=_rows(known, user, table, wage),
        partial=len(
            [one for one in known.partial() if one.campaign_id in known.training_rankings()]
        ),
        skipped=skipped,
        skipped_seconds=skipped_s,
        resamples=resamples(len(rankings)),
        charts=tuple(chart for chart in page_charts if chart is not None),
        labelers=tuple(
            Option(one.public_id, one.name) for one in people.all_users(connection, "labeler")
        ),
        labeler="" if user is None else user.public_id,
        break_even_pairs=verdict.by_pairs,
        break_even_bits=verdict.by_bits,
        time_ratio=verdict.time_ratio.value,
        read_s=read_s,
        item_s=item_s,
        estimate=tuple((k, economics.pairs_per_hour(k, read_s, item_s)) for k in _KS)
        if read_s + item_s > 0
        else (),
    )


# --- inside -----------------------------------------------------------------------------------------------------


def _chosen(connection: Connection, public_id: str) -> User | None:
    return people.get_user(connection, public_id) if public_id else None


def _seconds(ask: Ask, name: str, default: float) -> float:
    try:
        value = float(ask.query(name, str(default)))
    except ValueError:
        return default
    return min(max(value, 0.0), _LONGEST_S) if math.isfinite(value) else default


def _timed(known: Known, user: User | None) -> list[TimedRanking]:
    """Rankings of training campaigns whose time is known.

    Those with outputs that are not rankable too: they were paid, and the pairs that they order are learned from.
    """
    ids = known.training_rankings()
    partial = [
        TimedRanking(
            one.cluster,
            one.labeler,
            one.k,
            one.seconds,
            economics.pairs(one.k) - one.ordered_pairs,
        )
        for one in known.partial()
        if one.campaign_id in ids
        and one.seconds is not None
        and (user is None or one.labeler == str(user.id))
    ]
    return partial + [
        TimedRanking(
            one.judgment.cluster,
            one.judgment.labeler,
            len(one.judgment.ranks),
            one.judgment.seconds,
            judged.tied_pairs(one.judgment.ranks),
        )
        for one in known.judged()
        if one.campaign_id in ids
        and one.judgment.seconds is not None
        and (user is None or one.judgment.labeler == str(user.id))
    ]


def _skipped(known: Known) -> tuple[int, float]:
    """(tasks of training campaigns' rankings that were skipped, seconds that went into them)."""
    ids = known.training_rankings()
    rows = [row for row in known.skips() if row.campaign_id in ids]
    return sum(int(row.skips) for row in rows), sum(int(row.active_ms) for row in rows) / 1000


def _wage(connection: Connection, known: Known, form: str) -> tuple[Decimal, str] | None:
    """Cost of an hour and its currency, as paid on average; None where nothing is, or in several currencies."""
    priced = [
        one
        for one in campaigns.all_campaigns(connection)
        if one.form == form and one.purpose == "training" and one.price_per_hour is not None
    ]
    spent = known.pay(priced)
    by_id: Mapping[int, Campaign] = {one.id: one for one in priced}
    hours = sum(pay.active_ms for pay in spent.values())
    if not hours or len({by_id[one].currency for one in spent}) != 1:
        return None
    cost = sum(
        Decimal(by_id[one].price_per_hour or 0) / 100 * pay.active_ms for one, pay in spent.items()
    )
    return (Decimal(cost) / hours).quantize(Decimal("0.0001")), by_id[next(iter(spent))].currency


def _with_skips(
    known: Known, wage: tuple[Decimal, str] | None, skipped_s: float
) -> tuple[Decimal, str] | None:
    """The wage with the time on skipped tasks in it, as if all rankings had their part of that."""
    every = known.keep(("timed", None), lambda: _timed(known, None))
    worked = sum(one.seconds for one in every)
    if wage is None or not worked:
        return wage
    return (wage[0] * Decimal(1 + skipped_s / worked)).quantize(Decimal("0.0001")), wage[1]


def _table(rankings: Sequence[TimedRanking], wage: Any) -> dict[int, CostOfK]:
    return cost_table(
        rankings,
        0.0 if wage is None else float(wage[0]),
        seed=SEED,
        resamples=resamples(len(rankings)),
    )


def _rows(
    known: Known, user: User | None, table: Mapping[int, CostOfK], wage: Any
) -> tuple[EconomicsRow, ...]:
    agreement = known.keep(("agreement by k", user and user.id), lambda: _by_k(known, user))
    return tuple(
        EconomicsRow(
            k=k,
            tasks=row.rankings,
            pairs=row.pairs,
            bits=row.bits,
            minutes=_minutes(row.seconds),
            pairs_per_hour=row.ordered_pairs_per_hour.value,
            bits_per_hour=row.bits_per_hour.value,
            cost_per_pair=None
            if wage is None or row.cost_per_pair.value is None
            else (Decimal(str(round(row.cost_per_pair.value, 4))), wage[1]),
            agreement=agreement.get(k),
            tie_share=row.tie_rate.value,
        )
        for k, row in table.items()
    )


def _by_k(known: Known, user: User | None) -> dict[int, Estimate | None]:
    """Agreement by K; of one labeler, on the tasks that they judged."""
    ids = known.training_rankings()
    rows = [one for one in known.shared() if one.campaign_id in ids]
    if user is not None:
        mine = {one.judgment.task for one in rows if one.judgment.labeler == str(user.id)}
        rows = [one for one in rows if one.judgment.task in mine]
    compared = agreement_tables.compare_all(judged.only(rows))
    found = agreement_tables.by_k(compared, seed=SEED, resamples=resamples(len(compared.tasks)))
    return {k: estimate(shares.strict) for k, shares in found.items()}


def _minutes(seconds: Measure) -> Estimate | None:
    found = estimate(seconds)
    if found is None:
        return None
    return Estimate(found.value / 60, found.low / 60, found.high / 60, found.n)


def _rates(ask: Ask, table: Mapping[int, CostOfK]) -> Chart | None:
    """Ordered pairs and bits per hour, by K."""
    if not table:
        return None
    words = shown.words_of(ask)
    title = words.sentence("economics.pairs_hour")
    svg = charts.line_chart(
        title,
        [str(k) for k in table],
        [
            charts.Series(title, [row.ordered_pairs_per_hour.value for row in table.values()]),
            charts.Series(
                words.sentence("economics.bits_hour"),
                [row.bits_per_hour.value for row in table.values()],
            ),
        ],
        charts.chart_words(words),
        label="K",
    )
    return Chart(title, svg)


def _both_kinds(ask: Ask, connection: Connection, known: Known) -> Chart | None:
    """What a demonstration costs beside a ranking and one of its pairs; None until both were done for pay."""
    wages = [_wage(connection, known, form) for form in ("demonstrate", "rank")]
    if wages[0] is None or wages[1] is None or wages[0][1] != wages[1][1]:
        return None
    found = known.keep(("kinds", wages[0], wages[1]), lambda: _costs(connection, known, wages))
    words, currency = shown.words_of(ask), wages[0][1]
    named = (
        (words.sentence("kind.demo"), found.demonstration),
        (words.sentence("kind.rank"), found.ranking),
        (words.sentence("economics.pairs"), found.comparison),
    )
    rows = [(name, row) for name, of in named if (row := estimate(of)) is not None]
    if len(rows) < 2:
        return None
    title = f"{words.sentence('table.cost')}, {currency}"
    svg = charts.interval_chart(
        title,
        rows,
        charts.chart_words(words),
        label=words.sentence("campaign_form.kind"),
        write="{:,.2f}".format,
    )
    return Chart(title, svg, words.sentence("chart.intervals"))


def _costs(connection: Connection, known: Known, wages: Sequence[Any]) -> LabelCosts:
    """At what is paid for each: an hour of writing may be paid otherwise than one of ranking."""
    ratio = float(wages[0][0] / wages[1][0]) if wages[1][0] else 1.0
    times: dict[str, list[float]] = defaultdict(list)
    for row in quality.each_time(connection, "demonstrate", Scope(purposes=("training",))):
        if row.active_ms > 0:
            times[str(row.prompt_id)].append(row.active_ms / 1000 * ratio)
    written = [(prompt, seconds) for prompt, found in times.items() for seconds in found]
    rankings = known.keep(("timed", None), lambda: _timed(known, None))
    wage = float(wages[1][0])
    return label_costs(written, rankings, wage, seed=SEED, resamples=resamples(len(rankings)))
