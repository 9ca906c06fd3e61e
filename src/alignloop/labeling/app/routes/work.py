"""Doing tasks: claim, the screens, drafts, submitting, skipping, feedback on practice."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from alignloop.errors import ConflictError
from alignloop.labeling.app import tasks
from alignloop.labeling.app.access import Access, Ask, Refused, Routes
from alignloop.labeling.app.actions import act, go_to_screen, load, save
from alignloop.labeling.app.feedback import feedback_on
from alignloop.labeling.app.pages.common import Notice
from alignloop.labeling.ready import what_blocks
from alignloop.store import campaigns, queue

routes = Routes()

_COMMON = (
    "screen item rev client_uuid active_ms idle_ms first_input_ms action skip_reason skip_note"
)


@routes.post("claim", Access.LABELER, "campaign")
def claim(ask: Ask) -> Response:
    """Take the next task of a campaign, or go on with the one in hand."""
    with ask.lab.store.write() as connection:
        campaign = campaigns.get_campaign(connection, public_id=ask.field("campaign"))
        blocked = what_blocks(connection, ask.who, campaign)
        if campaign.state != "open" or blocked == "cohort":
            raise Refused(404)  # not theirs is as if it were not there
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
    work = load(ask)
    name, item = tasks.first_screen(work)
    return go_to_screen(ask, work, (name, item))


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
    return act(ask, ("demonstrate", ""))


@routes.post("rate", Access.LABELER, f"{_COMMON} likert[1] flag[1] none_apply[1] notes[1]")
def rate(ask: Ask) -> Response:
    """What screen (a) asks for."""
    return act(ask, ("rate", ask.path("item")))


@routes.post("rank", Access.LABELER, f"{_COMMON} rank[1] rank[2] moves_key moves_button moves_drag")
def rank(ask: Ask) -> Response:
    """What screen (b) asks for."""
    return act(ask, ("rank", ""))


@routes.post("compare", Access.LABELER, f"{_COMMON} verdict margin self_identified notes")
def compare(ask: Ask) -> Response:
    """What a comparison asks for."""
    return act(ask, ("compare", ""))


@routes.post("toxicity", Access.LABELER, f"{_COMMON} toxicity[1] relative[1] continuity[1]")
def toxicity(ask: Ask) -> Response:
    """What the toxicity screen asks for."""
    return act(ask, ("toxicity", ask.path("item")))


@routes.post("draft", Access.LABELER, _COMMON)
def draft(ask: Ask) -> Response:
    """Keep what a form holds; the answer comes after the commit."""
    if not ask.lab.drafts.allows(str(ask.who.id)):
        raise Refused(429, 5)
    try:
        work = save(ask, ask.fields())
    except ConflictError:
        # Sent by a button, the same form is refused with a page that shows both versions.
        return JSONResponse({"rev": load(ask).rev}, status_code=409)
    return JSONResponse({"rev": work.rev})


@routes.get("feedback", Access.LABELER)
def feedback_page(ask: Ask) -> Response:
    """What the researchers thought of a practice task."""
    with ask.lab.store.read() as connection:
        work = tasks.load(connection, ask.who, ask.path("task"))
        if work.campaign.purpose != "practice" or work.assignment.state != "submitted":
            raise Refused(404)
        return ask.show(feedback_on(connection, ask.who, work))


def _show(ask: Ask, screen: tuple[str, str]) -> Response:
    work = load(ask)
    if work.assignment.state != "open":
        return ask.go("work")
    return ask.show(tasks.page_of(ask, work, screen))
