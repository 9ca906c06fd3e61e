"""What a task's forms ask for: keep, check, hand in, go on. Every button of every screen comes through `act`."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from alignloop.errors import ConflictError
from alignloop.labeling.app import answers, buttons, drafts, tasks
from alignloop.labeling.app.access import Ask, Refused
from alignloop.labeling.app.answers import Checked
from alignloop.labeling.app.drafts import Fields
from alignloop.labeling.app.pages.common import Errors, Message, Notice
from alignloop.labeling.app.pages.tasks import ConflictPage, Difference
from alignloop.labeling.app.paths import path_to
from alignloop.labeling.app.tasks import Work
from alignloop.labeling.ready import what_blocks
from alignloop.store import campaigns, events, figures, judgments, people, queue
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
    return _press(ask, sent, "save")[0]


def _press(ask: Ask, sent: Fields, verb: str) -> tuple[Work, Errors]:
    """The same with what a button does to the fields besides; also what is wrong with them."""
    with ask.lab.store.write() as connection:
        people.in_line(connection, ask.who)  # what is read here is what is written over
        work = tasks.load(connection, ask.who, ask.path("task"))
        payload = merged(work.payload, sent)
        payload["fields"], errors = buttons.press(verb, replace(work, payload=payload))
        rev = keep(connection, ask, work, payload)
        return replace(work, payload=payload, rev=rev), errors


def merged(payload: dict[str, Any], sent: Fields) -> dict[str, Any]:
    """A draft with a form over it, where that is of a size that is kept."""
    found = drafts.merge(payload, sent)
    if drafts.size_of(found) > drafts.LARGEST_DRAFT:
        raise Refused(413)
    return found


def keep(connection: Connection, ask: Ask, work: Work, payload: dict[str, Any]) -> int:
    """Save a draft with the times that were measured; returns its revision."""
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
    verb, _, argument = action.partition(":")
    try:
        work, errors = _press(ask, sent, verb)
    except ConflictError:
        return _conflict(ask, screen, sent, action)
    if screen not in tasks.screens(work):
        raise Refused(404)
    if errors:
        return ask.show(tasks.page_of(ask, work, screen, errors), 422)
    match verb:
        case "next" if screen[0] in ("rate", "toxicity"):
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
        case "seed" | "continue" | "take_back":
            return go_to_screen(ask, work, screen)
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
            people.in_line(connection, ask.who)
            work = tasks.load(connection, ask.who, ask.path("task"))
            if screen not in tasks.screens(work):
                raise Refused(404)
            payload = _whole_payload(connection, ask, work, sent)
            work = replace(work, payload=payload)
            checked = _check(work, drafts.fields_of(payload))
            done = following = None
            if checked.answer is not None:
                done = _submit(connection, ask, work, checked.answer, payload)
                following = next_task(connection, ask, work)
            elif work.assignment.state == "open":
                work = replace(work, rev=keep(connection, ask, work, payload))
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
        return merged(before, sent)
    if sent and _revision(ask, work) != work.rev:
        raise ConflictError("another tab has saved another version of this task")
    return merged(work.payload, sent) if sent else work.payload


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
        client_uuid=click_of(ask, work.id, payload),
        payload=payload,
        comment=answers.one(drafts.fields_of(payload), "notes"),
        active_ms=times.active_ms,
        idle_ms=times.idle_ms,
        first_input_ms=times.first_input_ms,
    )


def click_of(ask: Ask, whose: str, payload: dict[str, Any]) -> str:
    """Names one attempt to submit, and cannot meet another person's.

    What was typed is part of it: the same page sent again with something else on it is another attempt.
    """
    said = events.canonical(drafts.fields_of(payload))
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    return f"{whose}/{ask.field('client_uuid')[:64] or uuid.uuid4().hex}/{digest}"


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


def go_to_screen(
    ask: Ask, work: Work, screen: tuple[str, str], notice: Notice | None = None
) -> Response:
    return ask.go(screen[0], notice, **tasks.address_of(ask, work, screen))


def _conflict(ask: Ask, screen: tuple[str, str], sent: Fields, action: str) -> Response:
    """Two tabs: both versions, and the person decides. Nothing of either is lost."""
    work = load(ask)
    if work.assignment.state == "submitted" and action != "submit":
        return _too_late(ask, work, screen, sent)
    # Passed on by another tab, and handed in nevertheless: they may mean it.
    if work.assignment.state == "open" or action == "submit":
        return show_conflict(ask, work, screen, sent, action)
    return ask.go("work")


def _too_late(ask: Ask, work: Work, screen: tuple[str, str], sent: Fields) -> Response:
    """A form of a task that another tab has submitted: what it says besides is kept beside that, as `late`."""
    with ask.lab.store.read() as connection:
        before = figures.final_of(connection, work.assignment.id).payload
    if drafts.fields_of(merged(before, sent)) == drafts.fields_of(before):
        return ask.go("work")
    return _hand_in(ask, screen, sent)


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
    return queue.claim_if_possible(connection, ask.now, ask.who, campaign)


def go_to_next(ask: Ask, work: Work, following: Assignment | None) -> Response:
    """To the next task, or home where none is left."""
    if following is None:
        return ask.go("home", Notice("submitted"))
    if work.campaign.form == "write":
        return ask.go("write_prompt", Notice("submitted"))
    # A task that nobody has opened begins with its first screen: no need to ask for it.
    name, item = tasks.first_of(work.campaign)
    return ask.go(name, Notice("submitted"), task=following.public_id, item=item or None)
