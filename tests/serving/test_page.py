"""The chat page without a browser: talking, two answers, who may ask; and that nothing is kept without a store."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.types import Message

from alignloop.serving.guard import Access
from alignloop.serving.metrics import Metrics
from alignloop.serving.page import app, looks, streaming
from alignloop.serving.page.access import LONGEST, Site
from alignloop.serving.page.conversation import (
    LIFE_MS,
    MOST_OF_ONE,
    MOST_TURNS,
    Answer,
    Conversations,
    Turn,
)
from alignloop.serving.page.notice import WORDING
from alignloop.serving.policy import ServedPolicy
from alignloop.serving.service import Limits, Service
from alignloop.web.security import Origins
from tests.helpers import write_model
from tests.serving.site import eventually, held
from tests.serving.visiting import Lot, Served, Visitor, visited


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ServedPolicy:
    return ServedPolicy.load("tiny", write_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> ServedPolicy:
    return ServedPolicy.load("other", write_model(tmp_path_factory.mktemp("other"), seed=7))


@pytest.fixture(scope="module")
def running(tiny: ServedPolicy, other: ServedPolicy) -> Iterator[Served]:
    with visited([tiny, other]) as found:
        yield found


@pytest.fixture
def served(running: Served) -> Served:
    running.lot.side_by_side = running.lot.swaps = False
    running.lot.seed = 0
    return running


def texts(visitor: Visitor) -> list[str]:
    """What the user said, as the page shows it."""
    return re.findall(r'said-text" dir="auto">(.*?)</div>', visitor.html, re.DOTALL)


def chat_of(served: Served, address: str):
    return served.site.conversations._found[address.rpartition("/")[2]]


# --- talking ---


def test_a_conversation_is_answered_and_goes_on(served: Served) -> None:
    visitor = served.visit()

    address = visitor.say("Tell me of a <b>fox</b>.")
    visitor.say("And a hare?", address)

    assert texts(visitor) == ["Tell me of a &lt;b&gt;fox&lt;/b&gt;.", "And a hare?"]
    turns = chat_of(served, address).turns
    assert all(turn.answers[0].finish for turn in turns)
    assert turns[0].answers[0].model == "tiny"
    assert visitor.get(address).text.count("said-model") == 2


def test_a_stream_is_the_answer_and_ends_with_the_conversation(served: Served) -> None:
    visitor = served.visit()

    with visitor.stream("/chat", text="Tell me of a fox.") as events:
        first, *pieces, last = [*events]

    assert first["answers"] == 1
    said = "".join(piece["text"] for piece in pieces)
    assert said == chat_of(served, last["address"]).turns[0].said
    assert last["problem"] is None
    assert 'class="said said-user"' in last["html"]
    visitor.get(last["address"])
    assert last["html"].strip() in visitor.html


def test_stopping_leaves_what_was_written(served: Served) -> None:
    visitor = served.visit()
    address = visitor.say("Tell me of a fox.")
    with held(served.worker()) as allow, visitor.stream(f"{address}/say", text="Go on.") as events:
        next(events)
        allow(4)
        eventually(lambda: chat_of(served, address).turns[-1].answers[0].tokens)
        assert visitor.post(f"{address}/stop").status_code == 204
        last = [*events][-1]

    turn = chat_of(served, address).turns[-1]
    assert (turn.text, turn.answers[0].finish) == ("Go on.", "")
    assert "Stopped." in last["html"]
    eventually(lambda: served.worker().rows == 0)


def test_a_stop_counts_before_the_answer_has_begun(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = served.visit()
    address = visitor.say("Tell me of a fox.")
    draw = streaming.draw

    async def after_a_stop(*given: Any) -> Any:
        chat_of(served, address).running.stop()
        return await draw(*given)

    monkeypatch.setattr(streaming, "draw", after_a_stop)
    with held(served.worker()), visitor.stream(f"{address}/say", text="Go on.") as events:
        last = [*events][-1]

    assert "Stopped." in last["html"]


def test_leaving_drops_the_answer_and_the_conversation_can_go_on(served: Served) -> None:
    visitor = served.visit()
    address = visitor.say("Tell me of a fox.")
    with held(served.worker()) as allow:
        with visitor.stream(f"{address}/say", text="Go on.") as events:
            next(events)
        allow(2)
        eventually(lambda: chat_of(served, address).running is None)
    visitor.say("And then?", address)

    assert len(chat_of(served, address).turns) == 3


def test_answering_again_takes_the_place_of_the_answer(served: Served) -> None:
    visitor = served.visit()
    address = visitor.say("Tell me of a fox.")
    before = chat_of(served, address).turns[0]

    assert visitor.post(f"{address}/again").status_code == 303

    [turn] = chat_of(served, address).turns
    assert turn is not before
    assert turn.text == before.text


def test_editing_drops_what_followed(served: Served) -> None:
    visitor = served.visit()
    address = visitor.say("One fox.")
    visitor.say("Two foxes.", address)
    visitor.say("Three foxes.", address)

    assert visitor.post(f"{address}/edit", turn="1", text="Two hares.").status_code == 303

    visitor.get(address)
    assert texts(visitor) == ["One fox.", "Two hares."]
    assert visitor.post(f"{address}/edit", turn="2", text="x").status_code == 404


def test_a_conversation_that_is_full_can_still_be_edited(served: Served) -> None:
    visitor = served.visit()
    address = visitor.say("One fox.")
    chat_of(served, address).turns *= MOST_TURNS

    refused = visitor.post(f"{address}/say", text="Two foxes.")

    assert "as long as it can be" in refused.text
    assert visitor.post(f"{address}/again").status_code == 303
    assert visitor.post(f"{address}/edit", turn="1", text="Two hares.").status_code == 303
    assert len(chat_of(served, address).turns) == 2


def test_the_oldest_turns_are_forgotten_before_a_message_is_refused(served: Served) -> None:
    visitor = served.visit()
    address = visitor.say("a fox and a hare and a bear " * 2)
    for _ in range(4):
        visitor.say("a fox and a hare and a bear " * 2, address)

    answer = visitor.post(f"{address}/say", text="word " * 1000)

    assert answer.status_code == 422
    assert "longer than the model can read" in answer.text
    assert len(chat_of(served, address).turns) == 5


@pytest.mark.parametrize(
    ("text", "said"), [(" \n", "Write something first."), ("x" * (LONGEST + 1), "too long")]
)
def test_what_is_no_message_comes_back(served: Served, text: str, said: str) -> None:
    visitor = served.visit()

    answer = visitor.post("/chat", text=text)

    assert answer.status_code == 422
    assert said in answer.text


def test_one_answer_at_a_time_in_a_conversation(served: Served) -> None:
    visitor = served.visit()
    address = visitor.say("Tell me of a fox.")
    with held(served.worker()), visitor.stream(f"{address}/say", text="Go on.") as events:
        next(events)
        second = visitor.post(f"{address}/say", text="Go on!")
        assert second.status_code == 422
        assert "is being written" in second.text
        visitor.post(f"{address}/stop")
        assert [*events]


def test_the_model_of_a_conversation_is_chosen_at_its_beginning(served: Served) -> None:
    visitor = served.visit()

    assert 'name="model"' in visitor.html
    answer = visitor.post("/chat", text="Tell me of a fox.", model="other")

    address = answer.headers["location"]
    assert chat_of(served, address).turns[0].answers[0].model == "other"
    assert visitor.post("/chat", text="a", model="nobody").status_code == 404


# --- two answers ---


@pytest.mark.parametrize("swaps", [False, True])
@pytest.mark.parametrize("preference", ["a", "b", "tie"])
def test_of_two_answers_the_chosen_one_goes_on(
    served: Served, preference: str, swaps: bool
) -> None:
    served.lot.side_by_side, served.lot.swaps = True, swaps
    visitor = served.visit()
    address = visitor.say("Tell me of a fox.")
    [turn] = chat_of(served, address).turns
    assert [one.model for one in turn.answers] == (
        ["other", "tiny"] if swaps else ["tiny", "other"]
    )
    assert "tiny" not in re.sub(r"composer-model.*", "", visitor.html).partition("<main")[2]
    assert "other" not in visitor.html.partition("<main")[2]

    assert visitor.choose(address, preference).status_code == 303

    expected = turn.answers[1 if preference == "b" else 0].text
    assert chat_of(served, address).before(1)[1:] == ([("assistant", expected)] if expected else [])


def test_going_on_without_a_choice_goes_on_with_the_first(served: Served) -> None:
    served.lot.side_by_side = True
    visitor = served.visit()
    address = visitor.say("Tell me of a fox.")
    first = chat_of(served, address).turns[0].answers[0].text

    visitor.say("Go on.", address)

    assert chat_of(served, address).before(1)[-1][1] == first
    late = visitor.post(f"{address}/choose", turn="0", preference="b")
    assert late.status_code == 404


def test_a_choice_is_about_the_answers_that_were_shown(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.lot.side_by_side = True
    monkeypatch.setattr(Lot, "getrandbits", lambda *_: 7)  # answers that say something
    visitor = served.visit()
    address = visitor.say("Tell me of a fox.")
    visitor.post(f"{address}/again")  # in another window: this one still shows the first two

    late = visitor.choose(address, "b")

    assert late.headers["location"] == address
    [turn] = chat_of(served, address).turns
    assert turn.is_open
    visitor.get(address)
    visitor.choose(address, "b")
    assert turn.preference == "b"


def test_two_answers_stream_side_by_side(served: Served) -> None:
    served.lot.side_by_side = served.lot.swaps = True
    visitor = served.visit()

    with visitor.stream("/chat", text="Tell me of a fox.") as events:
        first, *pieces, last = [*events]

    [turn] = chat_of(served, last["address"]).turns
    assert first["answers"] == 2
    for place, answer in enumerate(turn.answers):
        assert "".join(p["text"] for p in pieces if p["answer"] == place) == answer.text


def test_a_second_answer_that_cannot_be_had_keeps_nobody_from_the_first(
    tiny: ServedPolicy, other: ServedPolicy
) -> None:
    with visited([tiny, replace(other, context=4)]) as served:
        served.lot.side_by_side = True
        visitor = served.visit()

        address = visitor.say("Tell me of a fox and of a hare.")

        [answer] = chat_of(served, address).turns[0].answers
        assert answer.model == "tiny"
        assert answer.finish
        refused = visitor.post("/chat", text="Tell me of a fox and of a hare.", model="other")
        assert "longer than the model can read" in refused.text


def test_two_answers_that_were_stopped_are_no_pair(served: Served) -> None:
    served.lot.side_by_side = True
    visitor = served.visit()
    with (
        held(served.worker("tiny")),
        held(served.worker("other")),
        visitor.stream("/chat", text="A fox.") as events,
    ):
        address = next(events)["stop"].removesuffix("/stop")
        visitor.post(f"{address}/stop")
        assert "pair" not in [*events][-1]["html"]
    assert len(chat_of(served, address).turns[0].answers) == 1


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        ([("A fox.", "stop"), ("A hare.", "length")], [1, 2]),
        ([("A fox.", "stop"), ("A fox.", "stop")], [1]),
        ([("A fox.", "stop"), (" A fox.\n", "length")], [1]),
        ([("", "stop"), ("A fox.", "stop")], [2]),
        ([("A fox.", "length"), (" \n", "stop")], [1]),
        ([("", "stop"), ("", "stop")], [1]),
        ([("A fox", ""), ("", "stop")], [2]),
        ([("", ""), ("A fox", "")], [2]),
    ],
)
@pytest.mark.parametrize("swaps", [False, True])
def test_what_cannot_be_compared_is_one_answer(
    answers: list[tuple[str, str]], left: list[int], swaps: bool
) -> None:
    drawn = [
        Answer("tiny", "x", {}, number, text, 3, finish)
        for number, (text, finish) in enumerate(answers, start=1)
    ]
    turn = Turn("Tell me of a fox.", drawn[::-1] if swaps else drawn)
    conversation = Conversations().begin("ann", "tiny", 0, keeps=False)

    streaming._ended(conversation, turn)

    assert sorted(one.number for one in turn.answers) == left
    assert turn.is_open == (len(left) == 2)


def test_two_answers_that_say_the_same_are_shown_as_one(
    tiny: ServedPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lot, "getrandbits", lambda *_: 7)
    with visited([tiny]) as served:
        served.lot.side_by_side = True
        visitor = served.visit()

        with visitor.stream("/chat", text="Tell me of a fox.") as events:
            first, *pieces, last = events

        said = ["".join(p["text"] for p in pieces if p["answer"] == place) for place in (0, 1)]
        assert (first["answers"], said[0]) == (2, said[1])
        assert said[0]
        assert 'class="pair"' not in last["html"]
        assert last["html"].count("said-model") == 1
        answer = visitor.post(
            f"{last['address']}/choose", turn="0", preference="b",
            draw=chat_of(served, last["address"]).turns[0].draw,
        )  # fmt: skip
        assert answer.status_code == 303
        assert chat_of(served, last["address"]).turns[0].preference is None


# --- who may ask ---


def test_somebody_else_s_conversation_is_as_if_it_were_not_there(served: Served) -> None:
    mine, theirs = served.visit(), served.visit()
    address = mine.say("Tell me of a fox.")

    assert theirs.get(address).status_code == 404
    assert theirs.post(f"{address}/say", text="Hello").status_code == 404


def test_a_form_needs_its_token_and_our_own_origin(served: Served) -> None:
    visitor = served.visit()
    token = visitor.token

    def post(headers: dict[str, str], **fields: str) -> int:
        return visitor.http.post("/chat", data={"text": "a", **fields}, headers=headers).status_code

    assert post({}) == 403
    assert post({}, csrf_token="0" * 64) == 403
    assert post({"Origin": "http://evil.example"}, csrf_token=token) == 403
    assert post({"Sec-Fetch-Site": "cross-site"}, csrf_token=token) == 403
    assert (
        httpx.post(f"{served.url}/chat", data={"csrf_token": token, "text": "a"}).status_code == 403
    )
    assert visitor.http.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert post({}, csrf_token=token) == 303


def test_every_answer_has_the_headers_and_every_page_is_without_inline_scripts(
    served: Served,
) -> None:
    visitor = served.visit()
    for path in ("/", "/data", "/nowhere", visitor.say("Tell me of a fox.")):
        answer = visitor.get(path)
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"\sstyle\s*=|<style|\son\w+\s*=|<script(?![^>]*\ssrc=)", answer.text)
    kept = visitor.http.get(looks.static_path("base.css"))
    assert "immutable" in kept.headers["cache-control"]


def test_large_bodies_and_other_kinds_are_refused(served: Served) -> None:
    visitor = served.visit()

    large = visitor.post("/chat", text="x" * 1_100_000)
    other = visitor.http.post("/chat", json={"text": "a"})

    assert (large.status_code, other.status_code) == (413, 415)


def test_an_address_asks_no_more_than_so_often(tiny: ServedPolicy) -> None:
    with visited([tiny], turns=2) as served:
        visitor = served.visit()
        address = visitor.say("One.")
        visitor.say("Two.", address)

        assert visitor.post(f"{address}/say", text="Three.").status_code == 429
        assert served.visit().post("/chat", text="Four.").status_code == 429


def test_the_api_keeps_its_addresses_and_its_keys(tiny: ServedPolicy) -> None:
    import hashlib

    key = "a-key-of-more-than-16"
    access = Access((hashlib.sha256(key.encode()).digest(),))
    with visited([tiny], access=access) as served:
        visitor = served.visit()
        asked = {"model": "tiny", "messages": [{"role": "user", "content": "A fox."}]}

        refused = visitor.http.post("/v1/chat/completions", json=asked)
        answered = visitor.http.post(
            "/v1/chat/completions", json=asked, headers={"Authorization": f"Bearer {key}"}
        )
        visitor.say("A fox.")

        assert (refused.status_code, answered.status_code) == (401, 200)
        figures = visitor.http.get("/metrics", headers={"Authorization": f"Bearer {key}"}).text
        assert 'alignloop_page_turns_total{kind="say"} 1.0' in figures
        assert 'alignloop_requests_total{route="page",status="303"} 1.0' in figures


# --- nothing is kept ---


def test_without_a_store_the_page_says_that_nothing_is_kept(served: Served) -> None:
    visitor = served.visit()

    assert "Nothing of this is kept" in visitor.html
    assert "I agree" not in visitor.html
    assert visitor.post("/data/agree").status_code == 404
    assert visitor.get("/data.json").status_code == 404
    visitor.get("/data")
    assert "Nothing of this is kept" in visitor.html


def test_conversations_are_forgotten() -> None:
    found = Conversations()
    for number in range(MOST_OF_ONE + 3):
        found.begin("ann", "tiny", number, keeps=False)
    early = found.begin("bob", "tiny", 100, keeps=False)

    assert len(found.of("ann")) == MOST_OF_ONE
    assert found.find("bob", early.id, 100 + LIFE_MS) is early
    assert found.find("bob", early.id, 100 + 2 * LIFE_MS + 1) is None
    assert found.of("ann") == []


def test_conversations_are_forgotten_with_nobody_asking(
    tiny: ServedPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "FORGET_S", 0.01)
    with visited([tiny]) as served:
        old = served.visit().say("Tell me of a fox.")
        served.now += LIFE_MS
        young = served.visit().say("Tell me of a hare.")
        served.now += 1
        found = served.site.conversations._found

        eventually(lambda: old.rpartition("/")[2] not in found)

        assert young.rpartition("/")[2] in found


def test_forgetting_ends_with_the_server(tiny: ServedPolicy) -> None:
    async def began_and_ended() -> set[asyncio.Task[object]]:
        page = app.create_page(Site(Service.of([tiny], Limits()), Origins.of(["127.0.0.1"])))
        said: asyncio.Queue[str] = asyncio.Queue()
        asked: asyncio.Queue[Message] = asyncio.Queue()

        async def send(message: Message) -> None:
            said.put_nowait(message["type"])

        running = asyncio.create_task(
            app.Front(page, page, Metrics())({"type": "lifespan"}, asked.get, send)  # type: ignore[arg-type]
        )
        asked.put_nowait({"type": "lifespan.startup"})
        assert await said.get() == "lifespan.startup.complete"
        others = asyncio.all_tasks() - {running, asyncio.current_task()}
        assert len(others) == 1, "the duty"
        asked.put_nowait({"type": "lifespan.shutdown"})
        assert await said.get() == "lifespan.shutdown.complete"
        await running
        return others

    assert all(task.cancelled() for task in asyncio.run(began_and_ended()))


def test_language_and_colours_are_this_browser_s(served: Served) -> None:
    visitor = served.visit(**{"Accept-Language": "zh-CN"})
    assert '<html lang="zh-Hans"' in visitor.html

    visitor.post("/settings", locale="en", next="/data")
    answer = visitor.post("/settings", theme="dark", next="//evil.example")

    assert answer.headers["location"] == "/"
    visitor.get("/")
    assert '<html lang="en" data-theme="dark"' in visitor.html


def test_the_notice_s_words_have_the_version_that_people_agreed_to() -> None:
    """Whoever changes what the notice says raises WORDING, so that everybody is asked again."""
    import hashlib

    told = hashlib.sha256()
    for locale in ("en", "zh"):
        for key, said in sorted(looks.words(locale).entries.items()):
            if re.fullmatch(r"notice\.(\w+_text|(personal|kind)\.\w+)", key):
                told.update(f"{locale} {key} {said}\n".encode())

    assert {WORDING: told.hexdigest()[:16]} == {2: "6482c6f7cb52b106"}


@contextmanager
def half_a_form(served: Served) -> Iterator[socket.socket]:
    """A connection on which a message was begun, and is not sent to its end."""
    host, port = served.url.removeprefix("http://").split(":")
    head = (
        f"POST /chat HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: 100\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\ntext="
    )
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(head.encode())
        yield slow


def test_a_form_that_is_never_sent_to_its_end_is_given_up(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignloop.serving.page.access._BODY_S", 0.05)
    with half_a_form(served) as slow:
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_a_browser_that_leaves_while_it_sends_is_no_bug(served: Served) -> None:
    with half_a_form(served):
        pass

    visitor = served.visit()
    counted = 'alignloop_requests_total{route="page",status="499"} 1.0'
    eventually(lambda: counted in visitor.http.get("/metrics").text)
