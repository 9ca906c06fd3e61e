"""What was done and what was said: the audit log with its chain, and the conversations with labelers."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection
from starlette.responses import Response

from alignloop.labeling.app import shown
from alignloop.labeling.app.access import Access, Ask, Refused, Routes
from alignloop.labeling.app.pages.common import Errors, Line, Message, Notice, Option
from alignloop.labeling.app.pages.quality import AuditPage, AuditRow, InboxPage, ThreadRow
from alignloop.labeling.app.routes.account import MESSAGE_CHARACTERS, lines_of, message_problem
from alignloop.labeling.app.tasks import moment
from alignloop.store import audit, correspondence, inbox, people
from alignloop.store.people import User

routes = Routes()

PER_PAGE = 50
CHECKED_AT_ONCE = 100_000
"""Entries of the chain that one request checks; the next one goes on from there."""


@routes.get("audit", Access.RESEARCHER)
def audit_page(ask: Ask) -> Response:
    """Entries of the log, newest first, and whether its chain holds."""
    verb, actor = ask.query("verb")[:100], ask.query("actor").strip()[:254]
    with ask.lab.store.read() as connection:
        by = _actor(connection, actor)
        total = audit.count_entries(connection, verb=verb, actor=by)
        paging = shown.paging(ask, total, PER_PAGE)
        rows = audit.entries(
            connection, verb=verb, actor=by, limit=PER_PAGE, offset=(paging.page - 1) * PER_PAGE
        )
        ids = {row.actor for row in rows} | {row.object for row in rows}
        names = audit.names_of(connection, sorted(ids))
        verbs = audit.verbs(connection)
        checked = ask.lab.memory.chain.check(connection, ask.now, CHECKED_AT_ONCE)
    return ask.show(
        AuditPage(
            rows=tuple(
                AuditRow(
                    row.seq,
                    moment(row.at),
                    _named(names, row.actor),
                    row.verb,
                    _named(names, row.object),
                    row.sha256.hex(),
                )
                for row in rows
            ),
            paging=paging,
            verbs=tuple(Option(name, name) for name in verbs),
            verb=verb,
            actor=actor,
            chain_ok=checked.is_whole,
            checked=checked.entries,
        )
    )


@routes.get("inbox", Access.RESEARCHER)
def inbox_page(ask: Ask) -> Response:
    """All conversations, the last one written first."""
    with ask.lab.store.read() as connection:
        threads = _threads(ask, connection)
    return ask.show(InboxPage(threads=threads, max_chars=MESSAGE_CHARACTERS))


@routes.get("thread", Access.RESEARCHER)
def thread_page(ask: Ask) -> Response:
    """One conversation; opening it marks it as read."""
    return _show_thread(ask, "", {})


@routes.post("thread", Access.RESEARCHER, "body")
def write(ask: Ask) -> Response:
    """Write to a labeler."""
    body = ask.field("body").strip()
    if problem := message_problem(body):
        return _show_thread(ask, body, {"body": problem})
    with ask.lab.store.write() as connection:
        labeler = _labeler(connection, ask)
        correspondence.write_message(connection, ask.now, labeler, ask.who, body)
    return ask.go("thread", Notice("sent"), labeler=labeler.public_id)


# --- inside -----------------------------------------------------------------------------------------------------


def _named(names: Mapping[str, str], who: str) -> str:
    return names.get(who, who)


def _actor(connection: Connection, asked: str) -> str:
    """Whom a name or an address means, as the log calls them; what is neither is looked for as it is."""
    found = audit.ids_named(connection, asked) if asked else []
    return found[0] if found else asked


def _labeler(connection: Connection, ask: Ask) -> User:
    user = people.get_user(connection, ask.path("labeler"))
    if user.role != "labeler":
        raise Refused(404)
    return user


def _threads(ask: Ask, connection: Connection) -> tuple[ThreadRow, ...]:
    unread = correspondence.unread(connection, ask.who)
    return tuple(
        ThreadRow(
            row.labeler,
            row.name,
            Line(row.author, row.author_id == ask.who.id, moment(row.created_at), row.body),
            unread.get(row.labeler_id, 0),
        )
        for row in inbox.threads(connection)
    )


def _show_thread(ask: Ask, body: str, errors: Errors) -> Response:
    with ask.lab.store.read() as connection:
        labeler = _labeler(connection, ask)
        is_unread = labeler.id in correspondence.unread(connection, ask.who)
    if is_unread:
        with ask.lab.store.write() as connection:
            correspondence.read_thread(connection, ask.now, labeler, ask.who)
    with ask.lab.store.read() as connection:
        page = InboxPage(
            threads=_threads(ask, connection),
            labeler=labeler.public_id,
            name=labeler.name or labeler.email,
            lines=lines_of(inbox.last_lines(connection, labeler), ask.who),
            body=body[:MESSAGE_CHARACTERS],
            max_chars=MESSAGE_CHARACTERS,
            errors=errors or dict[str, Message](),
        )
    return ask.show(page, 422 if errors else 200)
