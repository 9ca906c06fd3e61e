"""Who gets what: nothing without a word on whose it is, and nobody anything of somebody else's by knowing its name."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from httpx import Response
from sqlalchemy import select
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from alignloop.errors import ConfigError
from alignloop.labeling import serve
from alignloop.labeling.app.access import Access
from alignloop.labeling.app.paths import PATHS
from alignloop.labeling.app.render import FILES
from alignloop.labeling.app.server import create_app
from alignloop.labeling.downloads import Wish, make_export
from alignloop.store import campaigns, correspondence, log, people
from alignloop.store.people import new_public_id
from alignloop.store.project import Project
from alignloop.store.schema import metadata
from tests.labeling.client import ORIGIN, Client, anonymous
from tests.labeling.world import World, changed, digests, elements, world

FROM_US = {"Origin": ORIGIN}
SECRETS = ("This is the ", "What Ann wrote", "example.org")
"""Texts, messages and addresses of the world: whoever sees one was let in."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("access")) as found:
        with found.store.write() as connection:
            now = found.site.clock.now
            correspondence.write_message(connection, now, found.ann, found.ann, "What Ann wrote")
        yield found


@pytest.fixture(scope="module")
def export_id(lab: World) -> str:
    """An export that is there, with its files."""
    public_id = new_public_id()
    folder = lab.site.lab.folder
    assert make_export(lab.store, folder, Wish("prompts"), lab.boss, public_id, 0) == ""
    return public_id


# --- deny by default --------------------------------------------------------------------------------------------


def leaves(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(path, route) of everything that an app answers, those of mounted apps and routers too."""
    for route in routes:
        path = prefix + getattr(route, "path", "")
        within = [getattr(route, name, None) for name in ("original_router", "app")]
        inner = next((one.routes for one in [route, *within] if getattr(one, "routes", None)), None)
        if inner:
            yield from leaves(inner, path)
        else:
            yield path, route


def undeclared(app: FastAPI) -> list[str]:
    """Paths that do not say whose they are; our own static files need not."""
    return [
        path
        for path, route in leaves(app.routes)
        if not isinstance(getattr(getattr(route, "endpoint", None), "access", None), Access)
        and not _is_our_static(route)
    ]


def _is_our_static(route: Any) -> bool:
    return (
        isinstance(route, Mount)
        and isinstance(route.app, StaticFiles)
        and route.app.directory == FILES.folder
    )


def test_every_address_of_the_app_says_whose_it_is(lab: World) -> None:
    app = create_app(lab.site.lab)

    assert undeclared(app) == []
    found = [path for path, route in leaves(app.routes) if not _is_our_static(route)]
    assert set(found) == set(PATHS.values()) - {PATHS["static"]}


def test_an_address_that_does_not_say_whose_it_is_would_be_noticed(
    lab: World, tmp_path: Path
) -> None:
    app = create_app(lab.site.lab)
    router = APIRouter(prefix="/router")
    router.add_api_route("/one", lambda: None)
    app.include_router(router)
    app.mount("/mounted", FastAPI(openapi_url=None, docs_url=None, redoc_url=None))
    inner = FastAPI()  # brings /docs and /openapi.json along
    app.mount("/inner", inner)
    app.mount("/files", StaticFiles(directory=tmp_path))
    app.router.routes.append(Mount("/deep", routes=[Mount("/er", routes=[Route("/x", print)])]))

    assert {"/router/one", "/mounted", "/inner/openapi.json", "/files", "/deep/er/x"} <= set(
        undeclared(app)
    )


def _visit(
    lab: World, client: Client, export_id: str, methods: str = "GET POST"
) -> Iterator[tuple[str, Any, str, Response]]:
    """(page, access, method, answer) for every route, asked at an address that is really there."""
    addresses = {**lab.addresses(), "export_file": f"/exports/{export_id}/train.jsonl.gz"}
    for _, route in leaves(create_app(lab.site.lab).routes):
        if _is_our_static(route):
            continue
        name, access = route.endpoint.page, route.endpoint.access
        for method in route.methods & {*methods.split()}:
            sent = {"csrf_token": client.csrf_token, "action": "submit", "campaign": "x"}
            headers = FROM_US if method != "GET" else {}
            data = sent if method != "GET" else None
            answer = client.http.request(method, addresses[name], data=data, headers=headers)
            yield name, access, method, answer


def _tells(answer: Response) -> list[str]:
    said = answer.text + repr(answer.headers)
    return [secret for secret in SECRETS if secret in said]


def test_who_is_not_signed_in_gets_the_sign_in_page_and_changes_nothing(
    lab: World, export_id: str
) -> None:
    visitor = anonymous(lab.site.lab)
    visitor.get("sign_in")
    visitor.csrf_token = visitor.http.cookies[lab.site.lab.cookie("form")]  # a token that counts
    before, asked = digests(lab.store), 0
    for name, access, method, answer in _visit(lab, visitor, export_id):
        assert _tells(answer) == [], name
        if access is Access.ANYBODY:
            continue
        asked += 1
        assert answer.status_code == (303 if method == "GET" else 403), (name, method)
        if method == "GET":
            assert answer.headers["location"].startswith("/sign-in?next=%2F"), name
            assert answer.text == ""
    assert asked > 40
    assert set(changed(before, digests(lab.store))) <= {"login_attempts"}


@pytest.mark.parametrize(
    ("who", "kept_from"), [("ann", Access.RESEARCHER), ("boss", Access.LABELER)]
)
def test_nobody_gets_anything_of_the_other_role_s(
    lab: World, export_id: str, who: str, kept_from: Access
) -> None:
    client = lab.site.sign_in(getattr(lab, who))
    routes = [route for _, route in leaves(create_app(lab.site.lab).routes)]
    theirs = {
        (route.endpoint.page, method)
        for route in routes
        if not _is_our_static(route) and route.endpoint.access is kept_from
        for method in route.methods
    }
    before = digests(lab.store)
    asked: set[tuple[str, str]] = set()
    addresses = {**lab.addresses(), "export_file": f"/exports/{export_id}/train.jsonl.gz"}
    for name, method in sorted(theirs):
        data = {"csrf_token": client.csrf_token, "action": "submit"} if method == "POST" else None
        answer = client.http.request(method, addresses[name], data=data, headers=FROM_US)
        asked.add((name, method))
        assert answer.status_code == 403, (name, method)
        assert _tells(answer) == [], name
    assert len(asked) >= 20
    assert changed(before, digests(lab.store)) == []


def test_who_was_suspended_is_a_stranger_at_once(tmp_path: Path) -> None:
    with world(tmp_path) as lab:
        ann = lab.site.sign_in(lab.ann)
        with lab.store.write() as connection:
            people.change_user(connection, 0, "test", lab.ann, state="suspended")
        before = digests(lab.store)
        for name, access, method, answer in _visit(lab, ann, "x"):
            if access is not Access.ANYBODY:
                assert answer.status_code == (303 if method == "GET" else 403), (name, method)
        assert set(changed(before, digests(lab.store))) <= {"login_attempts"}


# --- no object by an id that can be guessed ---------------------------------------------------------------------


def _is_random(public_id: str) -> bool:
    """128 bits as text: not a number, not short."""
    if re.fullmatch(r"[A-Za-z0-9_-]{22}", public_id) is None or public_id.isdigit():
        return False
    return len(base64.urlsafe_b64decode(public_id + "==")) == 16


def test_every_public_id_in_the_store_is_long_and_in_no_order(lab: World) -> None:
    seen: list[str] = []
    with lab.store.read() as connection:
        for table in metadata.sorted_tables:
            if "public_id" not in table.c:
                continue
            rows = connection.execute(select(table.c.public_id).order_by(table.c.id)).scalars()
            found = list(rows)
            assert all(map(_is_random, found)), table.name
            if len(found) > 12:
                assert found not in (sorted(found), sorted(found, reverse=True)), table.name
            seen += found
    assert len(seen) == len(set(seen)) > 30
    # Two that were made one after the other share nothing but chance: of 22 letters about one in 64 is the same.
    same = [sum(a == b for a, b in zip(x, y, strict=True)) for x, y in itertools.pairwise(seen)]
    assert max(same) < 8


def test_every_id_in_an_address_on_a_page_is_one_of_those(lab: World, export_id: str) -> None:
    patterns = [
        re.compile(re.sub(r"\\\{(\w+)(?:\\?:path)?\\\}", r"(?P<\1>[^/]+)", re.escape(path)))
        for name, path in PATHS.items()
        if name not in ("static", "new_campaign", "claim", "write_prompt", "prompt_draft")
    ]
    found: dict[str, set[str]] = {}
    for who in (lab.ann, lab.boss):
        client = lab.site.sign_in(who)
        for _, _, _, page in _visit(lab, client, export_id, "GET"):
            if "html" not in page.headers.get("content-type", ""):
                continue
            for _, attributes in elements(page.text):
                for name, value in attributes:
                    if name not in ("href", "action", "data-draft", "hx-post") or not value:
                        continue
                    if value.partition("?")[0] in PATHS.values():
                        continue  # an address without an id
                    for pattern in patterns:
                        if match := pattern.fullmatch(value.partition("?")[0]):
                            for part, id_ in match.groupdict().items():
                                found.setdefault(part, set()).add(id_)
    assert {"task", "campaign", "labeler", "export"} <= set(found)
    for part, ids in found.items():
        if part == "item":  # a place on the page, 1 to K, of the reader's own task
            assert ids <= set("123456789")
        elif part != "file":
            assert all(map(_is_random, ids)), (part, ids)


OF_TASKS = {
    "task": "GET",
    "demonstrate": "GET POST",
    "rate": "GET POST",
    "rank": "GET POST",
    "compare": "GET POST",
    "toxicity": "GET POST",
    "draft": "POST",
    "feedback": "GET",
    "reopen": "POST",
}
"""Every route of labelers' with an id in its address."""


def _without_what_differs(text: str, client: Client, id_: str) -> str:
    return text.replace(client.csrf_token, "TOKEN").replace(id_, "ID")


def test_these_are_all_the_labelers_routes_with_an_id(lab: World) -> None:
    found = {
        (route.endpoint.page, method)
        for path, route in leaves(create_app(lab.site.lab).routes)
        if not _is_our_static(route) and route.endpoint.access is Access.LABELER and "{" in path
        for method in route.methods
    }

    assert found == {
        (name, method) for name, methods in OF_TASKS.items() for method in methods.split()
    }


@pytest.mark.parametrize("form", ["demonstrate", "rank", "compare", "toxicity", "write"])
def test_another_labeler_s_task_is_like_one_that_is_not_there(lab: World, form: str) -> None:
    bob, theirs, nothing = lab.site.sign_in(lab.bob), lab.tasks[form].public_id, new_public_id()
    before = digests(lab.store)
    for name, methods in OF_TASKS.items():
        for method in methods.split():
            told: list[tuple[int, str, list[str]]] = []
            for id_ in (theirs, nothing):
                address = re.sub(r"\{(?!item)\w+\}", id_, PATHS[name]).replace("{item}", "1")
                sent = {
                    "csrf_token": bob.csrf_token,
                    "screen": form,
                    "rev": "0",
                    "action": "submit",
                }
                data = sent if method == "POST" else None
                answer = bob.http.request(method, address, data=data, headers=FROM_US)
                headers = sorted(f"{k}: {v}" for k, v in answer.headers.items())
                text = _without_what_differs(answer.text, bob, id_)
                lengths = [line for line in headers if not line.startswith("content-length")]
                told.append((answer.status_code, text, lengths))
            assert told[0] == told[1], (name, method)
            assert told[0][0] == 404, (name, method)
    assert changed(before, digests(lab.store)) == []


def test_what_another_labeler_s_task_is_s_own_is(lab: World) -> None:
    """So that the test before this one asks for what is really there."""
    ann = lab.site.sign_in(lab.ann)

    assert ann.get("demonstrate", task=lab.tasks["demonstrate"].public_id).status_code == 200
    assert ann.get("rank", task=lab.tasks["rank"].public_id).status_code == 200


@pytest.mark.parametrize(
    ("cohort", "state"),
    [("training", "draft"), ("training", "closed"), ("heldout", "open"), ("heldout", "draft")],
)
def test_a_campaign_that_is_not_this_labeler_s_is_like_one_that_is_not_there(
    lab: World, cohort: str, state: str
) -> None:
    is_for_them = cohort == "training"
    with lab.store.write() as connection:
        made = campaigns.add_campaign(
            connection, 0, "test", name=f"{cohort} {state}", form="demonstrate", cohort=cohort,
            purpose="training" if is_for_them else "evaluation",
        )  # fmt: skip
        if state != "draft":
            campaigns.set_state(connection, 0, "test", made, state)  # type: ignore[arg-type]
    newcomer = lab.site.sign_in(lab.site.labeler())  # has read no guidelines either
    for client in (lab.site.sign_in(lab.ann), newcomer):
        answers = [client.post("claim", {"campaign": id_}) for id_ in (made.public_id, "nothing")]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].text == answers[1].text


def test_a_labeler_reads_no_thread_but_their_own(lab: World) -> None:
    bob = lab.site.sign_in(lab.bob)
    for query in ("", f"?labeler={lab.ann.public_id}", f"?user={lab.ann.public_id}&task=1"):
        assert "What Ann wrote" not in bob.http.get(f"/messages{query}").text
    refused = [
        bob.get("thread", labeler=id_) for id_ in (lab.ann.public_id, lab.bob.public_id, "x")
    ]
    assert [answer.status_code for answer in refused] == [403, 403, 403]


# --- exports ----------------------------------------------------------------------------------------------------


def test_a_file_of_an_export_is_a_download_for_researchers_alone(
    lab: World, export_id: str
) -> None:
    with lab.store.read() as connection:
        row = log.get_export(connection, export_id)
    boss, ann = lab.site.sign_in(lab.boss), lab.site.sign_in(lab.ann)
    assert row.files_sha256
    for name in row.files_sha256:
        found = boss.get("export_file", export=export_id, file=name)
        assert found.status_code == 200
        assert found.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert found.headers["content-type"] == "application/octet-stream"
        assert found.headers["cache-control"] == "no-store"
        assert ann.get("export_file", export=export_id, file=name).status_code == 403


@pytest.mark.parametrize(
    "place",
    [
        "{row}/export.json",
        "{id}/..%2f..%2falignloop.db",
        "{id}/%2e%2e%2falignloop.db",
        "{id}/..%5c..%5calignloop.db",
        "{id}/%2fetc%2fpasswd",
        "{id}//etc/passwd",
        "{id}/./export.json",
        "{id}/export.json/",
        "{id}/export.json%00.txt",
        "{id}/EXPORT.JSON",
        "..%2fexports%2f{id}/export.json",
        "{swapped}/export.json",
        "{id} /export.json",
        "{short}/export.json",
        "%25/export.json",
    ],
)
def test_nothing_but_its_id_and_a_listed_name_finds_a_file(
    lab: World, export_id: str, place: str
) -> None:
    boss = lab.site.sign_in(lab.boss)
    with lab.store.read() as connection:
        row = log.get_export(connection, export_id)

    given = {"id": export_id, "swapped": export_id.swapcase(), "short": export_id[:-1]}
    answer = boss.http.get(f"/exports/{place.format(**given, row=row.id)}")

    if str(answer.request.url).endswith(f"/{export_id}/export.json"):
        return  # the client took the dots out by itself: it asked for what is there
    assert answer.status_code == 404, answer.request.url


# --- where it listens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "[::]",
        "192.168.1.5",
        "10.0.0.1",
        "labels.example.org",
        "127.0.0.1.nip.io",
        "",
    ],
)
def test_an_address_beyond_this_machine_needs_a_word(tmp_path: Path, host: str) -> None:
    told: list[str] = []
    with pytest.raises(ConfigError, match="--public"):
        serve.serve(
            Project(tmp_path / "lab", str(tmp_path / "lab" / "alignloop.db")),
            host=host,
            port=0,
            allowed_hosts=[],
            public=False,
            behind_tls=True,
            email="a@example.org",
            say=told.append,
        )
    assert told == []
    assert not (tmp_path / "lab").exists()  # refused before anything was made


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert serve.is_loopback(host)
