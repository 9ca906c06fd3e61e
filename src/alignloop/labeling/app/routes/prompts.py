"""Writing prompts: plain, few-shot and user-based (section 3.2 and A.1 of the paper)."""

from __future__ import annotations

import uuid
from typing import Any, cast

from starlette.responses import JSONResponse, Response

from alignloop.data.incoming import USE_CASES, Kind
from alignloop.errors import ConflictError
from alignloop.labeling.app import answers, drafts, tasks
from alignloop.labeling.app.access import Access, Ask, Refused, Routes
from alignloop.labeling.app.actions import go_to_next, next_task, show_conflict
from alignloop.labeling.app.drafts import Fields
from alignloop.labeling.app.pages.common import Errors, Message, Notice, Passage
from alignloop.labeling.app.pages.tasks import ExamplePair, Finding, PromptPage
from alignloop.labeling.app.tasks import Work
from alignloop.labeling.writing import consent_text, findings_in, take_in
from alignloop.store import campaigns, figures, judgments, queue
from alignloop.store import drafts as saved

routes = Routes()

KINDS: dict[str, Kind] = {
    "plain": "labeler_plain",
    "few_shot": "labeler_fewshot",
    "user_based": "labeler_user_based",
}
LONGEST = 8000
"""Characters of a prompt."""
MOST_PAIRS = 20
_FIELDS = (
    "rev client_uuid active_ms idle_ms first_input_ms action kind text pairs query[1] response[1] use_case lang "
    "consent findings_seen scenario"
)


@routes.get("write_prompt", Access.LABELER)
def prompt_page(ask: Ask) -> Response:
    """The form, of the task in hand; a task is taken at home, since looking at a page takes nothing."""
    work = _work(ask)
    if work is None:
        return ask.go("home")
    return ask.show(_page(ask, work, kind=ask.query("kind")))


@routes.post("prompt_draft", Access.LABELER, _FIELDS)
def prompt_draft(ask: Ask) -> Response:
    """Keep what the form holds."""
    if not ask.lab.drafts.allows(str(ask.who.id)):
        raise Refused(429, 5)
    work = _work(ask)
    if work is None:
        raise Refused(404)
    try:
        return JSONResponse({"rev": _save(ask, work, drafts.merge(work.payload, _sent(ask)))})
    except ConflictError:
        return JSONResponse({"rev": work.rev}, status_code=409)


@routes.post("write_prompt", Access.LABELER, _FIELDS)
def write_prompt(ask: Ask) -> Response:
    """What the form asks for."""
    work = _work(ask)
    if work is None:
        return ask.go("home", Notice("queue_empty", "info"))
    payload = drafts.merge(work.payload, _sent(ask))
    verb, _, argument = ask.field("action", "save").partition(":")
    fields = drafts.fields_of(payload)
    match verb:
        case "add_pair":
            fields["pairs"] = [str(min(_pair_count(fields) + 1, MOST_PAIRS))]
        case "remove_pair":
            fields = _without_pair(fields, argument)
        case "kind" if argument in KINDS:
            fields["kind"] = [argument]
        case _:
            pass
    try:
        _save(ask, work, {**payload, "fields": fields})
    except ConflictError:
        return show_conflict(ask, work, ("write_prompt", ""), _sent(ask), ask.field("action"))
    again = _reload(ask, work, {**payload, "fields": fields})
    return _submit(ask, again) if verb == "submit" else ask.show(_page(ask, again))


# --- inside -----------------------------------------------------------------------------------------------------


def _work(ask: Ask) -> Work | None:
    """The prompt in hand."""
    with ask.lab.store.read() as connection:
        for campaign in campaigns.all_campaigns(connection, state="open"):
            if campaign.form == "write":
                held = queue.open_assignment(connection, ask.who, campaign)
                if held is not None:
                    return tasks.load(connection, ask.who, held.public_id)
    return None


def _sent(ask: Ask) -> Fields:
    return {**ask.fields(), "screen": ["prompt"], "item": [""]}


def _save(ask: Ask, work: Work, payload: dict[str, Any]) -> int:
    times = drafts.times_of(payload)
    with ask.lab.store.write() as connection:
        return saved.save_draft(
            connection,
            ask.now,
            ask.who,
            work.id,
            payload,
            rev=drafts.revision(
                work.payload, work.rev, ask.whole_number("rev"), ask.field("client_uuid")
            ),
            active_ms=times.active_ms,
            idle_ms=times.idle_ms,
            first_input_ms=times.first_input_ms,
        )


def _reload(ask: Ask, work: Work, payload: dict[str, Any]) -> Work:
    with ask.lab.store.read() as connection:
        found = tasks.load(connection, ask.who, work.id)
    return Work(
        found.assignment, found.campaign, found.task, found.items, found.flags, found.rev, payload
    )


def _submit(ask: Ask, work: Work) -> Response:
    if not ask.lab.submits.allows(str(ask.who.id)):
        raise Refused(429, 10)
    fields, errors = work.fields, _errors(work.fields)
    findings = findings_in(_everything(fields))
    if not errors and findings and answers.one(fields, "findings_seen") != "1":
        errors = {"text": Message("pii")}
    if errors:
        return ask.show(_page(ask, work, errors=errors), 422)
    times = drafts.times_of(work.payload)
    with ask.lab.store.write() as connection:
        written = take_in(
            connection,
            ask.now,
            ask.who,
            kind=KINDS[_kind(fields)],
            text=answers.one(fields, "text").strip(),
            examples=_pairs(fields) if _kind(fields) == "few_shot" else [],
            use_case=answers.one(fields, "use_case"),
            language=answers.one(fields, "lang"),
            findings=[finding.kind for finding in findings],
        )
        judgments.submit(
            connection,
            ask.now,
            ask.who,
            work.id,
            written,
            client_uuid=f"{work.id}/{ask.field('client_uuid')[:64] or uuid.uuid4().hex}",
            payload=work.payload,
            active_ms=times.active_ms,
            idle_ms=times.idle_ms,
            first_input_ms=times.first_input_ms,
        )
        following = next_task(connection, ask, work)
    return go_to_next(ask, work, following)


def _errors(fields: Fields) -> dict[str, Message]:
    errors: dict[str, Message] = {}
    text = answers.one(fields, "text")
    if not text.strip():
        errors["text"] = Message("required")
    elif len(text) > LONGEST:
        errors["text"] = Message("too_long", {"limit": LONGEST})
    if answers.one(fields, "use_case") not in USE_CASES:
        errors["use_case"] = Message("required")
    if answers.one(fields, "consent") != "1":
        errors["consent"] = Message("consent")
    if _kind(fields) == "few_shot":
        pairs = _pairs(fields)
        for number, (query, response) in enumerate(pairs, start=1):
            if not query.strip() or not response.strip():
                name = f"query[{number}]" if not query.strip() else f"response[{number}]"
                errors[name] = Message("pair_empty")
        if len(pairs) < 2:
            errors["pairs"] = Message("pair_empty")
    return errors


def _page(ask: Ask, work: Work, errors: Errors | None = None, kind: str = "") -> PromptPage:
    fields = work.fields
    chosen = kind if kind in KINDS else _kind(fields)
    with ask.lab.store.read() as connection:
        written = figures.done_by(connection, ask.now, ask.who, work.campaign).submitted
        agreed = consent_text(ask.locale)
    findings = findings_in(_everything(fields)) if errors and "text" in errors else ()
    return PromptPage(
        kind=cast(Any, chosen),
        rev=work.rev,
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
        consent=answers.one(fields, "consent") == "1",
        scenario=answers.one(fields, "scenario"),
        findings=tuple(
            Finding(cast(Any, finding.shown_as), finding.excerpt) for finding in findings
        ),
        written=written,
        max_chars=LONGEST,
        errors=errors or dict[str, Message](),
    )


def _kind(fields: Fields) -> str:
    chosen = answers.one(fields, "kind")
    return chosen if chosen in KINDS else "plain"


def _pair_count(fields: Fields) -> int:
    return answers.number(fields, "pairs", 0, MOST_PAIRS) or 2


def _pairs(fields: Fields) -> list[tuple[str, str]]:
    return [
        (answers.one(fields, f"query[{at}]"), answers.one(fields, f"response[{at}]"))
        for at in range(1, _pair_count(fields) + 1)
    ]


def _without_pair(fields: Fields, which: str) -> Fields:
    pairs = _pairs(fields)
    if not which.isdigit() or not 0 < int(which[:3]) <= len(pairs) or len(pairs) == 1:
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
