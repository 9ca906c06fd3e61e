"""A task in somebody's hands, as its pages show it: texts, order, what was typed, where one is."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Connection

from alignloop.labeling.app import answers
from alignloop.labeling.app.access import Ask, Refused
from alignloop.labeling.app.drafts import Fields, fields_of, times_of
from alignloop.labeling.app.pages.common import Errors, Message, Passage, Turn
from alignloop.labeling.app.pages.tasks import (
    ComparePage,
    DemonstratePage,
    FlagChoice,
    Output,
    RankPage,
    RatePage,
    Task,
    ToxicityPage,
)
from alignloop.store import campaigns, flag_sets, queue
from alignloop.store import drafts as saved
from alignloop.store.campaigns import Campaign
from alignloop.store.people import User
from alignloop.store.queue import Assignment
from alignloop.web.richtext import rich

LETTERS = "ABCDEFGHI"


@dataclass(frozen=True, slots=True)
class Work:
    """Everything about one assignment that its pages and its submission need."""

    assignment: Assignment
    campaign: Campaign
    task: Any
    """The row of the task with its prompt."""
    items: dict[int, str]
    flags: tuple[str, ...]
    rev: int
    payload: dict[str, Any]
    """The draft; that of the last submission where there is none."""

    @property
    def id(self) -> str:
        """In addresses."""
        return self.assignment.public_id

    @property
    def order(self) -> tuple[int, ...]:
        """Items, by their place on the page."""
        return self.assignment.display_order

    @property
    def fields(self) -> Fields:
        """What was typed."""
        return fields_of(self.payload)


def load(connection: Connection, user: User, public_id: str) -> Work:
    """A labeler's own task.

    Raises:
        JudgmentError: it is not theirs, or not there.
    """
    assignment = queue.get_assignment(connection, user, public_id)
    campaign = campaigns.get_campaign(connection, campaign_id=assignment.campaign_id)
    draft = saved.draft_of(connection, assignment)
    return Work(
        assignment=assignment,
        campaign=campaign,
        task=campaigns.task_of(connection, assignment.task_id),
        items=campaigns.items_of(connection, assignment.task_id),
        flags=tuple(flag_sets.flags_of(connection, campaign.flag_set_id)),
        rev=0 if draft is None else draft.rev,
        payload={} if draft is None else draft.payload,
    )


def first_screen(work: Work) -> tuple[str, str]:
    """(page, item) where to go on: the first screen that is not complete."""
    match work.campaign.form:
        case "rank":
            for at in range(1, len(work.order) + 1):
                if not work.campaign.asks_ratings:
                    break
                if not answers.rating_of(work.fields, str(at)).is_complete:
                    return "rate", str(at)
            return "rank", ""
        case "toxicity":
            for at in range(1, len(work.order) + 1):
                if answers.toxicity_errors(work.fields, str(at)):
                    return "toxicity", str(at)
            return "toxicity", "1"
        case "compare":
            return "compare", ""
        case "write":
            return "write_prompt", ""
        case "demonstrate":
            return "demonstrate", ""


def first_of(campaign: Campaign) -> tuple[str, str]:
    """(page, item) where a task that nobody has opened begins."""
    match campaign.form:
        case "rank":
            return ("rate", "1") if campaign.asks_ratings else ("rank", "")
        case "toxicity":
            return "toxicity", "1"
        case "write":
            return "write_prompt", ""
        case form:
            return form, ""


def screens(work: Work) -> list[tuple[str, str]]:
    """All screens of a task, in order."""
    places = [str(at) for at in range(1, len(work.order) + 1)]
    match work.campaign.form:
        case "rank":
            rated = [("rate", at) for at in places] if work.campaign.asks_ratings else []
            return [*rated, ("rank", "")]
        case "toxicity":
            return [("toxicity", at) for at in places]
        case _:
            return [first_screen(work)]


def address_of(ask: Ask, work: Work, screen: tuple[str, str]) -> dict[str, str]:
    """What a screen's address is made from."""
    del ask
    name, item = screen
    if name == "write_prompt":
        return {}
    return {"task": work.id, **({"item": item} if item else {})}


def page_of(
    ask: Ask,
    work: Work,
    screen: tuple[str, str],
    errors: Errors | None = None,
    client_uuid: str = "",
) -> Any:
    """One screen of a task, with what was typed so far."""
    name, item = screen
    if screen not in screens(work):
        raise Refused(404)
    errors = errors or dict[str, Message]()
    task = _task(ask, work, screen, client_uuid)
    match name:
        case "demonstrate":
            return DemonstratePage(
                task=task,
                response=answers.one(work.fields, "response"),
                dialogue=work.campaign.dialogue,
                turns=tuple(
                    Turn("user" if role == "user" else "assistant", passage(text))
                    for role, text in answers.turns_of(work.fields)
                ),
                user_turn=answers.one(work.fields, "user_turn"),
                lang=_lang(work.task.language),
                max_chars=answers.MAX_RESPONSE,
                errors=errors,
            )
        case "rate":
            outputs = _outputs(work)
            return RatePage(
                task=task,
                output=outputs[int(item) - 1],
                outputs=outputs,
                flags=_flag_choices(work),
                errors=errors,
            )
        case "rank":
            return RankPage(task=task, outputs=_outputs(work), errors=errors)
        case "compare":
            left, right = (passage(work.items[number]) for number in work.order)
            return ComparePage(
                task=task,
                left=left,
                right=right,
                verdict=cast(Any, answers.one(work.fields, "verdict") or None),
                margin=answers.number(work.fields, "margin", 1, 3),
                self_identified=cast(Any, frozenset(work.fields.get("self_identified", []))),
                notes=answers.one(work.fields, "notes"),
                errors=errors,
            )
        case _:
            return _toxicity_page(work, task, item, errors)


def passage(text: str, language: str = "") -> Passage:
    """A text by somebody else, plain and with its formatting."""
    return Passage(text, _lang(language), rich(text))


def turns_of_prompt(task: Any) -> tuple[Turn, ...]:
    """The conversation of a task, which ends with the user's turn; few-shot examples stand before their query."""
    said = [Turn(role, passage(text, task.language)) for role, text in task.history]
    return (*said, Turn("user", passage(task.text, task.language)))


# --- inside -----------------------------------------------------------------------------------------------------


def _task(ask: Ask, work: Work, screen: tuple[str, str], client_uuid: str) -> Task:
    all_screens = screens(work)
    return Task(
        id=work.id,
        campaign=work.campaign.name,
        prompt=() if work.task.prompt_id is None else turns_of_prompt(work.task),
        rev=work.rev,
        client_uuid=client_uuid or uuid.uuid4().hex,
        guideline=f"{work.campaign.guideline_purpose}/{work.campaign.guideline_version}",
        purpose=work.campaign.guideline_purpose,
        seconds=times_of(work.payload).active_ms // 1000,
        page=all_screens.index(screen) + 1,
        pages=len(all_screens),
        practice=work.campaign.purpose == "practice",
        text_mode="rich" if ask.preferences.get("text") == "rich" else "plain",
        layout="columns" if ask.preferences.get("layout") == "columns" else "list",
        skip_reason=cast(Any, answers.one(work.fields, "skip_reason") or None),
        skip_note=answers.one(work.fields, "skip_note"),
    )


def _outputs(work: Work) -> tuple[Output, ...]:
    places = answers.places_of(work.fields, len(work.order))
    return tuple(
        Output(
            item=str(at),
            letter=LETTERS[at - 1],
            passage=passage(work.items[number]),
            rating=answers.rating_of(work.fields, str(at)),
            place=places[at - 1],
        )
        for at, number in enumerate(work.order, start=1)
    )


def _flag_choices(work: Work) -> tuple[FlagChoice, ...]:
    return tuple(FlagChoice(key) for key in work.flags)


def _toxicity_page(work: Work, task: Task, item: str, errors: Errors) -> ToxicityPage:
    fields, outputs = work.fields, _outputs(work)
    return ToxicityPage(
        task=task,
        output=outputs[int(item) - 1],
        outputs=outputs,
        input_toxicity=answers.number(fields, "input_toxicity", 0, 2),
        toxicity=answers.number(fields, f"toxicity[{item}]", 0, 2),
        relative=answers.number(fields, f"relative[{item}]", -1, 1),
        continuity=answers.number(fields, f"continuity[{item}]", 1, 7),
        notes=answers.one(fields, f"notes[{item}]"),
        finished=frozenset(
            output.item for output in outputs if not answers.toxicity_errors(fields, output.item)
        ),
        errors=errors,
    )


def _lang(code: str) -> str:
    if code == "zh":
        return "zh-Hans"
    return code or "und"


def moment(at: int) -> datetime:
    """Milliseconds since 1970 as a time, UTC."""
    return datetime.fromtimestamp(at / 1000, UTC)
