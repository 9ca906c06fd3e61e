"""Labelers: inviting them, screening, cohorts, suspending; what one did and how it compares."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from sqlalchemy import Connection
from starlette.responses import Response

from alignloop.errors import JudgmentError
from alignloop.judges.labeler_quality import LabelerQuality, labeler_quality
from alignloop.judges.measure import Measure
from alignloop.labeling import judged, screened
from alignloop.labeling.app import charts, shown
from alignloop.labeling.app.access import Access, Ask, Refused, Routes
from alignloop.labeling.app.known import RESAMPLES, SEED, Known
from alignloop.labeling.app.pages.common import Cohort, Errors, Estimate, Message, Notice, Role
from alignloop.labeling.app.pages.researcher import (
    Chart,
    Cutoffs,
    LabelerCampaign,
    LabelerEvent,
    LabelerPage,
    LabelerRow,
    LabelersPage,
    LabelerState,
    Screening,
)
from alignloop.labeling.app.paths import path_to
from alignloop.labeling.app.tasks import moment
from alignloop.store import audit, campaigns, events, figures, grading, oversight, people
from alignloop.store.figures import OfLabeler
from alignloop.store.people import DAY, User
from alignloop.store.quality import Scope
from alignloop.web.i18n import LOCALES

routes = Routes()

LONGEST_NOTE = 1000
_COHORTS = {"train": "training", "heldout": "heldout"}
"""What a labeler can be of; 'pilot' is anybody, and a campaign's alone."""
_ROLES = ("labeler", "researcher")
_DECISIONS = {"accept": "qualified", "reject": "declined"}
_STATES = get_args(LabelerState)
_NONE = (None, None, None)
_ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")
_SHOWN_DAYS = 60
_CUTOFFS = Cutoffs(
    screened.CUTOFFS.flags, screened.CUTOFFS.rankings, screened.CUTOFFS.demonstrations
)


@routes.get("labelers", Access.RESEARCHER)
def labelers(ask: Ask) -> Response:
    """Everybody, with the four screening measures."""
    return _show_labelers(ask)


@routes.post("send_invite", Access.RESEARCHER, "email role cohort locale")
def send_invite(ask: Ask) -> Response:
    """Make an account and a link to it, which is shown on this answer alone; an earlier one stops working."""
    sent = _Invitation(
        ask.field("email").strip().lower()[:254],
        ask.field("role", "labeler"),
        ask.field("cohort", "train"),
        ask.field("locale", "en"),
    )
    errors = sent.problems()
    if errors:
        return _show_labelers(ask, sent, errors)
    token = ""
    with ask.lab.store.write() as connection:
        user = people.find_user(connection, email=sent.email)
        if user is None or user.state == "invited":
            token = _invite(connection, ask, user, sent)
    if not token:
        return _show_labelers(ask, sent, {"email": Message("taken")})
    scheme = "https" if ask.lab.origins.behind_tls else ask.request.url.scheme
    link = f"{scheme}://{ask.request.headers['host']}{path_to('invite', token=token)}"
    return _show_labelers(ask, link=link)


@routes.get("labeler", Access.RESEARCHER)
def labeler(ask: Ask) -> Response:
    """One labeler."""
    return _show_labeler(ask, {})


@routes.post("labeler_decision", Access.RESEARCHER, "decision note")
def decide(ask: Ask) -> Response:
    """Take a labeler on, or not; the four measures are kept as they stand."""
    decision, note = _DECISIONS.get(ask.field("decision")), ask.field("note").strip()
    if errors := _note_problem(note):
        return _show_labeler(ask, errors, "decision")
    with ask.lab.store.write() as connection:
        user = _labeler(connection, ask)
        # Held-out labelers are not screened (section 3.4): they are to be like people that nobody chose.
        if decision is None or user.cohort == "heldout":
            raise Refused(404)
        measures = screened.as_json(screened.screened(connection, user, resamples=RESAMPLES))
        people.decide_screening(
            connection, ask.now, ask.who, user, decision=decision, measures=measures, note=note
        )
    return ask.go("labeler", Notice("labeler_saved"), labeler=user.public_id)


@routes.post("labeler_cohort", Access.RESEARCHER, "cohort note")
def change_cohort(ask: Ask) -> Response:
    """Move a labeler who has no work yet that trains or evaluates."""
    cohort, note = _COHORTS.get(ask.field("cohort")), ask.field("note").strip()
    errors: dict[str, Message] = _note_problem(note)
    if cohort is None:
        errors["cohort"] = Message("required")
    if errors or cohort is None:
        return _show_labeler(ask, errors, "cohort")
    try:
        with ask.lab.store.write() as connection:
            user = _labeler(connection, ask)
            # Nobody is screened into the held-out cohort, and nobody joins the other without it.
            standing = "qualified" if cohort == "heldout" else "pending"
            if cohort != user.cohort:
                _change(connection, ask, user, note, cohort=cohort, standing=standing)
    except JudgmentError:
        return _show_labeler(ask, {"cohort": Message("cohort_kept")}, "cohort")
    return ask.go("labeler", Notice("labeler_saved"), labeler=user.public_id)


@routes.post("labeler_state", Access.RESEARCHER, "state note")
def change_state(ask: Ask) -> Response:
    """Suspend a labeler, or let them work again; what was submitted stays."""
    state, note = ask.field("state"), ask.field("note").strip()
    if errors := _note_problem(note):
        return _show_labeler(ask, errors, "state")
    with ask.lab.store.write() as connection:
        user = _labeler(connection, ask)
        if state not in ("active", "suspended"):
            raise Refused(404)
        if state == "active" and people.password_of(connection, user) is None:
            state = "invited"  # they never came in: the invitation counts again
        if state != user.state:
            _change(connection, ask, user, note, state=state)
    return ask.go("labeler", Notice("labeler_saved"), labeler=user.public_id)


# --- the list ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Invitation:
    """What the form of an invitation holds."""

    email: str = ""
    role: str = "labeler"
    cohort: str = "train"
    locale: str = "en"

    def problems(self) -> dict[str, Message]:
        found: dict[str, Message] = {}
        if not _ADDRESS.fullmatch(self.email):
            found["email"] = Message("email")
        if self.role not in _ROLES:
            found["role"] = Message("contradicts")
        if self.role == "labeler" and self.cohort not in _COHORTS:
            found["cohort"] = Message("contradicts")
        return found


def _invite(connection: Connection, ask: Ask, user: User | None, sent: _Invitation) -> str:
    cohort = _COHORTS[sent.cohort] if sent.role == "labeler" else None
    if user is None:
        user = people.add_user(
            connection,
            ask.now,
            ask.who.public_id,
            email=sent.email,
            name=sent.email.partition("@")[0],
            role=cast(Any, sent.role),
            cohort=cast(Any, cohort),
        )
    if sent.locale in LOCALES and sent.locale != user.locale:
        user = people.change_user(connection, ask.now, ask.who.public_id, user, locale=sent.locale)
    return people.invite(connection, ask.now, ask.who.public_id, user)


def _show_labelers(
    ask: Ask,
    sent: _Invitation | None = None,
    errors: Errors | None = None,
    link: str = "",
) -> Response:
    state = ask.query("state") if ask.query("state") in _STATES else None
    cohort = ask.query("cohort") if ask.query("cohort") in _COHORTS else None
    sent = sent or _Invitation()
    with ask.lab.store.read() as connection:
        rows = _rows(Known(ask, connection), connection)
        to_grade = len(grading.to_grade(connection, ask.who))
    chosen = tuple(
        row
        for row in rows
        if (state is None or row.state == state) and (cohort is None or row.cohort == cohort)
    )
    page = LabelersPage(
        rows=chosen,
        cutoffs=_CUTOFFS,
        state=cast(Any, state),
        cohort=cast(Any, cohort),
        to_grade=to_grade,
        invite_email=sent.email,
        invite_role=cast(Any, sent.role if sent.role in _ROLES else "labeler"),
        invite_cohort=cast(Any, sent.cohort if sent.cohort in _COHORTS else "train"),
        invite_link=link,
        errors=errors or dict[str, Message](),
    )
    return ask.show(page, 422 if errors else 200)


def _rows(known: Known, connection: Connection, only: User | None = None) -> list[LabelerRow]:
    found = [only] if only is not None else people.all_staff(connection)
    work = figures.of_labelers(connection, only)
    agreement = known.agreement_by_labeler()
    measures = known.measures()
    tasks, practised = figures.practised(connection)
    return [
        _row(
            user,
            _state(user, practised.get(user.id, 0) < tasks),
            work.get(user.id, OfLabeler()),
            # Held-out labelers are not screened (section 3.4).
            measures.get(user.id, _NONE) if user.cohort != "heldout" else _NONE,
            agreement.get(user.id),
        )
        for user in found
    ]


def _row(
    user: User,
    state: LabelerState,
    work: OfLabeler,
    measures: tuple[float | None, float | None, float | None],
    agreement: Estimate | None,
) -> LabelerRow:
    return LabelerRow(
        id=user.public_id,
        name=user.name,
        email=user.email,
        role=cast(Role, user.role),
        cohort=_face_cohort(user),
        state=state,
        screening=Screening(*measures, topics=user.topics),
        labels=work.labels,
        seconds=work.active_ms / 1000,
        agreement=agreement,
        last_seen=None if work.last_seen is None else moment(work.last_seen),
    )


def _face_cohort(user: User) -> Cohort | None:
    return None if user.cohort == "none" else cast(Cohort, shown.COHORTS[user.cohort])


def _state(user: User, has_practice_left: bool) -> LabelerState:
    if user.state != "active":
        return user.state
    if user.standing == "qualified":
        return "active"
    if user.standing == "declined":
        # The face may have no word for it; the decision can be looked at again either way.
        return cast(LabelerState, "declined") if "declined" in _STATES else "screening"
    return "practice" if has_practice_left else "screening"


# --- one labeler ------------------------------------------------------------------------------------------------


def _labeler(connection: Connection, ask: Ask) -> User:
    """The labeler of the address; a researcher is none."""
    user = people.get_staff(connection, ask.path("labeler"))
    if user.role != "labeler":
        raise Refused(404)
    return user


def _change(connection: Connection, ask: Ask, user: User, note: str, **changes: str) -> None:
    people.change_user(connection, ask.now, ask.who.public_id, user, **changes)
    events.append(
        connection, ask.now, ask.who.public_id, "say why", user.public_id, note=note[:LONGEST_NOTE]
    )


def _note_problem(note: str) -> dict[str, Message]:
    if not note:
        return {"note": Message("reason")}
    if len(note) > LONGEST_NOTE:
        return {"note": Message("too_long", {"limit": LONGEST_NOTE})}
    return {}


def _show_labeler(ask: Ask, errors: Mapping[str, Message], asked: str = "") -> Response:
    with ask.lab.store.read() as connection:
        user = people.get_staff(connection, ask.path("labeler"))
        known = Known(ask, connection)
        [row] = _rows(known, connection, user)
        quality = _quality(known, connection, user)
        page = LabelerPage(
            row=row,
            campaigns=_campaigns(known, connection, user),
            charts=_charts(ask, known, connection, user),
            events=_events(ask, connection, user),
            cutoffs=_CUTOFFS,
            tie_share=_value(quality, "tie_rate"),
            contradictions=_value(quality, "contradictions"),
            self_consistency=_value(quality, "consistency"),
            position_bias=_value(quality, "position_correlation"),
            length_bias=_value(quality, "length_correlation"),
            asked=cast(Any, asked),
            note=ask.field("note")[: 2 * LONGEST_NOTE],
            errors=errors,
        )
    return ask.show(page, 422 if errors else 200)


def _quality(known: Known, connection: Connection, user: User) -> LabelerQuality | None:
    """How the labeler's rankings look by themselves; how they compare with others' is known already."""

    def compute() -> LabelerQuality | None:
        own = judged.rankings_in(connection, Scope(by=user.id), likert=True, lengths=True)
        again = judged.repeats_in(connection, user.id)
        found = labeler_quality(
            [one.judgment for one in (*own, *again)], seed=SEED, resamples=RESAMPLES
        )
        return found.get(str(user.id))

    return known.keep(("quality", user.id), compute)


def _value(quality: LabelerQuality | None, name: str) -> float | None:
    measure: Measure | None = None if quality is None else getattr(quality, name)
    return None if measure is None else measure.value


def _campaigns(known: Known, connection: Connection, user: User) -> tuple[LabelerCampaign, ...]:
    of_campaign: dict[int, Estimate | None] = {}
    rows = oversight.campaigns_of(connection, user)
    for row in rows:
        campaign = campaigns.get_campaign(connection, campaign_id=row.id)
        if campaign.form in ("rank", "compare"):
            of_campaign[row.id] = known.agreement_by_labeler(campaign).get(user.id)
    return tuple(
        LabelerCampaign(
            id=row.public_id,
            title=row.name,
            done=int(row.done),
            skipped=int(row.skipped),
            seconds=int(row.active_ms) / 1000,
            agreement=of_campaign.get(row.id),
        )
        for row in rows
    )


def _charts(ask: Ask, known: Known, connection: Connection, user: User) -> tuple[Chart, ...]:
    since = (ask.now // DAY - _SHOWN_DAYS + 1) * DAY
    days = {row.day: float(row.tasks) for row in figures.days_of(connection, user, since)}
    if not days:
        return ()
    words = shown.words_of(ask)
    found = [shown.bars_by_day(ask, words.sentence("table.labels"), days, 0)]
    stretches = known.keep(("weeks", user.id), lambda: _by_week(known, user))
    if len(stretches) > 1:
        title = words.sentence("table.agreement")
        svg = charts.line_chart(
            title,
            [shown.day_label(day) for day in stretches],
            [charts.Series(title, list(stretches.values()))],
            charts.chart_words(words),
            label=words.sentence("table.week"),
            write="{:.0%}".format,
            from_zero=False,
        )
        found.append(Chart(title, svg))
    return tuple(found)


def _by_week(known: Known, user: User) -> dict[int, float]:
    """First day of each of the last weeks -> the labeler's agreement with all others."""
    week = 7
    mine = {one.judgment.task for one in known.shared() if one.judgment.labeler == str(user.id)}
    beside = [one for one in known.shared() if one.judgment.task in mine]
    return judged.agreement_by_stretch(beside, str(user.id), week * DAY, week)


def _events(ask: Ask, connection: Connection, user: User) -> tuple[LabelerEvent, ...]:
    """Decisions about a labeler, newest first; a reason stands with what it was given for."""
    words = shown.words_of(ask)
    found: list[LabelerEvent] = []
    rows = audit.events_about(connection, user)
    names = audit.names_of(connection, sorted({row.actor for row in rows}))
    decisions = iter(people.screenings_of(connection, user))
    note = ""
    for row in rows:
        detail: dict[str, Any] = json.loads(row.detail)
        if row.verb == "say why":
            note = str(detail.get("note", ""))
            continue
        what = _what(words, row.verb, detail)
        if what is None:
            continue
        if "standing" in detail and "cohort" not in detail:
            decision = next(decisions, None)
            note = decision.note if decision is not None else note
        actor: str = row.actor
        found.append(LabelerEvent(moment(row.at), names.get(actor, actor), what, note))
        note = ""
    return tuple(found)


def _what(words: Any, verb: str, detail: Mapping[str, Any]) -> str | None:
    """An entry of the log in words; None for what says nothing about the labeler's standing."""
    if verb == "invite":
        return words.sentence("labeler_state.invited")
    if verb != "change user":
        return None
    said: list[str] = []
    if "state" in detail:
        said.append(words.sentence(f"labeler_state.{detail['state']}"))
    if "cohort" in detail:
        title, name = words.sentence("campaign_form.cohort"), shown.COHORTS.get(detail["cohort"])
        said.append(f"{title}: {words.sentence(f'cohort.{name}')}" if name else title)
    elif "standing" in detail:
        decision = {"qualified": "accept", "declined": "reject"}.get(detail["standing"])
        title = words.sentence("labeler.screening")
        said.append(f"{title}: {words.sentence(f'decision.{decision}')}" if decision else title)
    return ", ".join(said) or None
