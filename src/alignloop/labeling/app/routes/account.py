"""Signing in and out, invitations, preferences, guidelines and messages."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, cast

from starlette.responses import Response

from alignloop.labeling.app.access import Access, Ask, Refused, Routes, error_response
from alignloop.labeling.app.guides import latest_guideline, sections_of
from alignloop.labeling.app.pages.common import Errors, Line, Message, Notice
from alignloop.labeling.app.pages.labeler import (
    GuidelinesPage,
    InvitePage,
    MessagesPage,
    SignInPage,
)
from alignloop.store import correspondence, people
from alignloop.store.people import User
from alignloop.web import passwords
from alignloop.web.i18n import LOCALES
from alignloop.web.limits import login_wait_ms
from alignloop.web.security import address_of

routes = Routes()

MESSAGE_CHARACTERS = 4000
_HOUR = 3_600_000
_FREE_OF_ACCOUNT = 5
_FREE_OF_ADDRESS = 30
"""Failed sign-ins within an hour that nobody waits for. Many people may share an address, and mistype now and then."""


@routes.get("sign_in", Access.ANYBODY)
def sign_in_page(ask: Ask) -> Response:
    """The form; who is signed in already goes on."""
    if ask.user is not None:
        return ask.go_to(ask.query("next", "/"))
    return ask.show(SignInPage(next=ask.query("next", "/")))


@routes.post("sign_in", Access.ANYBODY, "email password next")
def sign_in(ask: Ask) -> Response:
    """Check the password, slower and slower where it is wrong; a new session each time."""
    email, password = ask.field("email").strip().lower(), ask.field("password")
    account = _hashed("account", email)
    address = _hashed("address", address_of(ask.request.scope, ask.lab.origins))
    with ask.lab.store.write() as connection:
        waits = [
            login_wait_ms(*people.failed_logins(connection, ask.now - _HOUR, who), ask.now, free)
            for who, free in ((account, _FREE_OF_ACCOUNT), (address, _FREE_OF_ADDRESS))
        ]
        if not any(waits):
            # Counted before it is looked at: many at once are no way round.
            people.note_failed_login(connection, ask.now, account, address)
        user = people.find_user(connection, email=email)
        known = None if user is None else people.password_of(connection, user)
    if wait := max(waits):
        seconds = -(-wait // 1000)
        answer = _sign_in_again(ask, Message("throttled", {"seconds": seconds}), 429)
        answer.headers["Retry-After"] = str(seconds)
        return answer
    if not passwords.is_right(known, password) or user is None or user.state != "active":
        return _sign_in_again(ask, Message("sign_in"), 422)
    hashed_anew = ""
    if known is not None and passwords.is_outdated(known):
        hashed_anew = passwords.hash_password(password)
    with ask.lab.store.write() as connection:
        people.forget_failed_logins(connection, ask.now, account, address)
        if hashed_anew:
            people.set_password(connection, ask.now, user, hashed_anew, rehash=True)
        if ask.session:
            people.end_session(connection, ask.session)
        token = people.start_session(connection, ask.now, user)
    response = ask.go_to(ask.field("next", "/"))
    ask.sign_in(response, token)
    return response


@routes.post("sign_out", Access.SIGNED_IN, "everywhere")
def sign_out(ask: Ask) -> Response:
    """End this session, or all of this person's."""
    everywhere = ask.field("everywhere") == "1"
    with ask.lab.store.write() as connection:
        if everywhere:
            people.end_sessions(connection, ask.who)
        people.end_session(connection, ask.session)
    response = ask.go(
        "sign_in", Notice("signed_out_everywhere" if everywhere else "signed_out", "info")
    )
    ask.sign_out(response)
    return response


@routes.get("invite", Access.ANYBODY)
def invite_page(ask: Ask) -> Response:
    """What an invitation asks for; one that was used or has run out is nothing."""
    return _show_invite(ask, {})


@routes.post("invite", Access.ANYBODY, "name password password_again locale")
def accept_invite(ask: Ask) -> Response:
    """Set a name and a password, and be signed in."""
    token, name, password = ask.path("token"), ask.field("name").strip(), ask.field("password")
    with ask.lab.store.read() as connection:
        guest = people.invited(connection, ask.now, token)
    if guest is None:
        raise Refused(404)
    errors: dict[str, Message] = {}
    if not name:
        errors["name"] = Message("required")
    if len(name) > 100:
        errors["name"] = Message("too_long", {"limit": 100})
    complaint = passwords.complaint(password, name, guest.email)
    if complaint == "long":
        errors["password"] = Message("too_long", {"limit": passwords.LONGEST})
    elif complaint == "short":
        errors["password"] = Message("password_short", {"limit": passwords.SHORTEST})
    elif complaint is not None:
        errors["password"] = Message("password_common")
    elif password != ask.field("password_again"):
        errors["password_again"] = Message("passwords_differ")
    if errors:
        return _show_invite(ask, errors)
    password_hash = passwords.hash_password(password)
    locale = ask.field("locale")
    with ask.lab.store.write() as connection:
        user = people.accept_invitation(
            connection, ask.now, token, name=name, password_hash=password_hash
        )
        if user is None:
            raise Refused(404)
        if locale in LOCALES:
            user = people.change_user(connection, ask.now, user.public_id, user, locale=locale)
        if ask.session:
            people.end_session(connection, ask.session)
        session = people.start_session(connection, ask.now, user)
    response = ask.go("home", Notice("welcome"))
    ask.sign_in(response, session)
    return response


@routes.post("settings", Access.ANYBODY, "theme locale single_keys blur next")
def settings(ask: Ask) -> Response:
    """Colours, language, keys: kept in this browser, the language with the account too."""
    response = ask.go_to(ask.field("next", "/"))
    allowed = {
        "theme": ("auto", "light", "dark"),
        "locale": LOCALES,
        "single_keys": ("on", "off"),
        "blur": ("on", "off"),
    }
    chosen = {name: ask.field(name) for name, known in allowed.items() if ask.field(name) in known}
    if ask.user is not None and "locale" in chosen:
        with ask.lab.store.write() as connection:
            people.change_user(
                connection, ask.now, ask.user.public_id, ask.user, locale=chosen["locale"]
            )
    ask.remember(response, **chosen)
    return response


@routes.get("guidelines", Access.SIGNED_IN)
def guidelines_page(ask: Ask) -> Response:
    """The guidelines in force, and whether they were acknowledged."""
    purpose = "evaluation" if _reads_for_evaluation(ask) else "training"
    with ask.lab.store.read() as connection:
        row = latest_guideline(connection, purpose, ask.locale)
        if row is None:
            raise Refused(404)
        acknowledged = correspondence.acknowledged_at(connection, ask.who, row.id)
    return ask.show(
        GuidelinesPage(
            version=f"{purpose}/{row.version}",
            issued=_moment(row.created_at).date(),
            sections=sections_of(row.body, row.locale),
            purpose=cast(Any, purpose),
            acknowledged=None if acknowledged is None else _moment(acknowledged),
            next=ask.query("next", "/"),
        )
    )


@routes.post("guidelines", Access.SIGNED_IN, "version next")
def acknowledge(ask: Ask) -> Response:
    """Note that a version was read."""
    purpose, _, version = ask.field("version").partition("/")
    with ask.lab.store.write() as connection:
        if purpose not in ("training", "evaluation") or not version.isdecimal():
            raise Refused(404)
        row = correspondence.guideline(
            connection, purpose=purpose, locale=ask.locale, version=int(version[:9])
        )
        if row is None:
            raise Refused(404)
        correspondence.acknowledge(connection, ask.now, ask.who, row.id)
    return ask.go_to(ask.field("next", "/"), Notice("acknowledged"))


@routes.get("messages", Access.LABELER)
def messages_page(ask: Ask) -> Response:
    """A labeler's thread."""
    return _show_messages(ask, "", {})


@routes.post("messages", Access.LABELER, "body task")
def write_message(ask: Ask) -> Response:
    """Write to the researchers."""
    body = ask.field("body").strip()
    if not ask.lab.submits.allows(str(ask.who.id)):
        raise Refused(429, 10)
    if problem := message_problem(body):
        return _show_messages(ask, body, {"body": problem})
    with ask.lab.store.write() as connection:
        correspondence.write_message(connection, ask.now, ask.who, ask.who, body)
    return ask.go("messages", Notice("sent"))


def message_problem(body: str) -> Message | None:
    """What is wrong with a message."""
    if not body:
        return Message("required")
    if len(body) > MESSAGE_CHARACTERS:
        return Message("too_long", {"limit": MESSAGE_CHARACTERS})
    return None


def lines_of(thread: Any, reader: User) -> tuple[Line, ...]:
    """A thread for a page."""
    return tuple(
        Line(row.author, row.author_id == reader.id, _moment(row.created_at), row.body)
        for row in thread
    )


# --- inside -----------------------------------------------------------------------------------------------------


def _show_messages(ask: Ask, body: str, errors: Errors) -> Response:
    with ask.lab.store.write() as connection:
        thread = correspondence.thread(connection, ask.who)
        correspondence.read_thread(connection, ask.now, ask.who, ask.who)
    page = MessagesPage(
        lines=lines_of(thread, ask.who), body=body, max_chars=MESSAGE_CHARACTERS, errors=errors
    )
    return ask.show(page, 422 if errors else 200)


def _sign_in_again(ask: Ask, message: Message, status: int) -> Response:
    page = SignInPage(
        next=ask.field("next", "/"), email=ask.field("email")[:254], errors={"": message}
    )
    return ask.show(page, status)


def _show_invite(ask: Ask, errors: Errors) -> Response:
    token = ask.path("token")
    with ask.lab.store.read() as connection:
        user = people.invited(connection, ask.now, token)
        expires = people.invitation_expires(connection, token)
    if user is None or expires is None:
        return error_response(ask, 404)
    page = InvitePage(
        token=token,
        email=user.email,
        role=cast(Any, user.role),
        expires=_moment(expires),
        name=ask.field("name")[:100] or user.name,
        min_password=passwords.SHORTEST,
        errors=errors,
    )
    return ask.show(page, 422 if errors else 200)


def _reads_for_evaluation(ask: Ask) -> bool:
    if purpose := ask.query("purpose"):
        return purpose == "evaluation"
    return ask.who.cohort == "heldout"


def _hashed(kind: str, name: str) -> str:
    return hashlib.sha256(f"{kind}/{name}".encode()).hexdigest()


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
