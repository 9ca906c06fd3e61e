"""Right answers on the labelers' own screen, and grades of demonstrations; `golden` takes both from files."""

from __future__ import annotations

import random
from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from alignloop.errors import JudgmentError
from alignloop.labeling import partition
from alignloop.labeling.app import answers
from alignloop.labeling.app.access import Access, Ask, Refused, Routes
from alignloop.labeling.app.drafts import Fields
from alignloop.labeling.app.pages.common import Errors, Message, Notice
from alignloop.labeling.app.pages.gold import GoldPage, GoldTask, GoldTasksPage, GradePage
from alignloop.labeling.app.pages.tasks import FlagChoice, Output
from alignloop.labeling.app.tasks import LETTERS, passage, turns_of_prompt
from alignloop.seeds import derive_seed
from alignloop.store import answer_keys, campaigns, flag_sets, grading
from alignloop.store.campaigns import Campaign
from alignloop.store.gold import Gold, relations_of

routes = Routes()

SHOWN = 20
"""Tasks on a page: the next ones follow as these get their answers."""
MOST_TO_GRADE = 100


@routes.get("gold_tasks", Access.RESEARCHER)
def gold_tasks(ask: Ask) -> Response:
    """Tasks that could be given right answers, in their order."""
    with ask.lab.store.read() as connection:
        campaign = _campaign(ask, connection)
        found = answer_keys.tasks_without(connection, campaign, SHOWN)
        page = GoldTasksPage(
            campaign=campaign.public_id,
            title=campaign.name,
            rows=tuple(
                GoldTask(
                    row.public_id,
                    turns_of_prompt(campaigns.task_of(connection, row.id)),
                    len(campaigns.items_of(connection, row.id)),
                )
                for row in found
            ),
            done=answer_keys.count_gold(connection, campaign),
            teaches=answer_keys.teaches(campaign),
        )
    return ask.show(page)


@routes.get("gold", Access.RESEARCHER)
def gold_page(ask: Ask) -> Response:
    """One task, to be answered."""
    with ask.lab.store.read() as connection:
        campaign = _campaign(ask, connection)
        task = answer_keys.find_task_without(connection, campaign, ask.path("task"))
        if task is None:
            return _late(ask, campaign)
        page = _page(ask, connection, campaign, task)
    return ask.show(page)


@routes.post("gold", Access.RESEARCHER, "rank[1] rank[2] flag[1] none_apply[1]")
def give_gold(ask: Ask) -> Response:
    """Keep the answers; they are never changed afterwards."""
    is_there, again, following = False, None, ()
    try:
        with ask.lab.store.write() as connection:
            campaign = _campaign(ask, connection)
            task = answer_keys.find_task_without(connection, campaign, ask.path("task"))
            if task is None:
                return _late(ask, campaign)
            is_there = True
            order = _order(ask, connection, campaign, task)
            flags = flag_sets.flags_of(connection, campaign.flag_set_id)
            gold, errors = _answers(ask.fields(), order, flags)
            if gold is None:
                again = _page(ask, connection, campaign, task, errors)
            else:
                answer_keys.give_answers(
                    connection, ask.now, ask.who.public_id, campaign, task.public_id, gold
                )
                following = answer_keys.tasks_without(connection, campaign, 1)
    except JudgmentError:
        if not is_there:
            raise
        return ask.go("gold_tasks", Notice("gold_late", "warning"), campaign=ask.path("campaign"))
    if again is not None:
        return ask.show(again, 422)  # drawn when others may write again
    if following:
        at = {"campaign": campaign.public_id, "task": following[0].public_id}
        return ask.go("gold", Notice("gold_saved"), **at)
    return ask.go("gold_tasks", Notice("gold_saved"), campaign=campaign.public_id)


@routes.get("grade", Access.RESEARCHER)
def grade_page(ask: Ask) -> Response:
    """The oldest demonstration that this researcher has not graded."""
    return _show_grade(ask, {})


@routes.post("grade", Access.RESEARCHER, "submission score")
def give_grade(ask: Ask) -> Response:
    """Grade it, and go on to the next."""
    score = answers.number(ask.fields(), "score", 1, 7)
    if score is None:
        return _show_grade(ask, {"score": Message("likert")})
    try:
        with ask.lab.store.write() as connection:
            grading.give_grade(connection, ask.now, ask.who, ask.field("submission"), score)
    except JudgmentError:  # it was graded in another tab, or replaced by its author
        return ask.go("grade", Notice("grade_late", "warning"))
    return ask.go("grade", Notice("grade_saved"))


# --- inside -----------------------------------------------------------------------------------------------------


def _campaign(ask: Ask, connection: Connection) -> Campaign:
    campaign = campaigns.get_campaign(connection, public_id=ask.path("campaign"))
    if not answer_keys.may_have_answers(campaign):
        raise Refused(404)
    return campaign


def _late(ask: Ask, campaign: Campaign) -> Response:
    return ask.go("gold_tasks", Notice("gold_late", "warning"), campaign=campaign.public_id)


def _order(ask: Ask, connection: Connection, campaign: Campaign, task: Any) -> list[int]:
    """Items in an order of this reader's own, which says nothing about who wrote what."""
    order = sorted(campaigns.items_of(connection, task.id))
    seed = derive_seed(campaign.seed, "gold answers", task.id, ask.who.id)
    random.Random(seed).shuffle(order)
    return order


def _page(
    ask: Ask, connection: Connection, campaign: Campaign, task: Any, errors: Errors | None = None
) -> GoldPage:
    order = _order(ask, connection, campaign, task)
    texts = campaigns.items_of(connection, task.id)
    fields = ask.fields()
    places = answers.places_of(fields, len(order))
    return GoldPage(
        campaign=campaign.public_id,
        title=campaign.name,
        task=task.public_id,
        prompt=turns_of_prompt(campaigns.task_of(connection, task.id)),
        outputs=tuple(
            Output(
                item=str(at),
                letter=LETTERS[at - 1],
                passage=passage(texts[item]),
                rating=answers.rating_of(fields, str(at)),
                place=places[at - 1],
            )
            for at, item in enumerate(order, start=1)
        ),
        flags=tuple(
            FlagChoice(key) for key in flag_sets.flags_of(connection, campaign.flag_set_id)
        ),
        errors=errors or dict[str, Message](),
    )


def _answers(
    fields: Fields, order: list[int], flags: list[str]
) -> tuple[Gold | None, dict[str, Message]]:
    """What a form says: an order of all outputs or of none, and flags of those outputs about which any were said."""
    errors: dict[str, Message] = {}
    places = answers.places_of(fields, len(order))
    relations: dict[tuple[int, int], int] = {}
    if partition.is_complete(places):
        ranked = zip(order, partition.dense(places), strict=True)
        relations = relations_of({item: place for item, place in ranked if place})
    elif any(place is not None for place in places):
        errors |= {
            f"rank[{at}]": Message("ranks")
            for at, place in enumerate(places, start=1)
            if place is None
        }
    said: dict[tuple[int, str], bool] = {}
    for at, item in enumerate(order, start=1):
        rating = answers.rating_of(fields, str(at))
        if not rating.flags and not rating.none_apply:
            continue
        if (rating.flags and rating.none_apply) or rating.flags - set(flags):
            errors[f"flag[{at}]"] = Message("flags")
        said |= {(item, key): key in rating.flags for key in flags}
    if not errors and not relations and not said:
        errors["rank[1]"] = Message("ranks")
    return (None, errors) if errors else (Gold(relations, said), errors)


def _show_grade(ask: Ask, errors: Errors) -> Response:
    with ask.lab.store.read() as connection:
        found = grading.to_grade(connection, ask.who, limit=MOST_TO_GRADE)
    sent = ask.field("submission")
    row = next((one for one in found if one.submission == sent), found[0] if found else None)
    if row is None:
        return ask.show(GradePage(""))
    page = GradePage(
        submission=row.submission,
        prompt=turns_of_prompt(row),
        response=passage(row.response),
        left=len(found),
        errors=errors,
    )
    return ask.show(page, 422 if errors else 200)
