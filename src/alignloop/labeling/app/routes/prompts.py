"""Writing prompts: plain, few-shot and user-based (section 3.2 and A.1 of the paper)."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from alignloop.data.incoming import USE_CASES, Kind
from alignloop.errors import ConflictError
from alignloop.labeling.app import answers, drafts, tasks
from alignloop.labeling.app.access import Access, Ask, Refused, Routes
from alignloop.labeling.app.actions import click_of, keep, merged, next_task, show_conflict
from alignloop.labeling.app.drafts import Fields
from alignloop.labeling.app.pages.common import Errors, Message, Notice, Passage
from alignloop.labeling.app.pages.tasks import ExamplePair, Finding, PromptPage
from alignloop.labeling.app.tasks import Work
from alignloop.labeling.ready import what_blocks
from alignloop.labeling.writing import consent_text, findings_in, take_in
from alignloop.store import campaigns, figures, judgments, people, queue

routes = Routes()

KINDS: dict[str, Kind] = {
    "plain": "labeler_plain",
    "few_shot": "labeler_fewshot",
    "user_based": "labeler_user_based",
}
LONGEST = 8000
"""Characters of a prompt."""
MOST_PAIRS = 20
LANGUAGES = ("en", "zh")
_FIELDS = (
    "rev client_uuid active_ms idle_ms first_input_ms action kind text pairs query[1] response[1] use_case lang "
    "consent findings_seen"
)


@routes.get("write_prompt", Access.LABELER)
def prompt_page(ask: Ask) -> Response:
    """The form, of the task in hand; a task is taken at home, since looking at a page takes nothing."""
    with ask.lab.store.read() as connection:
        work = _in_hand(connection, ask)
    if work is None:
        return ask.go("home")
    return ask.show(_page(ask, work, kind=ask.query("kind")))


@routes.post("prompt_draft", Access.LABELER, _FIELDS)
def prompt_draft(ask: Ask) -> Response:
    """Keep what the form holds."""
    if not ask.lab.drafts.allows(str(ask.who.id)):
        raise Refused(429, 5)
    try:
        with ask.lab.store.write() as connection:
            people.in_line(connection, ask.who)
            work = _in_hand(connection, ask)
            if work is None:
                raise Refused(404)
            return JSONResponse(
                {"rev": keep(connection, ask, work, merged(work.payload, _sent(ask)))}
            )
    except ConflictError:
        with ask.lab.store.read() as connection:
            found = _in_hand(connection, ask)
        return JSONResponse({"rev": 0 if found is None else found.rev}, status_code=409)


@routes.post("write_prompt", Access.LABELER, _FIELDS)
def write_prompt(ask: Ask) -> Response:
    """What the form asks for: one transaction, durable before anybody is told."""
    verb, _, argument = ask.field("action", "save").partition(":")
    if verb == "submit" and not ask.lab.submits.allows(str(ask.who.id)):
        raise Refused(429, 10)
    errors, following = dict[str, Message](), None
    try:
        with ask.lab.store.write() as connection:
            people.in_line(connection, ask.who)
            if judgments.find_submission(connection, _click(ask)) is not None:
                # Pressed twice: what is in hand now is another task.
                return _go_on(ask, _in_hand(connection, ask) is not None)
            work = _in_hand(connection, ask) or _taken(connection, ask)
            if work is not None:
                payload = merged(work.payload, _sent(ask))
                payload["fields"] = _pressed(drafts.fields_of(payload), verb, argument)
                rev = keep(connection, ask, work, payload)
                work = replace(work, payload=payload, rev=rev)
                errors = _errors(work.fields) if verb == "submit" else {}
                if verb == "submit" and not errors:
                    _hand_in(connection, ask, work)
                    following = next_task(connection, ask, work)
    except ConflictError:
        with ask.lab.store.read() as connection:
            stored = _in_hand(connection, ask)
        if stored is None:
            raise Refused(404) from None
        return show_conflict(ask, stored, ("write_prompt", ""), _sent(ask), ask.field("action"))
    if work is None:
        # Nobody wants another prompt; what was written is still on the page.
        typed = drafts.fields_of(drafts.merge({}, _sent(ask)))
        return ask.show(_page(ask, None, typed), 409, Notice("queue_empty", "warning"))
    if verb == "submit" and not errors:
        return _go_on(ask, following is not None)
    return ask.show(_page(ask, work, errors=errors), 422 if errors else 200)


# --- inside -----------------------------------------------------------------------------------------------------


def _in_hand(connection: Connection, ask: Ask) -> Work | None:
    """The prompt in hand; of a campaign that was closed meanwhile too, where there is no other."""
    found = campaigns.all_campaigns(connection)
    for campaign in sorted(found, key=lambda campaign: campaign.state != "open"):
        if campaign.form == "write":
            held = queue.open_assignment(connection, ask.who, campaign)
            if held is not None:
                return tasks.load(connection, ask.who, held.public_id)
    return None


def _taken(connection: Connection, ask: Ask) -> Work | None:
    """One for whoever has written without: from a tab whose task another tab has handed in."""
    for campaign in campaigns.all_campaigns(connection, state="open"):
        if campaign.form == "write" and what_blocks(connection, ask.who, campaign) is None:
            taken = queue.claim_if_possible(connection, ask.now, ask.who, campaign)
            if taken is not None:
                return tasks.load(connection, ask.who, taken.public_id)
    return None


def _sent(ask: Ask) -> Fields:
    return {**ask.fields(), "screen": ["prompt"], "item": [""]}


def _click(ask: Ask) -> str:
    """Names one attempt to hand in; no task is part of it, since the form names none."""
    return click_of(ask, f"prompt/{ask.who.public_id}", drafts.merge({}, _sent(ask)))


def _pressed(fields: Fields, verb: str, argument: str) -> Fields:
    """What a button does to the fields."""
    match verb:
        case "add_pair":
            return {**fields, "pairs": [str(min(_pair_count(fields) + 1, MOST_PAIRS))]}
        case "remove_pair":
            return _without_pair(fields, argument)
        case "kind" if argument in KINDS:
            return {**fields, "kind": [argument]}
        case _:
            return fields


def _hand_in(connection: Connection, ask: Ask, work: Work) -> None:
    fields, times = work.fields, drafts.times_of(work.payload)
    written = take_in(
        connection,
        ask.now,
        ask.who,
        kind=KINDS[_kind(fields)],
        text=answers.one(fields, "text").strip(),
        examples=_pairs(fields) if _kind(fields) == "few_shot" else [],
        use_case=answers.one(fields, "use_case"),
        language=answers.one(fields, "lang"),
        findings=[finding.kind for finding in findings_in(_everything(fields))],
    )
    judgments.submit(
        connection,
        ask.now,
        ask.who,
        work.id,
        written,
        client_uuid=_click(ask),
        payload=work.payload,
        active_ms=times.active_ms,
        idle_ms=times.idle_ms,
        first_input_ms=times.first_input_ms,
    )


def _go_on(ask: Ask, has_more: bool) -> Response:
    return ask.go("write_prompt" if has_more else "home", Notice("submitted"))


def _errors(fields: Fields) -> dict[str, Message]:
    errors: dict[str, Message] = {}
    text = answers.one(fields, "text")
    if not text.strip():
        errors["text"] = Message("required")
    elif len(text) > LONGEST:
        errors["text"] = Message("too_long", {"limit": LONGEST})
    if answers.one(fields, "use_case") not in USE_CASES:
        errors["use_case"] = Message("required")
    if answers.one(fields, "lang") not in LANGUAGES:
        errors["lang"] = Message("required")
    if answers.one(fields, "consent") != "1":
        errors["consent"] = Message("consent")
    if _kind(fields) == "few_shot":
        pairs = _pairs(fields)
        for number, (query, response) in enumerate(pairs, start=1):
            if not query.strip() or not response.strip():
                name = f"query[{number}]" if not query.strip() else f"response[{number}]"
                errors[name] = Message("pair_empty")
            for name, said in (("query", query), ("response", response)):
                if len(said) > LONGEST:
                    errors[f"{name}[{number}]"] = Message("too_long", {"limit": LONGEST})
        if len(pairs) < 2:
            errors["pairs"] = Message("pair_empty")
    is_looked_at = answers.one(fields, "findings_seen") == "1"
    if not errors and not is_looked_at and findings_in(_everything(fields)):
        errors["text"] = Message("pii")
    return errors


def _page(
    ask: Ask,
    work: Work | None,
    typed: Fields | None = None,
    errors: Errors | None = None,
    kind: str = "",
) -> PromptPage:
    fields = work.fields if work is not None else typed or {}
    description = _description(work)
    usual = "plain" if description is None else "user_based"
    chosen = kind if kind in KINDS else _kind(fields, usual)
    written, agreed = 0, consent_text(ask.locale)
    if work is not None:
        with ask.lab.store.read() as connection:
            written = figures.done_by(connection, ask.now, ask.who, work.campaign).submitted
    findings = findings_in(_everything(fields)) if errors and "text" in errors else ()
    return PromptPage(
        kind=cast(Any, chosen),
        rev=0 if work is None else work.rev,
        client_uuid=uuid.uuid4().hex,
        consent_text=Passage(agreed, "zh-Hans" if ask.locale == "zh" else "en"),
        text=answers.one(fields, "text"),
        pairs=tuple(
            ExamplePair(query, response) for query, response in _pairs({"pairs": ["2"], **fields})
        )
        if chosen == "few_shot"
        else (),
        use_case=cast(Any, answers.one(fields, "use_case") or None),
        lang=answers.one(fields, "lang") or ask.locale,
        langs=LANGUAGES,
        consent=answers.one(fields, "consent") == "1",
        description=description,
        findings=tuple(
            Finding(cast(Any, finding.shown_as), finding.excerpt) for finding in findings
        ),
        written=written,
        max_chars=LONGEST,
        errors=errors or dict[str, Message](),
    )


def _description(work: Work | None) -> Passage | None:
    text = None if work is None else work.task.description
    return None if text is None else Passage(text, "und")


def _kind(fields: Fields, usual: str = "plain") -> str:
    chosen = answers.one(fields, "kind")
    return chosen if chosen in KINDS else usual


def _pair_count(fields: Fields) -> int:
    return answers.number(fields, "pairs", 0, MOST_PAIRS) or 2


def _pairs(fields: Fields) -> list[tuple[str, str]]:
    return [
        (answers.one(fields, f"query[{at}]"), answers.one(fields, f"response[{at}]"))
        for at in range(1, _pair_count(fields) + 1)
    ]


def _without_pair(fields: Fields, which: str) -> Fields:
    pairs = _pairs(fields)
    if which not in [str(at) for at in range(1, len(pairs) + 1)] or len(pairs) == 1:
        return fields
    del pairs[int(which) - 1]
    kept = {
        name: values
        for name, values in fields.items()
        if not name.startswith(("query[", "response["))
    }
    kept["pairs"] = [str(len(pairs))]
    for at, (query, response) in enumerate(pairs, start=1):
        kept[f"query[{at}]"], kept[f"response[{at}]"] = [query], [response]
    return kept


def _everything(fields: Fields) -> str:
    pairs = (
        [part for pair in _pairs(fields) for part in pair] if _kind(fields) == "few_shot" else []
    )
    return "\n".join([answers.one(fields, "text"), *pairs])
