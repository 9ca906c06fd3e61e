"""Figures for the researchers' pages, each computed once per state of the store and kept.

Nothing here knows which model wrote what.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection

from alignloop.judges import agreement_tables
from alignloop.judges.agreement_tables import Comparisons, Shares
from alignloop.judges.contested import ContestedTask, worth_a_look
from alignloop.judges.measure import Measure
from alignloop.labeling import judged, screened
from alignloop.labeling.app.access import Ask
from alignloop.labeling.app.pages.common import Estimate
from alignloop.labeling.judged import Judged, Partial
from alignloop.store import adjudication, campaigns, figures, quality
from alignloop.store.campaigns import Campaign
from alignloop.store.people import DAY
from alignloop.store.quality import Scope

RESAMPLES = 1000
"""Of a page's intervals, and fewer where there are many tasks: what they lie between hardly moves then."""
_LEAST_RESAMPLES = 200
SEED = 0
_DRAWS = 2_000_000
_TASKS_OF_DRIFT = 10

T = TypeVar("T")
Money = tuple[Decimal, str]


def estimate(measure: Measure | None, *, by_cases: bool = False) -> Estimate | None:
    """A measure for a page; None where it has no value or no interval.

    Args:
        by_cases: say how many pairs or answers it rests on, and not how many tasks.
    """
    if measure is None or measure.value is None or measure.low is None or measure.high is None:
        return None
    n = round(measure.cases) if by_cases else measure.clusters
    return Estimate(measure.value, measure.low, measure.high, n)


def resamples(clusters: int) -> int:
    """How many resamples a page takes for an interval over so many tasks or prompts."""
    return min(RESAMPLES, max(_LEAST_RESAMPLES, _DRAWS // max(clusters, 1)))


@dataclass(frozen=True, slots=True)
class Pay:
    """What a campaign's work came to."""

    active_ms: int
    amounts: tuple[Money, ...]
    """One per currency."""


class Known:
    """The figures at the state of the store that one request sees."""

    def __init__(self, ask: Ask, connection: Connection) -> None:
        self._memory = ask.lab.memory
        self._connection = connection
        self.now = ask.now
        self.version = self._memory.settled.of(quality.version(connection), ask.now)

    def keep(self, key: Hashable, compute: Callable[[], T]) -> T:
        """A figure, from memory where it was asked for before at this state of the store."""
        return self._memory.figures.get((self.version, key), compute)

    # --- judgments ----------------------------------------------------------------------------------------------

    def judged(self) -> list[Judged]:
        """All judgments that train or evaluate."""
        return self._memory.judged.all(self._connection, self.version)

    def shared(self) -> list[Judged]:
        """Those about tasks that several judged."""
        return self.keep("shared", lambda: judged.shared(self.judged()))

    def compared(self, campaign: Campaign | None = None, since: int = 0) -> Comparisons:
        """Every two judgments of one task, of one campaign or since a moment."""
        chosen = None if campaign is None else campaign.id
        return self.keep(
            ("compared", chosen, since),
            lambda: agreement_tables.compare_all(judged.only(self.shared(), chosen, since)),
        )

    # --- agreement ----------------------------------------------------------------------------------------------

    def agreement(self, campaign: Campaign | None = None, since: int = 0) -> Shares:
        """Of all labelers with one another."""
        chosen = None if campaign is None else campaign.id
        return self.keep(
            ("agreement", chosen, since),
            lambda: _with(agreement_tables.overall, self.compared(campaign, since)),
        )

    def agreement_by_cohort(
        self, campaign: Campaign | None = None, since: int = 0
    ) -> dict[str, Shares]:
        """Within each cohort."""
        chosen = None if campaign is None else campaign.id

        def compute() -> dict[str, Shares]:
            found = _with(agreement_tables.by_cohorts, self.compared(campaign, since))
            return {one: shares for (one, other), shares in found.items() if one == other}

        return self.keep(("by cohort", chosen, since), compute)

    def agreement_by_labeler(
        self, campaign: Campaign | None = None, since: int = 0
    ) -> dict[int, Estimate]:
        """Labeler's id -> strict agreement with all others."""
        chosen = None if campaign is None else campaign.id

        def compute() -> dict[int, Estimate]:
            found = _with(agreement_tables.by_labeler, self.compared(campaign, since))
            rows = ((int(name), estimate(shares.strict)) for name, shares in found.items())
            return {labeler: row for labeler, row in rows if row is not None}

        return self.keep(("by labeler", chosen, since), compute)

    def agreement_over_time(self, days: int) -> dict[str, dict[int, float]]:
        """Cohort -> start of each stretch of so many days -> strict agreement on what was compared in it.

        Two judgments are compared when the later of them comes in. A stretch with fewer than `LEAST_PAIRS` pairs that
        both ordered has none: it would be noise.
        """

        def compute() -> dict[str, dict[int, float]]:
            compared = self.compared()
            at = {one.submission_id: one.submitted_at for one in self.shared()}
            when = {
                (one.judgment.task, one.judgment.labeler): at[one.submission_id]
                for one in self.shared()
            }
            times = np.array(
                [when[one.task, one.labeler] // (DAY * days) for one in compared.judgments],
                dtype=np.int64,
            )
            cohorts = np.array([one.cohort for one in compared.judgments])
            found: dict[str, dict[int, float]] = {}
            for cohort in sorted(set(cohorts.tolist())):
                is_in = (cohorts[compared.first] == cohort) & (cohorts[compared.second] == cohort)
                later = np.maximum(times[compared.first], times[compared.second])[is_in]
                ordered, same = (compared.counts[is_in, column] for column in (0, 1))
                starts, places = np.unique(later, return_inverse=True)
                below = np.bincount(places, weights=ordered, minlength=len(starts))
                above = np.bincount(places, weights=same, minlength=len(starts))
                found[cohort] = {
                    int(start) * days: float(above[number] / below[number])
                    for number, start in enumerate(starts.tolist())
                    if below[number] >= judged.LEAST_PAIRS
                }
            return found

        return self.keep(("over time", days), compute)

    def drifting(self) -> list[int]:
        """Ids of labelers whose agreement of the last week lies below what it was before, interval beside interval.

        Fewer tasks than ten say nothing: intervals over so few are too narrow.
        """
        week = self.now - self.now % DAY - 7 * DAY

        def compute() -> list[int]:
            recent = self.agreement_by_labeler(since=week)
            earlier = (one.judgment for one in self.shared() if one.submitted_at < week)
            before = _with(agreement_tables.by_labeler, agreement_tables.compare_all(earlier))
            return [
                labeler
                for labeler, now in recent.items()
                if now.n >= _TASKS_OF_DRIFT
                and str(labeler) in before
                and (then := estimate(before[str(labeler)].strict)) is not None
                and now.high < then.low
            ]

        return self.keep(("drifting", week), compute)

    def contested(self) -> list[ContestedTask]:
        """Tasks of training campaigns on which labelers differ, the most contested first."""
        training = self.training_rankings()
        return self.keep(
            ("contested", training),
            lambda: worth_a_look(
                one.judgment for one in self.shared() if one.campaign_id in training
            ),
        )

    def training_rankings(self) -> frozenset[int]:
        """Ids of the campaigns whose rankings train."""
        return frozenset(
            one.id
            for one in campaigns.all_campaigns(self._connection)
            if one.purpose == "training" and one.form == "rank"
        )

    def decided(self) -> list[int]:
        """Ids of tasks that were decided, the last first."""
        return self.keep("decided", lambda: adjudication.decided_tasks(self._connection))

    # --- work ---------------------------------------------------------------------------------------------------

    def work(self) -> list[Any]:
        """Rows (day, campaign_id, labels, surplus, active_ms)."""
        return self.keep("work", lambda: list(figures.work_by_day(self._connection)))

    def skips(self) -> list[Any]:
        """Rows (day, campaign_id, skips, active_ms); read anew each time, since a skip is no new judgment."""
        return list(figures.skips_by_day(self._connection))

    def partial(self, campaign: Campaign | None = None, since: int = 0) -> list[Partial]:
        """Rankings with an output that is not rankable: left out of agreement, and paid."""
        scope = Scope(campaign_id=None if campaign is None else campaign.id, since=since)
        return self.keep(
            ("partial", scope), lambda: judged.partial_rankings_in(self._connection, scope)
        )

    def pay(self, found: list[Campaign], since_day: int = 0) -> dict[int, Pay]:
        """Campaign's id -> hours and cost of its labels, and of the time on tasks that were skipped."""
        by_id = {campaign.id: campaign for campaign in found}
        spent: dict[int, int] = defaultdict(int)
        for row in (*self.work(), *self.skips()):
            if row.day >= since_day and row.campaign_id in by_id:
                spent[row.campaign_id] += int(row.active_ms)
        return {one: Pay(ms, _amounts(by_id[one], ms)) for one, ms in spent.items()}

    def measures(self) -> dict[int, tuple[float | None, float | None, float | None]]:
        """Labeler's id -> screening measures."""
        return self.keep("measures", lambda: screened.all_measures(self._connection))


def total(pays: list[Pay]) -> tuple[Money, ...]:
    """What several come to, per currency."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for pay in pays:
        for amount, currency in pay.amounts:
            found[currency] += amount
    return tuple((found[currency], currency) for currency in sorted(found))


def _with(table: Callable[..., T], compared: Comparisons) -> T:
    """A table of agreement, with as many resamples as it needs."""
    return table(compared, seed=SEED, resamples=resamples(len(compared.tasks)))


def _amounts(campaign: Campaign, active_ms: int) -> tuple[Money, ...]:
    if campaign.price_per_hour is None:
        return ()
    amount = Decimal(campaign.price_per_hour) / 100 * Decimal(active_ms) / 3_600_000
    return ((amount.quantize(Decimal("0.01")), campaign.currency),)
