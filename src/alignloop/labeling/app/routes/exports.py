"""Exports: made beside the requests, listed, and downloaded by the names that stand in the list."""

from __future__ import annotations

from typing import Any, cast, get_args

from sqlalchemy import Connection
from starlette.responses import FileResponse, Response

from alignloop.labeling.app import shown
from alignloop.labeling.app.access import Access, Ask, Refused, Routes
from alignloop.labeling.app.memory import Job
from alignloop.labeling.app.pages.common import Errors, Message, Notice, Option
from alignloop.labeling.app.pages.quality import (
    ExportFormat,
    ExportKind,
    ExportRow,
    ExportsPage,
    Split,
)
from alignloop.labeling.app.tasks import moment
from alignloop.labeling.downloads import Wish, file_of, make_export
from alignloop.store import events, log, people, prompts
from alignloop.store.people import new_public_id

routes = Routes()

AT_ONCE = 2
"""Exports that are made at the same time."""
SHOWN = 200
_WAIT_S = 30


@routes.get("exports", Access.RESEARCHER)
def exports_page(ask: Ask) -> Response:
    """What left, newest first, and the form to let more leave."""
    return _show(ask, {})


@routes.post(
    "exports",
    Access.RESEARCHER,
    "kind format campaign split include_ties include_surplus seed",
)
def start_export(ask: Ask) -> Response:
    """Begin an export; it appears in the list when it is done."""
    errors: dict[str, Message] = {}
    for name, known in (("kind", ExportKind), ("format", ExportFormat), ("split", Split)):
        if ask.field(name) not in get_args(known):
            errors[name] = Message("required")
    seed = ask.whole_number("seed", -1) if ask.field("seed") else 1
    if seed < 0:
        errors["seed"] = Message("number")
    if errors:
        return _show(ask, errors)
    if ask.lab.memory.exports.running() >= AT_ONCE:
        raise Refused(429, _WAIT_S)
    with ask.lab.store.read() as connection:
        offered = {one.value for one in _campaigns(connection)}
        if ask.field("campaign") not in {"", *offered}:
            return _show(ask, {"campaign": Message("required")})
        campaign = shown.chosen_campaign(connection, ask.field("campaign"))
    wish = Wish(
        kind=cast(Any, ask.field("kind")),
        format=cast(Any, ask.field("format")),
        campaign="" if campaign is None else campaign.name,
        split=cast(Any, ask.field("split")),
        ties=ask.field("include_ties") == "1",
        surplus=ask.field("include_surplus") == "1",
        seed=seed,
    )
    job = Job(new_public_id(), wish.kind, wish.format, wish.campaign, ask.who.name, ask.now)
    lab, who, now = ask.lab, ask.who, ask.now
    lab.memory.exports.start(
        job, lambda: make_export(lab.store, lab.folder, wish, who, job.public_id, now)
    )
    return ask.go("exports", Notice("export_started", "info"))


@routes.get("export_file", Access.RESEARCHER)
def export_file(ask: Ask) -> Response:
    """A file of an export, as it was written."""
    name = ask.path("file")
    with ask.lab.store.read() as connection:
        row = log.get_export(connection, ask.path("export"))
    path = file_of(ask.lab.folder, row, name)
    if path is None:
        raise Refused(404)
    with ask.lab.store.write() as connection:
        events.append(
            connection, ask.now, ask.who.public_id, "download", row.public_id, file=path.name
        )
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


# --- inside -----------------------------------------------------------------------------------------------------


def _show(ask: Ask, errors: Errors) -> Response:
    with ask.lab.store.read() as connection:
        rows = [*_jobs(ask), *_done(ask, connection)]
        campaigns = _campaigns(connection)
        flagged = prompts.count_flagged(connection)
    page = ExportsPage(
        rows=tuple(rows), campaigns=campaigns, flagged=flagged, sent=_sent(ask), errors=errors
    )
    return ask.show(page, 422 if errors else 200)


def _campaigns(connection: Connection) -> tuple[Option, ...]:
    return shown.campaign_options(connection, ("demonstrate", "rank", "compare"))


def _sent(ask: Ask) -> dict[str, str]:
    names = ("kind", "campaign", "split", "format", "seed", "include_ties", "include_surplus")
    if not ask.form:
        return {"include_ties": "1", "include_surplus": "1"}
    return {name: ask.field(name)[:100] for name in names}


def _jobs(ask: Ask) -> list[ExportRow]:
    return [
        ExportRow(
            id=job.public_id,
            kind=cast(Any, job.kind),
            format=cast(Any, job.form),
            campaign=job.campaign,
            at=moment(job.at),
            by=job.by,
            rows=0,
            state="failed" if job.problem else "running",
            problem=job.problem,
        )
        for job in ask.lab.memory.exports.all()
    ]


def _done(ask: Ask, connection: Connection) -> list[ExportRow]:
    names = {user.id: user.name for user in people.all_users(connection, "researcher")}
    return [
        _row(ask, row, names.get(row.by_id, "alignloop"))
        for row in log.all_exports(connection)[:SHOWN]
    ]


def _row(ask: Ask, row: Any, by: str) -> ExportRow:
    """An export; those of the command line lie where it put them, and are listed without files."""
    query: dict[str, Any] = row.query
    named: list[str] = query.get("campaigns") or [query.get("campaign", "")]
    files = [
        (name, path.stat().st_size)
        for name in row.files_sha256
        if (path := file_of(ask.lab.folder, row, name)) is not None
    ]
    kind = query.get("kind")
    return ExportRow(
        id=row.public_id,
        kind=cast(Any, kind if kind in get_args(ExportKind) else "rankings"),
        format=query.get("format", "jsonl"),
        campaign=", ".join(name for name in named if name),
        at=moment(row.created_at),
        by=by,
        rows=sum(int(count) for count in row.counts.values()),
        state="ready",
        sha256=row.files_sha256.get("export.json", row.rows_sha256),
        files=tuple(files),
    )
