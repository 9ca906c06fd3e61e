"""Every address of the app asked for the unexpected, by everybody: no bug, no status that nobody documented."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import status_code_conformance
from sqlalchemy import select

from alignloop.labeling.app import drafts
from alignloop.labeling.app.i18n import catalogue
from alignloop.labeling.app.paths import PATHS, path_to
from alignloop.labeling.app.server import create_app
from alignloop.store import events, people
from alignloop.store.schema import demonstrations, submissions
from alignloop.web.i18n import LOCALES
from alignloop.web.limits import RateLimit
from alignloop.web.security import HEADERS
from tests.labeling.client import ORIGIN, Client, anonymous
from tests.labeling.hostile import PAYLOADS
from tests.labeling.world import World, fields_of, form_of, world
from tests.store.crowd import problems_of

load_all_checks()

EVERYDAY, THOROUGH = (2, 1), (60, 30)
"""Examples of every route: with addresses that are there, and with any."""
LIKELY: dict[str, list[str]] = {
    "action": "submit save next back skip seed continue take_back go:1 go:rank go:9 text:rich layout:columns add_pair "
    "remove_pair:1 kind:few_shot kind:plain".split(),
    "screen": "demonstrate rate rank compare toxicity prompt".split(),
    "rev": ["0", "1", "2", "-1", "9" * 15],
    "item": ["1", "2", "9", "0", ""],
    "likert[1]": ["1", "7", "8"],
    "flag[1]": ["sexual", "x"],
    "none_apply[1]": ["1"],
    "rank[1]": ["1", "2", "0", "5"],
    "rank[2]": ["1", "2", "0", "5"],
    "verdict": "a b tie both_bad".split(),
    "margin": ["1", "3", "4"],
    "toxicity[1]": ["0", "2"],
    "relative[1]": ["-1", "1"],
    "continuity[1]": ["1", "7"],
    "response": ["An answer.", "x" * 8001],
    "skip_reason": ["unclear", "other"],
    "kind": "plain few_shot user_based rank eval prompt rankings pairs evaluation".split(),
    "text": ["A prompt."],
    "use_case": ["other"],
    "lang": ["en", "zh"],
    "consent": ["1"],
    "state": "open paused closed active suspended draft".split(),
    "decision": ["accept", "reject"],
    "cohort": "train heldout pilot".split(),
    "role": ["labeler", "researcher"],
    "email": ["new@example.org", "ann@example.org", "@"],
    "choice": "accept own ambiguous".split(),
    "reason": ["slip", "taste"],
    "note": ["why"],
    "purpose": "training evaluation practice screening".split(),
    "prompt_set": ["train:all", "test:5", "new:3", "train:"],
    "overlap": ["1", "2", "1e0", "nan", "inf"],
    "k_min": ["4", "9", "²"],
    "k_max": ["4", "9"],
    "lease_minutes": ["60", "1e400", "nan"],
    "shared_percent": ["0", "100", "-0"],
    "gold_percent": ["0", "5"],
    "repeat_percent": ["0", "3"],
    "pay": ["12,50", "NaN", "1e999999", "-1"],
    "planned": ["3"],
    "format": "jsonl parquet datasets".split(),
    "split": ["all", "train"],
    "seed": ["1", "-1"],
    "version": ["training/1", "evaluation/1", "training/²", "x/1"],
    "next": ["/", "//evil.example", "/guidelines"],
    "password": ["a horse that staples batteries"],
    "theme": ["dark", "x"],
    "locale": ["zh", "x"],
    "everywhere": ["1"],
    "drop": ["1"],
    "keep": ["1"],
}
"""Values that lead further than any text does."""
QUERIES = st.dictionaries(
    st.sampled_from(
        "page period campaign state cohort verb actor labeler read_s item_s decided purpose kind next".split()
    ),
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(["1", "0", "-1", "nan", "1e999", "all", "open", *PAYLOADS]),
    ),
    max_size=3,
)


@dataclasses.dataclass
class Fuzzed:
    """Somebody at the app, and what became of what they sent."""

    lab: World
    who: str
    client: Client
    real: dict[str, str]
    """Parameter of an address -> one that is there."""
    statuses: Counter[int] = dataclasses.field(default_factory=Counter)

    def come_in(self) -> None:
        """A session, anew where it was ended."""
        if self.who == "anonymous":
            self.client = anonymous(self.lab.site.lab)
            self.client.get("sign_in")
            name = self.lab.site.lab.cookie("form")
            self.client.csrf_token = self.client.http.cookies[name]
        else:
            user = self.lab.ann if self.who == "labeler" else self.lab.boss
            self.client = self.lab.site.sign_in(user)
        self.client.http._transport.raise_server_exceptions = False  # type: ignore[attr-defined]

    def ask(self, case: Any, likely: dict[str, str], query: dict[str, str]) -> None:
        """Send a case and look at the answer."""
        headers = {
            "Origin": ORIGIN,
            "Accept": "application/json" if len(query) == 3 else "text/html",
        }
        data = None
        if case.method == "POST":
            said = case.body if isinstance(case.body, dict) else {}
            data = {**said, **likely, "csrf_token": self.client.csrf_token}
        answer = self.client.http.request(
            case.method, case.formatted_path, params=query, data=data, headers=headers
        )
        self.statuses[answer.status_code] += 1
        case.validate_response(answer, checks=[not_a_server_error, status_code_conformance])
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, (case.path, name)
        assert answer.headers["cache-control"] == "no-store"
        location = answer.headers.get("location", "/")
        assert location.startswith("/") and not location.startswith(("//", "/\\"))
        if case.path == PATHS["sign_out"]:
            self.come_in()


def _fuzzed(folder: Path, who: str) -> Iterator[Fuzzed]:
    with world(folder) as lab:
        # Nobody is told to slow down: everything is looked at.
        lab.site.lab = dataclasses.replace(
            lab.site.lab, submits=RateLimit(10**9, 60), drafts=RateLimit(10**9, 60)
        )
        with lab.store.write() as connection:
            guest = people.add_user(
                connection, 0, "test", email="guest@example.org", name="Guest", role="researcher"
            )
            token = people.invite(connection, lab.site.clock.now, "test", guest)
        real = {
            "token": token,
            "item": "1",
            "campaign": lab.campaigns["rank"].public_id,
            "labeler": lab.ann.public_id,
            "submission": lab.tasks["demonstrate"].public_id,
        }
        found = Fuzzed(lab, who, Client(None), real)  # type: ignore[arg-type]
        found.come_in()
        yield found
        with lab.store.read() as connection:
            assert events.audit(connection).findings == ()


@pytest.fixture(params=["anonymous", "labeler", "researcher"])
def fuzzed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fuzzed]:
    yield from _fuzzed(tmp_path, request.param)


def _fuzz(fuzzed: Fuzzed, examples: tuple[int, int]) -> None:
    """Ask every route."""
    schema = schemathesis.openapi.from_dict(create_app(fuzzed.lab.site.lab).openapi())
    routes = [found.ok() for found in schema.get_all_operations()]
    assert len(routes) == sum(len(methods) for methods in _declared(fuzzed).values())
    for route in routes:
        form = next((name for name in fuzzed.lab.tasks if name in route.path), "rank")
        form = {"rate": "rank"}.get(form, form)
        there = {**fuzzed.real, "task": fuzzed.lab.tasks[form].public_id}
        needed = {name: there[name] for name in re.findall(r"\{(\w+)", route.path) if name in there}
        for count, fixed in zip(examples, (needed, {}), strict=True):
            _fuzz_route(fuzzed, route, count, fixed)


def _fuzz_route(fuzzed: Fuzzed, route: Any, count: int, fixed: dict[str, str]) -> None:
    fields = route.body[0].definition["schema"]["properties"] if route.method == "post" else {}
    likely = st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(LIKELY[name]) for name in fields if name in LIKELY}
    )

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a world that remembers cannot be shrunk in
        suppress_health_check=list(HealthCheck),
    )
    @given(case=route.as_strategy(path_parameters=fixed or None), said=likely, query=QUERIES)
    def ask(case: Any, said: dict[str, str], query: dict[str, str]) -> None:
        fuzzed.ask(case, said, query)

    ask()


def _declared(fuzzed: Fuzzed) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for route in create_app(fuzzed.lab.site.lab).routes:
        if hasattr(route, "methods"):
            found.setdefault(route.path, set()).update(route.methods)  # type: ignore[attr-defined]
    return found


def test_every_route_takes_the_unexpected(fuzzed: Fuzzed) -> None:
    _fuzz(fuzzed, EVERYDAY)

    if fuzzed.who == "anonymous":
        assert {303, 403} <= set(fuzzed.statuses)
    else:
        assert {200, 303, 403, 404, 422} <= set(fuzzed.statuses)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_every_route_takes_the_unexpected_for_long(fuzzed: Fuzzed) -> None:
    _fuzz(fuzzed, THOROUGH)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_field_of_a_draft_has_a_word_for_the_page_of_two_versions(locale: Any) -> None:
    """A form of two tabs is compared field by field, whatever it holds."""
    for screen in drafts.SCREENS:
        for pattern in drafts._OF_SCREEN[screen]:
            name = pattern.partition("[")[0]
            if name not in drafts.NOT_SAID:
                assert catalogue(locale).label("field", name), (screen, name)


def test_an_answer_that_nobody_documented_would_be_noticed(tmp_path: Path) -> None:
    [fuzzed] = _fuzzed(tmp_path, "labeler")
    schema = schemathesis.openapi.from_dict(create_app(fuzzed.lab.site.lab).openapi())
    case = schema[PATHS["home"]]["GET"].Case()
    for status in (500, 503, 418):
        answer = anonymous(fuzzed.lab.site.lab).http.get("/sign-in")
        answer.status_code = status
        with pytest.raises(FailureGroup):
            case.validate_response(answer, checks=[not_a_server_error, status_code_conformance])


def test_what_another_tab_passed_on_can_still_be_handed_in(tmp_path: Path) -> None:
    with world(tmp_path) as lab:
        client, task = lab.site.sign_in(lab.ann), lab.tasks["demonstrate"].public_id
        first, second = (form_of(client, "demonstrate", task=task) for _ in range(2))
        skip = {**first, "action": "skip", "skip_reason": "unclear"}
        assert client.post("demonstrate", skip, task=task).status_code == 303

        sent = {**second, "response": "Written for half an hour.", "action": "submit"}
        shown = client.post("demonstrate", sent, task=task)
        assert shown.status_code == 409
        assert "Written for half an hour." in shown.text
        kept = fields_of(shown.text, path_to("demonstrate", task=task))
        done = client.post("demonstrate", {**kept, "action": "submit"}, task=task)

        assert done.status_code == 303
        with lab.store.read() as connection:
            [row] = connection.execute(
                select(demonstrations, submissions.c.state).join(submissions)
            ).all()
            assert (
                problems_of(
                    connection, list(connection.execute(select(submissions.c.public_id)).scalars())
                )
                == []
            )
    assert (row.text, row.state) == ("Written for half an hour.", "final")
