"""What a task's forms ask for: keep, check, hand in, go on. Every button of every screen comes through `act`."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from alignloop.errors import ConflictError
from alignloop.labeling import partition
from alignloop.labeling.app import answers, drafts, tasks
from alignloop.labeling.app.access import Ask, Refused
from alignloop.labeling.app.answers import Checked
from alignloop.labeling.app.drafts import Fields
from alignloop.labeling.app.pages.common import Message, Notice
from alignloop.labeling.app.pages.tasks import ConflictPage, Difference
from alignloop.labeling.app.paths import path_to
from alignloop.labeling.app.tasks import Work
from alignloop.labeling.ready import what_blocks
from alignloop.store import campaigns, figures, judgments, queue
from alignloop.store import drafts as saved
from alignloop.store.judgments import Answer
from alignloop.store.queue import Assignment

SKIP_REASONS = ("unclear", "expertise", "language", "distressing", "broken", "other")


def load(ask: Ask) -> Work:
    """The task of this address, where it is the asker's."""
    with ask.lab.store.read() as connection:
        return tasks.load(connection, ask.who, ask.path("task"))


def save(ask: Ask, sent: Fields) -> Work:
    """Merge a form into the task's draft; returns the task as it is then.

    Raises:
        ConflictError: the form was made from another revision.
    """
    with ask.lab.store.write() as connection:
        work = tasks.load(connection, ask.who, ask.path("task"))
        payload = drafts.merge(work.payload, sent)
        return replace(work, payload=payload, rev=_keep(connection, ask, work, payload))


def _keep(connection: Connection, ask: Ask, work: Work, payload: dict[str, Any]) -> int:
    times = drafts.times_of(payload)
    return saved.save_draft(
        connection,
        ask.now,
        ask.who,
        work.id,
        payload,
        rev=_revision(ask, work),
        active_ms=times.active_ms,
        idle_ms=times.idle_ms,
        first_input_ms=times.first_input_ms,
    )


def _revision(ask: Ask, work: Work) -> int:
    """The revision that the form was typed on."""
    visit = ask.field("client_uuid")
    return drafts.revision(work.payload, work.rev, ask.whole_number("rev"), visit)


def act(ask: Ask, screen: tuple[str, str]) -> Response:
    """Keep what the form holds, then do what its button says."""
    action, sent = ask.field("action", "save"), ask.fields()
    sent["screen"], sent["item"] = [screen[0]], [screen[1]]
    if action == "submit":
        return _hand_in(ask, screen, sent)
    try:
        work = save(ask, sent)
    except ConflictError:
        return _conflict(ask, screen, sent, action)
    if screen not in tasks.screens(work):
        raise Refused(404)
    verb, _, argument = action.partition(":")
    match verb:
        case "next":
            return _next(ask, work, screen)
        case "back":
            at = tasks.screens(work).index(screen)
            return go_to_screen(ask, work, tasks.screens(work)[max(at - 1, 0)])
        case "go":
            name = "rank" if argument == "rank" else screen[0] if screen[0] != "rank" else "rate"
            target = (name, "" if name == "rank" else argument)
            if target not in tasks.screens(work):
                target = screen
            return go_to_screen(ask, work, target)
        case "skip":
            return _skip(ask, work, screen)
        case "seed":
            return _seed(ask, work, screen)
        case "continue" | "take_back":
            return _converse(ask, work, screen, verb)
        case "text" | "layout":
            response = go_to_screen(ask, work, screen)
            ask.remember(response, **{verb: argument[:10]})
            return response
        case _:
            return go_to_screen(ask, work, screen, Notice("saved"))


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
        return _hand_in(ask, screen, {})
    return go_to_screen(ask, work, all_screens[at + 1])


def _hand_in(ask: Ask, screen: tuple[str, str], sent: Fields) -> Response:
    """Check everything, hand it in, and take the next task: one transaction, durable before anybody is told.

    What is not complete is kept as a draft.
    """
    if not ask.lab.submits.allows(str(ask.who.id)):
        raise Refused(429, 10)
    try:
        with ask.lab.store.write() as connection:
            work = tasks.load(connection, ask.who, ask.path("task"))
            if screen not in tasks.screens(work):
                raise Refused(404)
            payload = _whole_payload(connection, ask, work, sent)
            checked = _check(work, drafts.fields_of(payload))
            done = following = None
            if checked.answer is not None:
                done = _submit(connection, ask, work, checked.answer, payload)
                following = next_task(connection, ask, work)
            elif work.assignment.state == "open":
                rev = _keep(connection, ask, work, payload)
                work = replace(work, payload=payload, rev=rev)
    except ConflictError:
        return _conflict(ask, screen, sent, "submit")
    if done is None:
        last = tasks.screens(work)[-1]
        wrong = (tasks.screens(work)[0][0], checked.item) if checked.item else last
        return ask.show(tasks.page_of(ask, work, wrong, checked.errors), 422)
    if done.state == "late" and not done.was_there:
        return ask.go("work", Notice("surplus", "info"))
    if work.campaign.purpose == "practice":
        return ask.go("feedback", task=work.id)
    if done.is_surplus and not done.was_there:
        return ask.go("home", Notice("surplus", "info"))
    return go_to_next(ask, work, following)


def _whole_payload(connection: Connection, ask: Ask, work: Work, sent: Fields) -> dict[str, Any]:
    """Everything that was typed: the draft with this form over it.

    Where the task is submitted already, what was submitted with this form over it: the same click again, whose answer
    was lost, or another tab.
    """
    if work.assignment.state == "submitted":
        before = figures.final_of(connection, work.assignment.id).payload
        return drafts.merge(before, sent)
    if sent and _revision(ask, work) != work.rev:
        raise ConflictError("another tab has saved another version of this task")
    return drafts.merge(work.payload, sent) if sent else work.payload


def _submit(
    connection: Connection, ask: Ask, work: Work, answer: Answer, payload: dict[str, Any]
) -> judgments.Submitted:
    times = drafts.times_of(payload)
    return judgments.submit(
        connection,
        ask.now,
        ask.who,
        work.id,
        answer,
        client_uuid=_client_uuid(ask, work),
        payload=payload,
        comment=answers.one(drafts.fields_of(payload), "notes"),
        active_ms=times.active_ms,
        idle_ms=times.idle_ms,
        first_input_ms=times.first_input_ms,
    )


def _client_uuid(ask: Ask, work: Work) -> str:
    """Names one attempt to submit, and cannot meet another person's."""
    return f"{work.id}/{ask.field('client_uuid')[:64] or uuid.uuid4().hex}"


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
    return go_to_screen(ask, work, screen)


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
    return go_to_screen(ask, work, screen)


def _replace_fields(ask: Ask, work: Work, fields: Fields) -> None:
    payload = {**work.payload, "fields": fields}
    with ask.lab.store.write() as connection:
        saved.save_draft(connection, ask.now, ask.who, work.id, payload, rev=work.rev)


def go_to_screen(
    ask: Ask, work: Work, screen: tuple[str, str], notice: Notice | None = None
) -> Response:
    return ask.go(screen[0], notice, **tasks.address_of(ask, work, screen))


def _conflict(ask: Ask, screen: tuple[str, str], sent: Fields, action: str) -> Response:
    """Two tabs: both versions, and the person decides. Nothing of either is lost."""
    work = load(ask)
    if work.assignment.state != "open":
        return ask.go("work", Notice("surplus", "info"))
    return show_conflict(ask, work, screen, sent, action)


def show_conflict(
    ask: Ask, work: Work, screen: tuple[str, str], sent: Fields, action: str
) -> Response:
    """The page with what was sent beside what is stored."""
    mine = drafts.fields_of(drafts.merge({}, sent))
    theirs = work.fields
    form = "prompt" if screen[0] == "write_prompt" else screen[0]
    names = [
        name
        for name in {**mine, **theirs}
        if drafts.belongs(name, form, screen[1]) and name not in drafts.NOT_SAID
    ]
    with ask.lab.store.read() as connection:
        kept = saved.draft_of(connection, work.assignment)
    page = ConflictPage(
        action_url=path_to(screen[0], **tasks.address_of(ask, work, screen)),
        action=action,
        rev=work.rev,
        differences=tuple(
            Difference(
                field=name,
                letter="" if form == "prompt" else _letter(name),
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


def _letter(name: str) -> str:
    number = name.partition("[")[2].rstrip("]")
    return tasks.LETTERS[int(number) - 1] if number.isdigit() and 0 < int(number) < 10 else ""


def next_task(connection: Connection, ask: Ask, work: Work) -> Assignment | None:
    """The next task of the campaign at once: nobody wants to press a button between two."""
    campaign = campaigns.get_campaign(connection, campaign_id=work.campaign.id)
    if campaign.state != "open" or what_blocks(connection, ask.who, campaign) is not None:
        return None
    return queue.claim(connection, ask.now, ask.who, campaign)


def go_to_next(ask: Ask, work: Work, following: Assignment | None) -> Response:
    """To the next task, or home where none is left."""
    if following is None:
        return ask.go("home", Notice("submitted"))
    if work.campaign.form == "write":
        return ask.go("write_prompt", Notice("submitted"))
    # A task that nobody has opened begins with its first screen: no need to ask for it.
    name, item = tasks.first_of(work.campaign)
    return ask.go(name, Notice("submitted"), task=following.public_id, item=item or None)
