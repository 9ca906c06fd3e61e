"""Quality: tasks on which labelers differ, deciding one, how far they agree, and what labels cost."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast, get_args

from sqlalchemy import Connection
from starlette.responses import Response

from alignloop.judges.contested import contested_pairs
from alignloop.judges.judgment import Judgment
from alignloop.labeling import partition
from alignloop.labeling.app import answers, shown
from alignloop.labeling.app.access import Access, Ask, Refused, Routes
from alignloop.labeling.app.agreement import agreement_page
from alignloop.labeling.app.costs import economics_page
from alignloop.labeling.app.known import Known
from alignloop.labeling.app.pages.common import Errors, Message, Notice
from alignloop.labeling.app.pages.quality import (
    AdjudicatedOutput,
    AdjudicatePage,
    AdjudicationReason,
    AnonymousRanking,
    Choice,
    ContestedPair,
    DisagreementRow,
    DisagreementsPage,
)
from alignloop.labeling.app.tasks import LETTERS, passage
from alignloop.seeds import derive_seed
from alignloop.store import adjudication, campaigns
from alignloop.store.adjudication import SaidRanking

routes = Routes()

PER_PAGE = 20
LONGEST_NOTE = 4000
_OUTCOMES: Mapping[str, adjudication.Outcome] = {
    "accept": "accepted",
    "own": "own",
    "ambiguous": "ambiguous",
}
_CHOICES = {outcome: choice for choice, outcome in _OUTCOMES.items()}


@routes.get("disagreements", Access.RESEARCHER)
def disagreements(ask: Ask) -> Response:
    """Tasks of training campaigns on which labelers differ, the most contested first; or those that were decided."""
    decided = ask.query("decided") == "1"
    with ask.lab.store.read() as connection:
        known = Known(ask, connection)
        done = set(known.decided())
        contested = {int(one.task): one for one in known.contested()}
        if decided:
            ids = known.decided()
        else:
            ids = [task for task in contested if task not in done]
        paging = shown.paging(ask, len(ids), PER_PAGE)
        here = ids[(paging.page - 1) * PER_PAGE : paging.page * PER_PAGE]
        tasks = adjudication.find_tasks(connection, here)
        rows = tuple(
            _row(connection, tasks[task], contested.get(task), task in done) for task in here
        )
    return ask.show(DisagreementsPage(rows, paging, decided))


@routes.get("adjudicate", Access.RESEARCHER)
def adjudicate_page(ask: Ask) -> Response:
    """The rankings of a task, nobody's name with them, and the form to decide."""
    with ask.lab.store.read() as connection:
        task = _task(ask, connection)
        decision = adjudication.decision_on(connection, task.id)
        page = _page(ask, connection, task)
        if decision is not None:
            page = _with_decision(ask, connection, task, page, decision)
    return ask.show(page)


@routes.post("adjudicate", Access.RESEARCHER, "choice accepted reason note rank[1] rank[2]")
def adjudicate(ask: Ask) -> Response:
    """Accept one of the rankings, give one's own, or say that the task is ambiguous."""
    with ask.lab.store.write() as connection:
        task = _task(ask, connection)
        said = adjudication.rankings_of(connection, task.id)
        order = _order(ask, connection, task)
        places = answers.places_of(ask.fields(), len(order))
        errors = _problems(ask, said, places)
        if not errors and adjudication.has_labeled(connection, task, ask.who):
            errors["choice"] = Message("own_work")
        if not errors:
            accepted = {one.public_id: one.submission_id for one in said}
            outcome = _OUTCOMES[ask.field("choice")]
            groups = dict(zip(order, partition.dense(places), strict=True))
            adjudication.decide(
                connection,
                ask.now,
                ask.who,
                task,
                outcome=outcome,
                reason=cast(Any, ask.field("reason")),
                note=ask.field("note").strip(),
                submission_id=accepted[ask.field("accepted")] if outcome == "accepted" else None,
                groups={item: place or None for item, place in groups.items()}
                if outcome == "own"
                else None,
            )
    if errors:
        with ask.lab.store.read() as connection:
            return ask.show(_page(ask, connection, task, places, errors), 422)
    return ask.go("disagreements", Notice("adjudicated"))


@routes.get("agreement", Access.RESEARCHER)
def agreement(ask: Ask) -> Response:
    """How far labelers agree, by campaign and period."""
    with ask.lab.store.read() as connection:
        page = agreement_page(ask, connection)
    return ask.show(page)


@routes.get("economics", Access.RESEARCHER)
def economics(ask: Ask) -> Response:
    """What rankings of K outputs bring and cost."""
    with ask.lab.store.read() as connection:
        page = economics_page(ask, connection)
    return ask.show(page)


# --- disagreements ----------------------------------------------------------------------------------------------


def _row(connection: Connection, task: Any, contested: Any, is_decided: bool) -> DisagreementRow:
    k = len(campaigns.items_of(connection, task.id))
    said = adjudication.rankings_of(connection, task.id)
    opposed = 0 if contested is None else sum(pair.is_opposed for pair in contested.pairs)
    return DisagreementRow(
        task=task.public_id,
        campaign=task.campaign,
        prompt=shown.prompt_of(task),
        rankings=len(said),
        k=k,
        contested=opposed,
        pairs=k * (k - 1) // 2,
        agreement=1.0 if contested is None else 1 - contested.disagreement,
        decided=is_decided,
    )


def _task(ask: Ask, connection: Connection) -> Any:
    """The task of the address: of training, ranked, and by two labelers or more."""
    task = adjudication.find_task(connection, ask.path("task"))
    if task.form != "rank" or task.purpose != "training" or task.is_gold:
        raise Refused(404)
    if len(adjudication.rankings_of(connection, task.id)) < 2:
        raise Refused(404)
    return task


def _order(ask: Ask, connection: Connection, task: Any) -> list[int]:
    """Items in an order of this reader's own, which says nothing about who wrote what."""
    order = sorted(campaigns.items_of(connection, task.id))
    seed = derive_seed(task.seed, "adjudication", task.id, ask.who.id)
    random.Random(seed).shuffle(order)
    return order


def _page(
    ask: Ask,
    connection: Connection,
    task: Any,
    places: Sequence[int | None] = (),
    errors: Errors | None = None,
) -> AdjudicatePage:
    order = _order(ask, connection, task)
    texts = campaigns.items_of(connection, task.id)
    said = adjudication.rankings_of(connection, task.id)
    own = places or (None,) * len(order)
    choice, reason = ask.field("choice"), ask.field("reason")
    return AdjudicatePage(
        task=task.public_id,
        campaign=task.campaign,
        prompt=shown.prompt_of(task),
        outputs=tuple(
            AdjudicatedOutput(str(at), LETTERS[at - 1], passage(texts[item]), place)
            for at, (item, place) in enumerate(zip(order, own, strict=True), start=1)
        ),
        rankings=tuple(
            AnonymousRanking(
                one.public_id, tuple(one.groups[item] or 0 for item in order), one.comment
            )
            for one in said
        ),
        contested=_contested(said, order),
        choice=cast(Any, choice if choice in get_args(Choice) else None),
        accepted=ask.field("accepted")[:100],
        reason=cast(Any, reason if reason in get_args(AdjudicationReason) else None),
        note=ask.field("note")[:LONGEST_NOTE],
        errors=errors or dict[str, Message](),
    )


def _with_decision(
    ask: Ask, connection: Connection, task: Any, page: AdjudicatePage, decision: Any
) -> AdjudicatePage:
    """The page as it was decided; a new decision takes the old one's place."""
    own: list[int | None] = decision.rank_groups or []
    order = _order(ask, connection, task)
    outputs = tuple(
        replace(output, place=(own[item - 1] or 0) if own else None)
        for output, item in zip(page.outputs, order, strict=True)
    )
    accepted = next(
        (
            one.public_id
            for one in adjudication.rankings_of(connection, task.id)
            if one.submission_id == decision.submission_id
        ),
        "",
    )
    return replace(
        page,
        outputs=outputs,
        choice=cast(Any, _CHOICES[decision.outcome]),
        accepted=accepted,
        reason=decision.reason,
        note=decision.note,
    )


def _contested(said: Sequence[SaidRanking], order: Sequence[int]) -> tuple[ContestedPair, ...]:
    """Pairs that labelers do not see alike, by letters; rankings with outputs that were not rankable are left out."""
    letters = {item: LETTERS[at] for at, item in enumerate(order)}
    judgments = [
        Judgment(
            "task", one.public_id, tuple(group or 0 for _, group in sorted(one.groups.items()))
        )
        for one in said
        if None not in one.groups.values()
    ]
    found: list[ContestedPair] = []
    for pair in contested_pairs(judgments):
        first, second = letters[pair.first + 1], letters[pair.second + 1]
        if first < second:
            counts = (pair.prefer_first, pair.ties, pair.prefer_second)
        else:
            first, second = second, first
            counts = (pair.prefer_second, pair.ties, pair.prefer_first)
        found.append(ContestedPair(first, second, *counts))
    return tuple(found)


def _problems(
    ask: Ask, said: Sequence[SaidRanking], places: Sequence[int | None]
) -> dict[str, Message]:
    errors: dict[str, Message] = {}
    match ask.field("choice"):
        case "accept":
            if ask.field("accepted") not in {one.public_id for one in said}:
                errors["accepted"] = Message("required")
        case "own":
            errors |= {
                f"rank[{at}]": Message("ranks")
                for at, place in enumerate(places, start=1)
                if place is None
            }
            if not errors and sum(place != partition.APART for place in places) < 2:
                errors["rank[1]"] = Message("ranks")  # no pair is left to learn from
        case "ambiguous":
            pass
        case _:
            errors["choice"] = Message("required")
    if ask.field("reason") not in get_args(AdjudicationReason):
        errors["reason"] = Message("reason")
    if len(ask.field("note")) > LONGEST_NOTE:
        errors["note"] = Message("too_long", {"limit": LONGEST_NOTE})
    return errors
