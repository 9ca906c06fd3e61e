"""Campaigns: the list, one of them, making and changing them, opening, pausing and closing."""

from __future__ import annotations

import secrets
from collections import defaultdict
from dataclasses import replace
from typing import Any, cast, get_args

from sqlalchemy import Connection
from starlette.responses import Response

from alignloop.judges.preference_votes import tally
from alignloop.labeling import drawing, judged
from alignloop.labeling.app import campaign_form, shown
from alignloop.labeling.app.access import Access, Ask, Refused, Routes
from alignloop.labeling.app.campaign_form import Settings
from alignloop.labeling.app.known import RESAMPLES, SEED, Known, estimate
from alignloop.labeling.app.pages.common import Errors, Estimate, Message, Notice, SkipReason
from alignloop.labeling.app.pages.researcher import (
    CampaignLabeler,
    CampaignPage,
    CampaignsPage,
    CampaignState,
    CampaignValues,
    Chart,
    SkippedTask,
)
from alignloop.labeling.drawing import Plan, TooFewError
from alignloop.store import (
    adjudication,
    answer_keys,
    campaigns,
    figures,
    flag_sets,
    oversight,
    supply,
)
from alignloop.store.campaigns import Campaign
from alignloop.store.quality import Scope

routes = Routes()

_FIELDS = (
    "title kind purpose cohort prompt_set policies k_min k_max overlap shared_percent gold_percent repeat_percent "
    "lease_minutes pay currency guideline flag_set planned"
)
_SKIPS = get_args(SkipReason)
_AFTER = {
    "open": ("draft", "paused", "closed"),
    "paused": ("open",),
    "closed": ("draft", "open", "paused"),
}
"""State -> those from which a campaign comes to it; an evaluation that was closed stays so."""


@routes.get("campaigns", Access.RESEARCHER)
def all_campaigns(ask: Ask) -> Response:
    """The list, newest first."""
    asked = ask.query("state")
    state = cast(CampaignState, asked) if asked in get_args(CampaignState) else None
    with ask.lab.store.read() as connection:
        found = [
            one
            for one in campaigns.all_campaigns(connection)
            if state is None or one.phase == state
        ]
        rows = shown.campaign_rows(Known(ask, connection), connection, found)
    return ask.show(CampaignsPage(rows, state))


# Before `campaign`, whose address would take "new" for a campaign.
@routes.get("new_campaign", Access.RESEARCHER)
def new_campaign_page(ask: Ask) -> Response:
    """The form of a new campaign."""
    with ask.lab.store.read() as connection:
        values = campaign_form.first_values(connection)
        page = campaign_form.form_page(ask, connection, values)
    return ask.show(page)


@routes.post("new_campaign", Access.RESEARCHER, _FIELDS)
def new_campaign(ask: Ask) -> Response:
    """Make a campaign, as a draft; its tasks are drawn when it opens."""
    values = campaign_form.sent_values(ask)
    with ask.lab.store.write() as connection:
        settings, errors = campaign_form.check(connection, values)
        if settings is None:
            page = campaign_form.form_page(ask, connection, values, errors=errors)
            return ask.show(page, 422)
        made = _make(connection, ask, settings)
    return ask.go("campaign", Notice("campaign_saved"), campaign=made.public_id)


@routes.get("campaign", Access.RESEARCHER)
def campaign(ask: Ask) -> Response:
    """One campaign: how far it is, who works on it, what was skipped, and how it ended."""
    with ask.lab.store.read() as connection:
        one = _campaign(ask, connection)
        known = Known(ask, connection)
        [row] = shown.campaign_rows(known, connection, [one])
        people = _labelers(connection, known, one)
        policies = [] if one.is_blind else oversight.policies_of(connection, one)
        page = CampaignPage(
            row=row,
            guideline=f"{one.guideline_purpose}/{one.guideline_version}",
            tasks=cast(Any, oversight.task_states(connection, one)),
            charts=_charts(ask, connection, one, people),
            labelers=tuple(person for person, _ in people),
            skipped=_skipped(connection, one),
            surplus=campaigns.progress_of(connection, one).surplus,
            result=_result(connection, known, one, [number for number, _ in policies]),
            policies=tuple(name for _, name in policies),
            may_have_gold=answer_keys.may_have_answers(one),
        )
    return ask.show(page)


@routes.get("edit_campaign", Access.RESEARCHER)
def edit_campaign_page(ask: Ask) -> Response:
    """The form of a campaign that is there."""
    with ask.lab.store.read() as connection:
        one = _campaign(ask, connection)
        values = campaign_form.values_of(connection, one)
        page = campaign_form.form_page(ask, connection, values, campaign=one)
    return ask.show(page)


@routes.post("edit_campaign", Access.RESEARCHER, _FIELDS)
def edit_campaign(ask: Ask) -> Response:
    """Change what may still change: everything of a draft; title, pay, leases and overlap afterwards."""
    with ask.lab.store.write() as connection:
        one = _campaign(ask, connection)
        there = campaign_form.values_of(connection, one)
        is_fixed = campaign_form.is_fixed(connection, one)
        values = campaign_form.sent_values(ask, there if is_fixed else None)
        if is_fixed:
            values = campaign_form.with_what_is_fixed(values, there)
            columns, repeats, errors = campaign_form.check_what_may_change(connection, values, one)
            if not errors:
                _change(connection, ask, one, columns, repeats)
        else:
            settings, errors = campaign_form.check(connection, values, one)
            if settings is not None:
                columns = _columns(connection, settings)
                oversight.change_campaign(connection, ask.now, ask.who, one, columns)
                supply.keep_plan(connection, one, settings.plan.as_json())
        if errors:
            return _form_again(ask, connection, one, values, errors)
    return ask.go("campaign", Notice("campaign_saved"), campaign=one.public_id)


@routes.post("campaign_state", Access.RESEARCHER, "state task drop keep")
def campaign_state(ask: Ask) -> Response:
    """Open, pause or close; or decide about a task that was skipped often."""
    wanted, task = ask.field("state"), ask.field("task")
    with ask.lab.store.write() as connection:
        one = _campaign(ask, connection)
        state = one.phase
        if task:
            act = oversight.drop_task if ask.field("drop") == "1" else oversight.keep_task
            if (ask.field("drop") == "1") == (ask.field("keep") == "1"):
                raise Refused(404)
            if not act(connection, ask.now, ask.who, one, task):
                return _stale(ask, one)
        elif wanted not in _AFTER:
            raise Refused(404)
        elif wanted != state and (
            state not in _AFTER[wanted] or (state == "closed" and one.purpose == "evaluation")
        ):
            return _stale(ask, one)
        elif wanted == state:
            pass
        elif wanted == "open":
            errors = _fill(connection, one)
            if errors:
                values = campaign_form.values_of(connection, one)
                return _form_again(ask, connection, one, values, errors)
            campaigns.set_state(connection, ask.now, ask.who.public_id, one, "open")
        elif wanted == "paused":
            oversight.pause(connection, ask.now, ask.who.public_id, one)
        else:
            campaigns.set_state(connection, ask.now, ask.who.public_id, one, "closed")
    return ask.go("campaign", Notice("campaign_state"), campaign=one.public_id)


# --- inside -----------------------------------------------------------------------------------------------------


def _campaign(ask: Ask, connection: Connection) -> Campaign:
    return campaigns.get_campaign(connection, public_id=ask.path("campaign"))


def _stale(ask: Ask, one: Campaign) -> Response:
    """Somebody else was quicker; the page shows what can be done now."""
    return ask.go("campaign", Notice("campaign_stale", "warning"), campaign=one.public_id)


def _labelers(
    connection: Connection, known: Known, one: Campaign
) -> list[tuple[CampaignLabeler, Estimate | None]]:
    has_order = one.form in ("rank", "compare")
    agreement = known.agreement_by_labeler(one) if has_order else {}
    ties = known.keep(
        ("ties", one.id),
        lambda: judged.tie_shares(row for row in known.judged() if row.campaign_id == one.id),
    )
    gold = known.keep(("gold", one.id), lambda: judged.gold_accuracy(connection, one.id))
    return [
        (
            CampaignLabeler(
                id=row.public_id,
                name=row.name,
                done=int(row.done),
                skipped=int(row.skipped),
                seconds_each=int(row.active_ms) / 1000 / int(row.done) if row.done else None,
                agreement=agreement.get(row.id),
                tie_share=ties.get(row.id),
                gold=gold.get(row.id),
            ),
            agreement.get(row.id),
        )
        for row in oversight.labelers_of(connection, one)
    ]


def _charts(
    ask: Ask,
    connection: Connection,
    one: Campaign,
    people: list[tuple[CampaignLabeler, Estimate | None]],
) -> tuple[Chart, ...]:
    labels: dict[int, float] = defaultdict(float)
    for row in figures.work_by_day(connection, one):
        labels[row.day] += row.labels
    if not labels:
        return ()
    title = shown.words_of(ask).sentence("table.labels")
    found = [shown.bars_by_day(ask, title, labels, 0)]
    rows = [(person.name, agreement) for person, agreement in people if agreement is not None]
    by_person = shown.agreement_by_person(ask, rows)
    return tuple([*found, by_person] if by_person is not None else found)


def _skipped(connection: Connection, one: Campaign) -> tuple[SkippedTask, ...]:
    skipped = oversight.skipped_often(connection, one)
    rows = adjudication.find_tasks(connection, [task.task_id for task in skipped])
    return tuple(
        SkippedTask(
            task.public_id,
            shown.prompt_of(rows[task.task_id]),
            tuple(_reason(reason) for reason in task.reasons),
        )
        for task in skipped
    )


def _reason(text: str) -> tuple[str, str]:
    """A skip's reason and its note; what came from elsewhere than the form is a note of another reason."""
    reason, _, note = text.partition(": ")
    return (reason, note) if reason in _SKIPS else ("other", text)


def _result(
    connection: Connection, known: Known, one: Campaign, policies: list[int]
) -> Estimate | None:
    """Win rate of the first of two policies, ties counted half, once nobody votes any more."""
    if one.form != "compare" or one.phase != "closed" or len(policies) != 2:
        return None

    def compute() -> Estimate | None:
        wrote = oversight.authors_of_items(connection, one)
        scope = Scope(purposes=judged.EVERY_PURPOSE, campaign_id=one.id)
        votes = judged.votes_in(connection, scope, wrote, policies[0])
        return estimate(tally(votes, seed=SEED, resamples=RESAMPLES).rate)

    return known.keep(("result", one.id, one.closed_at), compute)


def _make(connection: Connection, ask: Ask, settings: Settings) -> Campaign:
    columns = dict(_columns(connection, settings))
    made = campaigns.add_campaign(
        connection,
        ask.now,
        ask.who.public_id,
        name=columns.pop("name"),
        form=columns.pop("form"),
        purpose=columns.pop("purpose"),
        cohort=columns.pop("cohort"),
        k=(columns.pop("k_min"), columns.pop("k_max")),
        lease_minutes=columns.pop("lease_ms") / 60_000,
        asks_ratings=columns["asks_ratings"],
        seed=secrets.randbits(62),
        **{name: columns[name] for name in columns if name not in ("flag_set_id", "asks_ratings")},
    )
    if made.flag_set_id != columns["flag_set_id"]:
        changes = {"flag_set_id": columns["flag_set_id"]}
        oversight.change_campaign(connection, ask.now, ask.who, made, changes)
    supply.keep_plan(connection, made, settings.plan.as_json())
    return made


def _columns(connection: Connection, settings: Settings) -> dict[str, Any]:
    columns = dict(settings.columns)
    if columns["asks_ratings"] and columns["flag_set_id"] is None:
        columns["flag_set_id"] = flag_sets.add_flag_set(
            connection, flag_sets.TABLE_3, flag_sets.TABLE_3_FLAGS
        )
    return columns


def _change(
    connection: Connection, ask: Ask, one: Campaign, columns: dict[str, Any], repeats: float
) -> None:
    """Change what may change of a campaign that has tasks."""
    kept = supply.plan_of(connection, one)
    plan = Plan() if kept is None else Plan.from_json(kept)
    if plan.repeat_percent != repeats:
        supply.keep_plan(connection, one, replace(plan, repeat_percent=repeats).as_json())
    if columns["overlap"] != one.overlap:
        oversight.change_labels_wanted(connection, one, columns["overlap"])
    changed = {name: value for name, value in columns.items() if getattr(one, name) != value}
    oversight.change_campaign(connection, ask.now, ask.who, one, changed)


def _fill(connection: Connection, one: Campaign) -> Errors:
    """Draw a draft's tasks; what is wrong where they cannot be drawn, or the campaign would have none."""
    kept = supply.plan_of(connection, one)
    field = "planned" if one.purpose == "evaluation" else "prompt_set"
    there = campaigns.count_tasks(connection, one)
    if there == 0:
        if kept is None:
            return {"prompt_set": Message("required")}
        try:
            there = drawing.fill(connection, one, Plan.from_json(kept))
        except TooFewError as error:
            return {field: Message("too_few", {"n": error.there})}
    if one.purpose == "evaluation" and one.planned not in (None, there) and one.state == "draft":
        return {field: Message("too_few", {"n": there})}
    return {}


def _form_again(
    ask: Ask, connection: Connection, one: Campaign, values: CampaignValues, errors: Errors
) -> Response:
    page = campaign_form.form_page(ask, connection, values, campaign=one, errors=errors)
    return ask.show(page, 422)
