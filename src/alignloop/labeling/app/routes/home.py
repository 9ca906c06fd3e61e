"""What a labeler comes to: what there is to do, and what was done."""

from __future__ import annotations

import statistics
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import Connection
from starlette.responses import Response

from alignloop.judges.agreement import agreement_of
from alignloop.labeling.app.access import Access, Ask, Routes
from alignloop.labeling.app.pages.common import Notice
from alignloop.labeling.app.pages.labeler import HomePage, Queue, Step, WorkDay, WorkPage, WorkRow
from alignloop.labeling.app.routes.account import lines_of
from alignloop.labeling.app.tasks import moment
from alignloop.labeling.export import ranking_of
from alignloop.labeling.ready import Way, way_of, what_blocks
from alignloop.store import campaigns, correspondence, figures, labels, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.people import DAY, User

routes = Routes()

KINDS = {
    "demonstrate": "demo",
    "write": "prompt",
    "rank": "rank",
    "compare": "eval",
    "toxicity": "toxicity",
}
"""Form of a campaign -> what the face calls it."""
_BAND_PAIRS = 30
"""Fewer pairs say nothing about anybody."""


@routes.get("home", Access.SIGNED_IN)
def home(ask: Ask) -> Response:
    """What is to do; a researcher's home is the overview."""
    if ask.who.is_researcher:
        return ask.go("overview")
    with ask.lab.store.read() as connection:
        way = way_of(connection, ask.now, ask.who)
        thread = correspondence.thread(connection, ask.who)
        today = figures.done_by(connection, ask.now, ask.who)
        queues = [
            shown
            for campaign in campaigns.all_campaigns(connection, state="open")
            if campaign.cohort in ("any", ask.who.cohort)
            and not _is_behind(campaign, shown := _queue(connection, ask, campaign, way))
        ]
        days = figures.days_of(connection, ask.who, ask.now - ask.now % DAY)
        version = correspondence.guideline(connection, purpose=_purpose(ask.who), locale=ask.locale)
    return ask.show(
        HomePage(
            steps=() if ask.who.standing == "qualified" and way.guidelines else _steps(way),
            queues=tuple(queues),
            latest=tuple(reversed(lines_of(thread[-3:], ask.who))),
            done_today=today.today,
            active_seconds_today=sum(int(row.active_ms) for row in days) / 1000,
            guideline="" if version is None else f"{version.purpose}/{version.version}",
        )
    )


@routes.get("work", Access.LABELER)
def work(ask: Ask) -> Response:
    """The last pieces of work, hours, and how far others agree."""
    month = ask.now - 30 * DAY
    with ask.lab.store.read() as connection:
        rows = queue.last_submissions(connection, ask.who)
        days = figures.days_of(connection, ask.who, month)
        paid = figures.paid_of(connection, ask.who, month)
        share, pairs = _agreement(connection, ask.who)
    week = (ask.now - 7 * DAY) // DAY
    return ask.show(
        WorkPage(
            rows=tuple(_work_row(row, ask.now) for row in rows),
            days=tuple(
                WorkDay(_day(row.day), row.tasks, int(row.active_ms) / 1000) for row in days[:14]
            ),
            week_seconds=sum(int(row.active_ms) for row in days if row.day >= week) / 1000,
            month_seconds=sum(int(row.active_ms) for row in days) / 1000,
            band=cast(Any, _band(share, pairs)),
            band_pairs=pairs,
            earned=_earned(paid),
        )
    )


@routes.post("reopen", Access.LABELER)
def reopen(ask: Ask) -> Response:
    """Take a submission back into one's hands."""
    with ask.lab.store.write() as connection:
        again = queue.reopen(connection, ask.now, ask.who, ask.path("submission"))
        campaign = campaigns.get_campaign(connection, campaign_id=again.campaign_id)
    if campaign.form == "write":
        return ask.go("write_prompt", Notice("reopened", "info"))
    return ask.go("task", Notice("reopened", "info"), task=again.public_id)


# --- inside -----------------------------------------------------------------------------------------------------


def _queue(connection: Connection, ask: Ask, campaign: Campaign, way: Way) -> Queue:
    user = ask.who
    own = figures.task_times(connection, campaign, user, 50)
    times = own or figures.task_times(connection, campaign, None, 200)
    seconds = statistics.median(times) / 1000 if times else None
    pay = None
    if campaign.price_per_hour is not None and seconds is not None:
        amount = Decimal(campaign.price_per_hour) / 100 * Decimal(seconds) / 3600
        pay = (amount.quantize(Decimal("0.01")), campaign.currency)
    return Queue(
        campaign=campaign.public_id,
        title=campaign.name,
        kind=cast(Any, KINDS[campaign.form]),
        available=figures.available(connection, ask.now, user, campaign),
        done_today=figures.done_by(connection, ask.now, user, campaign).today,
        seconds_each=seconds,
        pay_each=pay,
        k_range=(campaign.k_min, campaign.k_max) if campaign.form == "rank" else None,
        open_task=figures.open_work(connection, user).get(campaign.id),
        blocked=what_blocks(connection, user, campaign, way),
        practice=campaign.purpose == "practice",
    )


def _is_behind(campaign: Campaign, shown: Queue) -> bool:
    """Whether somebody is through with practice or screening, which do not come back."""
    is_on_the_way = campaign.purpose in ("practice", "screening")
    return is_on_the_way and not shown.available and shown.open_task is None


def _steps(way: Way) -> tuple[Step, ...]:
    """The way in; a step is only shown where there is something to do, or somebody to wait for."""
    found: list[Step] = []
    is_open = True
    for key, is_done, counts in (
        ("guidelines", way.guidelines, (0, 0)),
        ("practice", way.practice[0] >= way.practice[1], way.practice),
        ("screening", way.screening[0] >= way.screening[1], way.screening),
        ("review", way.standing == "qualified", (0, 0)),
    ):
        if key in ("practice", "screening") and counts[1] == 0:
            continue
        state = "done" if is_done else "now" if is_open else "later"
        if key == "review" and way.standing == "declined":
            state = "failed"
        is_open = is_open and is_done
        found.append(Step(cast(Any, key), cast(Any, state), *counts))
    return tuple(found)


def _work_row(row: Any, now: int) -> WorkRow:
    until = row.submitted_at + queue.UNDO_MS
    is_open = until > now and row.assignment_state == "submitted" and row.campaign_state == "open"
    state = "reopened" if row.assignment_state == "open" else "final"
    return WorkRow(
        submission=row.assignment_public_id,
        task=row.assignment_public_id,
        kind=cast(Any, KINDS[row.form]),
        campaign=row.campaign,
        at=moment(row.submitted_at),
        state=cast(Any, "surplus" if row.is_surplus else state),
        active_seconds=row.active_ms / 1000,
        reopen_until=datetime.fromtimestamp(until / 1000, UTC) if is_open else None,
    )


def _agreement(connection: Connection, user: User) -> tuple[float, int]:
    """(share of pairs ordered as by others, pairs) on the tasks that others ranked too."""
    found = [
        ranking
        for label in labels.each_label(connection, "rank", task_of=user.id)
        if (ranking := ranking_of(connection, label, by_id=True)) is not None
    ]
    mine = str(user.id)
    ordered = same = 0
    for (a, b), agreement in agreement_of(found).items():
        if mine in (a, b):
            ordered += agreement.ordered
            same += agreement.same_order
    return (same / ordered if ordered else 0.0), ordered


def _band(share: float, pairs: int) -> str:
    """In words: nobody is told a figure to work towards."""
    if pairs < _BAND_PAIRS:
        return "unknown"
    return "low" if share < 0.6 else "high" if share > 0.8 else "usual"


def _earned(paid: Any) -> tuple[Decimal, str] | None:
    """What this month's hours come to, where one currency is paid."""
    currencies = {row.currency for row in paid}
    if len(currencies) != 1:
        return None
    amount = sum(
        (
            Decimal(row.price_per_hour) / 100 * Decimal(int(row.active_ms)) / 3_600_000
            for row in paid
        ),
        Decimal(0),
    )
    return amount.quantize(Decimal("0.01")), currencies.pop()


def _day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=int(number))


def _purpose(user: User) -> str:
    return "evaluation" if user.cohort == "heldout" else "training"
