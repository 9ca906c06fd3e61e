"""Doing tasks: claim, the screens, drafts, submitting, skipping, feedback on practice."""

from __future__ import annotations

import uuid
from typing import Any

from starlette.responses import JSONResponse, Response

from alignloop.errors import ConflictError
from alignloop.labeling import partition
from alignloop.labeling.app import answers, drafts, tasks
from alignloop.labeling.app.access import Access, Ask, Refused, Routes
from alignloop.labeling.app.answers import Checked
from alignloop.labeling.app.drafts import Fields
from alignloop.labeling.app.feedback import feedback_on
from alignloop.labeling.app.pages.common import Message, Notice
from alignloop.labeling.app.pages.tasks import ConflictPage, Difference
from alignloop.labeling.app.paths import path_to
from alignloop.labeling.app.tasks import Work
from alignloop.labeling.ready import what_blocks
from alignloop.store import campaigns, judgments, queue

routes = Routes()

_COMMON = (
    "screen item rev client_uuid active_ms idle_ms first_input_ms action skip_reason skip_note"
)
SKIP_REASONS = ("unclear", "expertise", "language", "distressing", "broken", "other")


@routes.post("claim", Access.LABELER, "campaign")
def claim(ask: Ask) -> Response:
    """Take the next task of a campaign, or go on with the one in hand."""
    with ask.lab.store.write() as connection:
        campaign = campaigns.get_campaign(connection, public_id=ask.field("campaign"))
        blocked = what_blocks(connection, ask.who, campaign)
        if blocked is not None:
            return ask.go("guidelines" if blocked == "guidelines" else "home")
        assignment = queue.claim(connection, ask.now, ask.who, campaign)
    if assignment is None:
        return ask.go("home", Notice("queue_empty", "info"))
    if campaign.form == "write":
        return ask.go("write_prompt")
    return ask.go("task", task=assignment.public_id)


@routes.get("task", Access.LABELER)
def task(ask: Ask) -> Response:
    """Where to go on with a task."""
    work = _load(ask)
    name, item = tasks.first_screen(work)
    return _go_to_screen(ask, work, (name, item))


@routes.get("demonstrate", Access.LABELER)
def demonstrate_page(ask: Ask) -> Response:
    """Write an answer."""
    return _show(ask, ("demonstrate", ""))


@routes.get("rate", Access.LABELER)
def rate_page(ask: Ask) -> Response:
    """Screen (a), for one output."""
    return _show(ask, ("rate", ask.path("item")))


@routes.get("rank", Access.LABELER)
def rank_page(ask: Ask) -> Response:
    """Screen (b)."""
    return _show(ask, ("rank", ""))


@routes.get("compare", Access.LABELER)
def compare_page(ask: Ask) -> Response:
    """A blind comparison."""
    return _show(ask, ("compare", ""))


@routes.get("toxicity", Access.LABELER)
def toxicity_page(ask: Ask) -> Response:
    """Figure 11, for one output."""
    return _show(ask, ("toxicity", ask.path("item")))


@routes.post("demonstrate", Access.LABELER, f"{_COMMON} response pasted_chars user_turn")
def demonstrate(ask: Ask) -> Response:
    """What the form of a demonstration asks for."""
    return _act(ask, ("demonstrate", ""))


@routes.post("rate", Access.LABELER, f"{_COMMON} likert[1] flag[1] none_apply[1] notes[1]")
def rate(ask: Ask) -> Response:
    """What screen (a) asks for."""
    return _act(ask, ("rate", ask.path("item")))


@routes.post("rank", Access.LABELER, f"{_COMMON} rank[1] rank[2] moves_key moves_button moves_drag")
def rank(ask: Ask) -> Response:
    """What screen (b) asks for."""
    return _act(ask, ("rank", ""))


@routes.post("compare", Access.LABELER, f"{_COMMON} verdict margin self_identified notes")
def compare(ask: Ask) -> Response:
    """What a comparison asks for."""
    return _act(ask, ("compare", ""))


@routes.post("toxicity", Access.LABELER, f"{_COMMON} toxicity[1] relative[1] continuity[1]")
def toxicity(ask: Ask) -> Response:
    """What the toxicity screen asks for."""
    return _act(ask, ("toxicity", ask.path("item")))


@routes.post("draft", Access.LABELER, _COMMON)
def draft(ask: Ask) -> Response:
    """Keep what a form holds; the answer comes after the commit."""
    if not ask.lab.drafts.allows(str(ask.who.id)):
        raise Refused(429, 5)
    sent = ask.fields()
    try:
        rev = save(ask, ask.path("task"), sent)
    except ConflictError:
        work = _load(ask)
        url = path_to("task", task=work.id, conflict=1)
        return JSONResponse({"rev": work.rev, "url": url}, status_code=409)
    return JSONResponse({"rev": rev})


@routes.get("feedback", Access.LABELER)
def feedback_page(ask: Ask) -> Response:
    """What the researchers thought of a practice task."""
    with ask.lab.store.read() as connection:
        work = tasks.load(connection, ask.who, ask.path("task"))
        if work.campaign.purpose != "practice" or work.assignment.state != "submitted":
            raise Refused(404)
        return ask.show(feedback_on(connection, ask.who, work))


def on_to_next(ask: Ask, work: Work) -> Response:
    """The next task of the campaign at once: nobody wants to press a button between two."""
    with ask.lab.store.write() as connection:
        campaign = campaigns.get_campaign(connection, campaign_id=work.campaign.id)
        blocked = what_blocks(connection, ask.who, campaign)
        following = None
        if blocked is None and campaign.state == "open":
            following = queue.claim(connection, ask.now, ask.who, campaign)
    if following is None:
        return ask.go("home", Notice("submitted"))
    if campaign.form == "write":
        return ask.go("write_prompt", Notice("submitted"))
    return ask.go("task", Notice("submitted"), task=following.public_id)


# --- what every screen does -------------------------------------------------------------------------------------


def save(ask: Ask, task_id: str, sent: Fields) -> int:
    """Merge a form into the task's draft; returns the new revision.

    Raises:
        ConflictError: the form was made from another revision.
    """
    with ask.lab.store.write() as connection:
        work = tasks.load(connection, ask.who, task_id)
        return _keep(connection, ask, work, drafts.merge(work.payload, sent))


def _keep(connection: Any, ask: Ask, work: Work, payload: dict[str, Any]) -> int:
    times = drafts.times_of(payload)
    return queue.save_draft(
        connection,
        ask.now,
        ask.who,
        work.id,
        payload,
        rev=ask.whole_number("rev"),
        active_ms=times.active_ms,
        idle_ms=times.idle_ms,
        first_input_ms=times.first_input_ms,
    )


def _load(ask: Ask) -> Work:
    with ask.lab.store.read() as connection:
        return tasks.load(connection, ask.who, ask.path("task"))


def _show(ask: Ask, screen: tuple[str, str]) -> Response:
    work = _load(ask)
    if work.assignment.state != "open":
        return ask.go("work")
    return ask.show(tasks.page_of(ask, work, screen))


def _act(ask: Ask, screen: tuple[str, str]) -> Response:
    """Keep what the form holds, then do what its button says."""
    action, sent = ask.field("action", "save"), ask.fields()
    sent["screen"], sent["item"] = [screen[0]], [screen[1]]
    work = _load(ask)
    if screen not in tasks.screens(work):
        raise Refused(404)
    if work.assignment.state == "submitted" and action == "submit":
        return _submit(ask, work, drafts.merge({}, sent))
    try:
        save(ask, work.id, sent)
    except ConflictError:
        return _conflict(ask, work, screen, sent, action)
    work = _load(ask)
    verb, _, argument = action.partition(":")
    match verb:
        case "submit":
            return _submit(ask, work, work.payload)
        case "next":
            return _next(ask, work, screen)
        case "back":
            at = tasks.screens(work).index(screen)
            return _go_to_screen(ask, work, tasks.screens(work)[max(at - 1, 0)])
        case "go":
            name = "rank" if argument == "rank" else screen[0] if screen[0] != "rank" else "rate"
            target = (name, "" if name == "rank" else argument)
            if target not in tasks.screens(work):
                target = screen
            return _go_to_screen(ask, work, target)
        case "skip":
            return _skip(ask, work, screen)
        case "seed":
            return _seed(ask, work, screen)
        case "continue" | "take_back":
            return _converse(ask, work, screen, verb)
        case "text" | "layout":
            response = _go_to_screen(ask, work, screen)
            ask.remember(response, **{verb: argument[:10]})
            return response
        case _:
            return _go_to_screen(ask, work, screen, Notice("saved"))


def _next(ask: Ask, work: Work, screen: tuple[str, str]) -> Response:
    """Check one output's screen and go on to the next."""
    name, item = screen
    if name == "rate":
        errors = answers.rating_errors(answers.rating_of(work.fields, item), item, work.flags)
    else:
        errors = answers.toxicity_errors(work.fields, item)
    if errors:
        return ask.show(tasks.page_of(ask, work, screen, errors), 422)
    all_screens = tasks.screens(work)
    at = all_screens.index(screen)
    if at + 1 == len(all_screens):
        return _submit(ask, work, work.payload)
    return _go_to_screen(ask, work, all_screens[at + 1])


def _submit(ask: Ask, work: Work, payload: dict[str, Any]) -> Response:
    """Check everything and hand it in."""
    if not ask.lab.submits.allows(str(ask.who.id)):
        raise Refused(429, 10)
    fields = drafts.fields_of(payload)
    checked = _check(work, fields)
    if checked.answer is None:
        last = tasks.screens(work)[-1]
        screen = (last[0] if last[0] != "rank" else "rate", checked.item) if checked.item else last
        return ask.show(tasks.page_of(ask, work, screen, checked.errors), 422)
    times = drafts.times_of(payload)
    with ask.lab.store.write() as connection:
        done = judgments.submit(
            connection,
            ask.now,
            ask.who,
            work.id,
            checked.answer,
            client_uuid=f"{work.id}/{ask.field('client_uuid')[:64] or uuid.uuid4().hex}",
            payload=payload,
            comment=answers.one(fields, "notes"),
            active_ms=times.active_ms,
            idle_ms=times.idle_ms,
            first_input_ms=times.first_input_ms,
        )
    if done.state == "late" and not done.was_there:
        return ask.go("work", Notice("surplus", "info"))
    if work.campaign.purpose == "practice":
        return ask.go("feedback", task=work.id)
    if done.is_surplus:
        return ask.go("home", Notice("surplus", "info"))
    return on_to_next(ask, work)


def _check(work: Work, fields: Fields) -> Checked:
    match work.campaign.form:
        case "demonstrate":
            return answers.demonstration(fields, answers.turns_of(fields))
        case "rank":
            return answers.ranking(
                fields, work.order, asks_ratings=work.campaign.asks_ratings, flags=work.flags
            )
        case "compare":
            return answers.vote(fields, work.order)
        case "toxicity":
            return answers.toxicity(fields, work.order)
        case "write":
            raise Refused(404)  # has its own address


def _skip(ask: Ask, work: Work, screen: tuple[str, str]) -> Response:
    reason, note = ask.field("skip_reason"), ask.field("skip_note").strip()
    if reason not in SKIP_REASONS:
        errors = {"skip_reason": Message("reason")}
        return ask.show(tasks.page_of(ask, work, screen, errors), 422)
    with ask.lab.store.write() as connection:
        queue.skip(connection, ask.now, ask.who, work.id, f"{reason}: {note}" if note else reason)
    return ask.go("home", Notice("skipped", "info"))


def _seed(ask: Ask, work: Work, screen: tuple[str, str]) -> Response:
    """Start the ranking from the grades of screen (a)."""
    grades = [
        answers.rating_of(work.fields, str(at)).likert for at in range(1, len(work.order) + 1)
    ]
    fields = {
        **work.fields,
        **{
            f"rank[{at}]": [str(place)]
            for at, place in enumerate(partition.from_scores(grades), start=1)
            if place is not None
        },
    }
    _replace_fields(ask, work, fields)
    return _go_to_screen(ask, work, screen)


def _converse(ask: Ask, work: Work, screen: tuple[str, str], verb: str) -> Response:
    """A dialogue, of which the labeler writes both sides: one more exchange, or the last one back."""
    if not work.campaign.dialogue:
        raise Refused(404)
    fields = work.fields
    said = fields.get("turns", [])
    response, user_turn = answers.one(fields, "response"), answers.one(fields, "user_turn")
    if verb == "continue":
        errors = {
            name: Message("required")
            for name, text in (("response", response), ("user_turn", user_turn))
            if not text.strip()
        }
        if errors:
            return ask.show(tasks.page_of(ask, work, screen, errors), 422)
        said, response, user_turn = [*said, response, user_turn], "", ""
    elif len(said) >= 2:
        said, response, user_turn = said[:-2], said[-2], said[-1]
    _replace_fields(
        ask,
        work,
        {**fields, "turns": said, "response": [response], "user_turn": [user_turn]},
    )
    return _go_to_screen(ask, work, screen)


def _replace_fields(ask: Ask, work: Work, fields: Fields) -> None:
    payload = {**work.payload, "fields": fields}
    with ask.lab.store.write() as connection:
        queue.save_draft(connection, ask.now, ask.who, work.id, payload, rev=work.rev)


def _go_to_screen(
    ask: Ask, work: Work, screen: tuple[str, str], notice: Notice | None = None
) -> Response:
    return ask.go(screen[0], notice, **tasks.address_of(ask, work, screen))


def _conflict(ask: Ask, work: Work, screen: tuple[str, str], sent: Fields, action: str) -> Response:
    """Two tabs: both versions, and the person decides. Nothing of either is lost."""
    if work.assignment.state != "open":
        return ask.go("work", Notice("surplus", "info"))
    mine = drafts.fields_of(drafts.merge({}, sent))
    theirs = work.fields
    names = [name for name in {**mine, **theirs} if name in mine or _is_of(screen, name)]
    with ask.lab.store.read() as connection:
        kept = queue.draft_of(connection, work.assignment)
    page = ConflictPage(
        action_url=path_to(screen[0], **tasks.address_of(ask, work, screen)),
        action=action,
        rev=work.rev,
        differences=tuple(
            Difference(
                field=name,
                letter=_letter(name),
                mine=tuple(mine.get(name, ())),
                theirs=tuple(theirs.get(name, ())),
            )
            for name in names
        ),
        mine_fields=tuple(
            (name, value)
            for name, values in sent.items()
            if name not in ("csrf_token", "rev", "action")
            for value in values
        ),
        theirs_at=tasks.moment(ask.now if kept is None else kept.saved_at),
    )
    return ask.show(page, 409)


def _is_of(screen: tuple[str, str], name: str) -> bool:
    item = f"[{screen[1]}]" if screen[1] else ""
    return name.endswith(item) if item else name.startswith(screen[0])


def _letter(name: str) -> str:
    number = name.partition("[")[2].rstrip("]")
    return tasks.LETTERS[int(number) - 1] if number.isdigit() and 0 < int(number) < 10 else ""
