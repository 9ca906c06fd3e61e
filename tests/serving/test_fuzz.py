"""Every address asked for what its schema allows, and for what it does not: no 5xx, no undocumented answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from alignloop.serving.app import ROUTES, create_app
from alignloop.serving.guard import Access
from alignloop.serving.policy import ServedPolicy
from alignloop.serving.reward import ServedReward
from alignloop.serving.service import Limits
from tests.helpers import write_classifier, write_model
from tests.serving.site import Site, served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
TURNS = [
    [{"role": "user", "content": "The fox"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "The fox"},
        {"role": "assistant", "content": "ran."},
        {"role": "user", "content": "\u4e2d \U0001f98a"},
    ],
]
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.sampled_from(TURNS),
    "prompt": st.one_of(st.text(max_size=20), st.just([5, 6, 7]), st.just([[5], [6, 7]])),
    "responses": st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=3),
    "n": st.integers(1, 3),
    "max_tokens": st.integers(1, 8),
    "max_completion_tokens": st.none(),
    "stop": st.sampled_from([None, "a", ["e", "\u4e2d"]]),
    "stream": st.booleans(),
    "stream_options": st.sampled_from([None, {"include_usage": True}]),
    "temperature": st.sampled_from([0, 1e-300, 0.7, 1, 2]),
    "top_p": st.sampled_from([0, 0.5, 1]),
    "echo": st.booleans(),
    "top_logprobs": st.none(),
}
"""Values that lead further than what a schema allows."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("models")
    write_classifier(folder / "judge")
    models = [
        ServedPolicy.load("tiny", write_model(folder / "tiny")),
        ServedReward.load("judge", folder / "judge"),
    ]
    with served(models, Limits(max_rows=16, queue=64, timeout=300), Access()) as found:
        yield found


def fuzz(site: Site, examples: int) -> Counter[tuple[str, int]]:
    """Ask every route, and count the answers."""
    found: Counter[tuple[str, int]] = Counter()
    description = create_app(site.service, Access()).openapi()
    schema = schemathesis.openapi.from_dict(description)
    routes = [operation.ok() for operation in schema.get_all_operations()]
    assert {route.path for route in routes} == ROUTES | {"/v1/models/{name}"}
    for route in routes:
        fields = route.body[0].definition["schema"] if route.method == "post" else {}
        name = fields.get("$ref", "").rpartition("/")[2]
        known = description["components"]["schemas"].get(name, {}).get("properties", {})
        for mode in GenerationMode:
            if mode == GenerationMode.NEGATIVE and not known:
                continue
            _ask(site, route, mode, [key for key in known if key in LIKELY], examples, found)
    return found


def _ask(
    site: Site,
    route: Any,
    mode: GenerationMode,
    likely: list[str],
    examples: int,
    found: Counter[tuple[str, int]],
) -> None:
    model = "judge" if route.path == "/v1/score" else "tiny"
    strategy = st.fixed_dictionaries({}, optional={key: LIKELY[key] for key in likely})
    if mode == GenerationMode.POSITIVE:
        strategy = strategy.map(lambda said: {"model": model, **said})

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=route.as_strategy(generation_mode=mode), said=strategy)
    def ask(case: Any, said: dict[str, Any]) -> None:
        content = None
        if case.method == "POST":
            body = case.body
            is_closed = isinstance(body, dict) and route.path != "/v1/embeddings"
            content = json.dumps({**body, **said} if is_closed else body, default=str).encode()
        answer = site.http.request(
            case.method,
            case.formatted_path,
            content=content,
            headers={"Content-Type": "application/json"},
        )
        found[route.path, answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)
        if answer.headers["content-type"].startswith("text/event-stream"):
            events = answer.text.split("\n\n")
            assert events[-2:] == ["data: [DONE]", ""]
            for one in events[:-2]:
                assert json.loads(one.removeprefix("data: "))["model"] == model

    ask()


def test_every_route_takes_the_unexpected(site: Site) -> None:
    found = fuzz(site, 6)

    assert {status for _, status in found} >= {200, 400, 404}
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/score"):
        assert found[path, 400], found
    health = site.http.get("/health").json()
    assert [(m["is_alive"], m["rows"], m["waiting"]) for m in health["models"]] == [
        (True, 0, 0)
    ] * 2


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_every_route_takes_the_unexpected_for_long(site: Site) -> None:
    found = fuzz(site, 150)

    for path in ("/v1/chat/completions", "/v1/completions", "/v1/score"):
        assert found[path, 200], found


def test_the_description_names_every_parameter_and_closes_every_request(site: Site) -> None:
    schemas = create_app(site.service, Access()).openapi()["components"]["schemas"]

    for name in ("ChatAsked", "CompletionAsked", "ScoreAsked", "Message"):
        assert schemas[name]["additionalProperties"] is False
    assert {"stop", "seed", "top_p", "logprobs"} <= set(schemas["ChatAsked"]["properties"])
