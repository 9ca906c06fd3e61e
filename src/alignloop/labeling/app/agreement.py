"""The agreement page: strict and with ties, chance-corrected, by labeler, by K, by distance, and flag by flag."""

from __future__ import annotations

from sqlalchemy import Connection

from alignloop.judges import agreement_tables
from alignloop.judges.agreement_alpha import likert_alpha, pair_alpha
from alignloop.judges.agreement_tables import Shares
from alignloop.labeling import judged
from alignloop.labeling.app import shown
from alignloop.labeling.app.access import Ask
from alignloop.labeling.app.known import SEED, Known, estimate, resamples
from alignloop.labeling.app.pages.common import FLAGS, Estimate
from alignloop.labeling.app.pages.quality import AgreementPage, FlagAgreement, GapRow
from alignloop.store import people, quality
from alignloop.store.campaigns import Campaign
from alignloop.store.people import DAY
from alignloop.store.quality import Scope


def agreement_page(ask: Ask, connection: Connection) -> AgreementPage:
    """The page of a campaign (or of all) and a period."""
    period = shown.period_of(ask, "all")
    since = shown.first_day(ask, period) * DAY
    campaign = shown.chosen_campaign(connection, ask.query("campaign"))
    known = Known(ask, connection)
    by_cohort = known.agreement_by_cohort(campaign, since)
    every = known.agreement(campaign, since)
    by_labeler = known.agreement_by_labeler(campaign, since)
    names = {user.id: user.name for user in people.all_users(connection, "labeler")}
    chart = shown.agreement_by_person(
        ask, [(names[one], row) for one, row in by_labeler.items() if one in names]
    )
    likert, pairs = _alphas(connection, known, campaign, since)
    return AgreementPage(
        period=period,
        campaigns=shown.campaign_options(connection, ("rank", "compare")),
        campaign="" if campaign is None else campaign.public_id,
        train=_strict(by_cohort.get("training")),
        heldout=_strict(by_cohort.get("heldout")),
        with_ties=estimate(every.tie_aware),
        left_out=len(known.partial(campaign, since)),
        resamples=resamples(len(known.compared(campaign, since).tasks)),
        alpha_likert=likert,
        alpha_pairs=pairs,
        charts=() if chart is None else (chart,),
        flags=_flags(ask, connection, known, campaign, since),
        by_k=_gaps(known, "k", campaign, since),
        by_distance=_gaps(known, "distance", campaign, since),
    )


# --- inside -----------------------------------------------------------------------------------------------------


def _strict(shares: Shares | None) -> Estimate | None:
    return None if shares is None else estimate(shares.strict)


def _gaps(known: Known, what: str, campaign: Campaign | None, since: int) -> tuple[GapRow, ...]:
    """Agreement by K, or by how many ranks apart one labeler put a pair; at 0 there is no order to agree with."""

    def compute() -> tuple[GapRow, ...]:
        table = agreement_tables.by_k if what == "k" else agreement_tables.by_distance
        compared = known.compared(campaign, since)
        found = table(compared, seed=SEED, resamples=resamples(len(compared.tasks)))
        return tuple(
            GapRow(gap, estimate(shares.strict, by_cases=True))
            for gap, shares in sorted(found.items())
            if gap > 0
        )

    return known.keep((what, campaign and campaign.id, since), compute)


def _alphas(
    connection: Connection, known: Known, campaign: Campaign | None, since: int
) -> tuple[Estimate | None, Estimate | None]:
    chosen = None if campaign is None else campaign.id

    def compute() -> tuple[Estimate | None, Estimate | None]:
        order = judged.only(known.shared(), chosen, since)
        grades = quality.likert_scores(connection, Scope(shared=True, campaign_id=chosen))
        graded = [
            judged.with_grades(one, grades[one.submission_id]).judgment
            for one in known.shared()
            if one.submission_id in grades
            and (chosen is None or one.campaign_id == chosen)
            and one.submitted_at >= since
        ]
        return (
            estimate(likert_alpha(graded, seed=SEED, resamples=resamples(len(graded)))),
            estimate(pair_alpha(order, seed=SEED, resamples=resamples(len(order)))),
        )

    return known.keep(("alphas", chosen, since), compute)


def _flags(
    ask: Ask, connection: Connection, known: Known, campaign: Campaign | None, since: int
) -> tuple[FlagAgreement, ...]:
    """Flags on the texts that several judged: there alone can people differ."""
    chosen = None if campaign is None else campaign.id

    scope = Scope(shared=True, campaign_id=chosen, since=since)
    words = shown.words_of(ask)
    found = known.keep(("flags", scope), lambda: judged.flags_in(connection, scope))
    return tuple(
        FlagAgreement(
            label=words.sentence(f"flag.{key}") if key in FLAGS else key,
            prevalence=of_flag.prevalence or 0.0,
            positive=of_flag.positive,
            alpha=of_flag.alpha,
            n=of_flag.answers,
        )
        for key, of_flag in found.items()
    )
