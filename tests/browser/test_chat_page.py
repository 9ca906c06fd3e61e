"""The chat page in a real browser: answers as they are written, stopped, again, edited, chosen, agreed to, erased."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from alignloop.serving.page import streaming
from alignloop.serving.policy import ServedPolicy
from alignloop.store import prompts
from alignloop.store.database import Store
from tests.browser.conftest import AXE, WINDOWS, _new_page
from tests.helpers import write_model
from tests.serving.site import eventually, held
from tests.serving.visiting import Served, visited
from tests.store.fresh import fresh_store

Look = Callable[..., Page]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = fresh_store(tmp_path_factory.mktemp("project"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Served]:
    models = [
        ServedPolicy.load(name, write_model(tmp_path_factory.mktemp(name), seed=seed))
        for name, seed in (("tiny", 3), ("other", 7))
    ]
    with visited(models, store) as found:
        yield found


@pytest.fixture
def served(running: Served) -> Served:
    running.lot.side_by_side = running.lot.swaps = False
    running.lot.seed = 0
    return running


@pytest.fixture
def look(browser: Browser, served: Served, complaints: list[str]) -> Iterator[Look]:
    opened: list[Page] = []

    def look_(path: str = "/", **options: Any) -> Page:
        page = _new_page(browser, served.url, complaints, **{"locale": "en", **options})
        opened.append(page)
        page.goto(served.url + path)
        return page

    yield look_
    for page in opened:
        page.context.close()


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def answered(page: Page, count: int) -> None:
    """Wait until so many answers are there and none is being written."""
    expect(page.locator("#thread .said-model")).to_have_count(count)
    expect(page.get_by_role("button", name="Answer again")).to_be_visible()


def serious(page: Page) -> list[str]:
    """What axe finds that keeps people out."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def test_an_answer_appears_as_it_is_written_and_can_be_stopped(served: Served, look: Look) -> None:
    page = look()
    with held(served.worker()) as allow:
        say(page, "Tell me of a fox.")
        writing = page.locator(".answer-text[aria-busy=true]")
        expect(writing).to_have_text("")
        allow(6)
        expect(writing).not_to_have_text("")
        expect(page.locator(".said-user .said-text")).to_have_text("Tell me of a fox.")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("Stopped.")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    assert "/chat/" in page.url
    eventually(lambda: served.worker().rows == 0)
    page.reload()
    expect(page.get_by_text("Stopped.")).to_be_visible()


def test_a_stop_counts_before_the_answer_has_begun(
    served: Served, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_begin = threading.Event()
    draw = streaming.draw

    async def later(*given: Any) -> Any:
        while not may_begin.is_set():
            await asyncio.sleep(0.01)
        return await draw(*given)

    monkeypatch.setattr(streaming, "draw", later)
    page = look()
    with held(served.worker()):
        say(page, "Tell me of a fox.")
        page.get_by_role("button", name="Stop").click()
        may_begin.set()
        expect(page.get_by_text("Stopped.")).to_be_visible()
    settings = page.locator("header input[name=next]").first
    assert page.url.endswith(settings.input_value()), "another language leads back to here"
    assert settings.input_value() != "/"


def test_a_conversation_by_keyboard_goes_on_again_and_is_edited(look: Look) -> None:
    page = look()
    page.get_by_label("Message", exact=True).focus()
    page.keyboard.type("One fox.")
    page.keyboard.press("Enter")
    answered(page, 1)
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.type("Two foxes.")
    page.keyboard.press("Enter")
    answered(page, 2)

    page.get_by_role("button", name="Answer again").click()
    answered(page, 2)
    page.locator("#turn-0 summary").click()
    page.get_by_label("Your message").first.fill("One hare.")
    page.get_by_role("button", name="Send again").first.click()
    answered(page, 1)

    expect(page.locator(".said-text")).to_have_text(["One hare."])
    page.get_by_role("link", name="New conversation").click()
    expect(page.get_by_text("Nothing was said yet.")).to_be_visible()


def test_of_two_answers_one_is_chosen(served: Served, look: Look) -> None:
    served.lot.side_by_side = True
    page = look()

    say(page, "Tell me of a fox.")
    expect(page.get_by_role("heading", name="Answer B")).to_be_visible()
    page.get_by_role("button", name="B is better").click()

    expect(page.get_by_text("your choice: B")).to_be_visible()
    expect(page.locator("#thread .said-model")).to_have_count(1)


def test_agreeing_keeping_and_erasing(served: Served, look: Look, store: Store) -> None:
    page = look()
    expect(page.get_by_role("heading", name="May what you say here be kept?")).to_be_visible()
    assert page.locator("input[type=checkbox]").count() == 0

    page.get_by_role("button", name="I agree").click()
    expect(page.get_by_role("status").first).to_contain_text("You agreed.")
    say(page, "Tell me of a hare in the wood.")
    answered(page, 1)
    page.get_by_role("link", name="Your data").click()
    expect(page.get_by_text("Tell me of a hare in the wood.").first).to_be_visible()
    assert serious(page) == []
    page.get_by_text("Erase everything", exact=True).click()
    page.get_by_role("button", name="Erase everything now").click()

    expect(page.get_by_text("Nothing is kept of you.")).to_be_visible()
    with store.read() as connection:
        assert [*prompts.each_prompt(connection)] == []


@pytest.mark.parametrize(("window", "theme"), [("desktop", "light"), ("phone", "dark")])
def test_nobody_is_kept_out_and_nothing_runs_over_the_edge(
    served: Served, look: Look, window: str, theme: str
) -> None:
    served.lot.side_by_side = True
    page = look(**WINDOWS[window], color_scheme=theme)
    assert serious(page) == []
    say(page, "A long word: " + "abcdefghij" * 4)
    expect(page.get_by_role("button", name="A is better")).to_be_visible()

    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_chinese(look: Look) -> None:
    page = look(locale="zh-CN")

    expect(page.get_by_role("heading", name="可以保存您在这里说的话吗？")).to_be_visible()
    page.get_by_label("消息", exact=True).fill("讲一个狐狸的故事。")
    page.get_by_role("button", name="发送", exact=True).click()
    expect(page.get_by_role("button", name="重新回答")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"


def test_without_scripts_everything_but_stopping_works(served: Served, look: Look) -> None:
    page = look(java_script_enabled=False)
    page.get_by_role("button", name="No, do not keep it").click()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    served.lot.side_by_side = True
    say(page, "Tell me of a fox.")
    page.get_by_role("button", name="About the same").click()
    expect(page.get_by_text("about the same", exact=True)).to_be_visible()
    served.lot.side_by_side = False
    page.get_by_role("button", name="Answer again").click()
    say(page, "And of a hare.")
    expect(page.locator("#thread .said-user")).to_have_count(2)
    page.locator("#turn-0 summary").click()
    page.get_by_label("Your message").first.fill("One hare.")
    page.get_by_role("button", name="Send again").first.click()
    expect(page.locator(".said-text")).to_have_text(["One hare."])


def test_what_is_wrong_is_said_and_the_text_stays(look: Look, heard: list[str]) -> None:
    page = look()
    say(page, "fox " * 200)

    expect(page.get_by_role("alert")).to_have_text("This is longer than the model can read.")
    expect(page.get_by_label("Message", exact=True)).to_have_value("fox " * 200)
    assert [one for one in heard if "status of 422" not in one] == []
    heard.clear()
