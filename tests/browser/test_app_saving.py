"""Nothing typed is lost: the server dies and comes back, tabs contradict one another, and times are what they were."""

from __future__ import annotations

import contextlib

from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import Enter
from tests.browser.running import App, Person, begin, press, shown_ranks, wait_for_saved

WATCH = """() => {
  const state = document.querySelector("[data-save-state]");
  new MutationObserver(() => {
    if (state.dataset.state === "saved") window.saidSaved([...new FormData(document.getElementById("task"))]);
  }).observe(state, {attributes: true, childList: true});
}"""
NOT_KEPT = {
    "csrf_token",
    "client_uuid",
    "active_ms",
    "idle_ms",
    "first_input_ms",
    "rev",
    "screen",
    "item",
}


def watch_saved(page: Page, app: App, person: Person) -> list[dict[str, str]]:
    """Each time that the page says "Saved", the database holds what the page holds; gives what it held."""
    seen: list[dict[str, str]] = []

    def said_saved(fields: list[list[str]]) -> None:
        shown = {name: value for name, value in fields if name not in NOT_KEPT}
        draft = {name: values[0] for name, values in app.draft(person).items()}
        assert draft == shown
        seen.append(shown)

    page.expose_function("saidSaved", said_saved)
    page.evaluate(WATCH)
    return seen


def trouble(page: Page) -> str:
    return page.locator("[data-save-trouble]").inner_text()


def only_connections_lost(complaints: list[str]) -> None:
    """What a browser says itself when a server is not there."""
    complaints[:] = [told for told in complaints if "net::ERR_" not in told]


def test_saved_is_not_said_before_the_commit(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("rank", asks_ratings=False)
    page = enter(ann)
    begin(page)
    seen = watch_saved(page, app, ann)

    with app.store.write():  # nobody else can commit within
        press(page, "j 2 j 1")
        page.wait_for_selector("[data-save-state][data-state=saving]")
        page.wait_for_timeout(1800)
        assert page.locator("[data-save-state]").inner_text() == "Saving…"
        assert seen == []
    wait_for_saved(page)

    assert [(one["rank[1]"], one["rank[2]"]) for one in seen] == [("2", "1")]


def test_the_server_dies_in_the_middle(app: App, enter: Enter, complaints: list[str]) -> None:
    ann = app.person()
    app.campaign("rank", asks_ratings=False)
    page = enter(ann)
    begin(page)
    seen = watch_saved(page, app, ann)
    press(page, "j 2 j 1")
    wait_for_saved(page)

    app.server.kill()
    try:
        assert app.draft(ann)["rank[2]"] == ["1"]  # what was said to be saved
        press(page, "j 3 j x")
        expect(page.locator("[data-save-trouble]")).to_have_text("Not saved – retrying")
        assert page.locator("[data-save-state]").inner_text() == ""
        assert "rank[3]" not in app.draft(ann)
    finally:
        app.server.start()
    wait_for_saved(page)

    assert trouble(page) == ""
    assert app.draft(ann)["rank[3]"] == ["3"]
    assert app.draft(ann)["rank[4]"] == ["0"]
    shown = shown_ranks(page)
    press(page, "Control+Enter")
    page.wait_for_selector(".notice-good")
    assert app.label(ann).ranks == shown == {"A": 2, "B": 1, "C": 3, "D": None}
    assert len(seen) == 2
    app.assert_sound()
    only_connections_lost(complaints)


def test_a_submission_into_the_void_comes_back(
    app: App, enter: Enter, complaints: list[str]
) -> None:
    """Submitted while nobody listens, then the tab is opened again: the text is there, and one label comes of it."""
    ann = app.person()
    app.campaign("demonstrate")
    page = enter(ann)
    begin(page)
    address = page.url
    page.get_by_label("Your answer").fill("Saved.")
    wait_for_saved(page)

    app.server.kill()
    try:
        page.get_by_label("Your answer").fill("Saved. And more.")
        with contextlib.suppress(Error):
            page.get_by_role("button", name="Submit").click()
            page.wait_for_url("chrome-error://**")
    finally:
        app.server.start()
    with contextlib.suppress(Error):
        page.wait_for_load_state()
    page.goto(address)

    assert page.get_by_label("Your answer").input_value() == "Saved. And more."
    assert trouble(page) == "Restored what this tab had not saved."
    page.get_by_role("button", name="Submit").click()
    page.wait_for_selector(".notice-good")
    (row,) = app.rows("demonstrations", ann)
    assert row.text == "Saved. And more."
    only_connections_lost(complaints)
    complaints[:] = [told for told in complaints if "chrome-error" not in told]


def test_a_double_click_is_one_submission(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("demonstrate", tasks=2)
    page = enter(ann)
    begin(page)

    page.get_by_label("Your answer").fill("Once.")
    page.get_by_role("button", name="Submit").dblclick()
    page.wait_for_selector(".notice-good")

    assert len(app.labels(ann, all_states=True)) == 1


# --- two tabs ---


def two_tabs(app: App, enter: Enter, person: Person) -> tuple[Page, Page]:
    """One task in two tabs, both changed: the first is saved, the second is refused."""
    app.campaign("rank", asks_ratings=False)
    first = enter(person)
    begin(first)
    second = enter(person, first.url.removeprefix(app.url), beside=first)
    press(first, "j 1 j 2")
    wait_for_saved(first)
    press(second, "j 4 j 3 j 2 j 1")
    expect(second.locator("[data-save-trouble]")).to_contain_text(
        "Changed in another tab: not saved."
    )
    assert second.locator("[data-save-state]").inner_text() == ""
    assert "rank[3]" not in app.draft(person)

    second.get_by_role("button", name="See both versions").click()
    second.wait_for_selector("table.conflict")
    rows = second.locator("table.conflict tbody tr").all_inner_texts()
    assert [row.split("\t")[1:] for row in rows[:4]] == [
        ["4", "1"],
        ["3", "2"],
        ["2", "–"],
        ["1", "–"],
    ]
    assert app.draft(person)["rank[1]"] == ["1"]
    return first, second


def only_conflicts(complaints: list[str]) -> None:
    """What the browser says itself of a refusal."""
    complaints[:] = [told for told in complaints if "409" not in told]


def test_two_tabs_and_this_one_wins(app: App, enter: Enter, complaints: list[str]) -> None:
    ann = app.person()
    _, second = two_tabs(app, enter, ann)

    second.get_by_role("button", name="Keep this page's version").click()
    second.wait_for_selector(".notice-good")
    assert app.draft(ann)["rank[1]"] == ["4"]
    press(second, "Control+Enter")
    second.wait_for_url(app.url + "/")

    assert app.label(ann).ranks == {"A": 4, "B": 3, "C": 2, "D": 1}
    only_conflicts(complaints)


def test_two_tabs_and_the_other_one_wins(app: App, enter: Enter, complaints: list[str]) -> None:
    ann = app.person()
    _, second = two_tabs(app, enter, ann)

    second.get_by_role("link", name="Go on with the saved version").click()
    second.wait_for_selector("#task")
    assert shown_ranks(second) == {"A": 1, "B": 2}
    assert app.draft(ann)["rank[1]"] == ["1"]
    only_conflicts(complaints)


def test_two_tabs_of_a_prompt(app: App, enter: Enter, complaints: list[str]) -> None:
    ann = app.person()
    app.campaign("write")
    first = enter(ann)
    begin(first)
    second = enter(ann, "/prompts/new", beside=first)
    first.get_by_label("Prompt", exact=True).fill("One")
    wait_for_saved(first)
    second.get_by_label("Prompt", exact=True).fill("Two")

    second.get_by_role("button", name="See both versions").click()
    second.wait_for_selector("table.conflict")
    assert app.draft(ann)["text"] == ["One"]
    second.get_by_role("button", name="Keep this page's version").click()
    second.wait_for_selector("#task")

    assert second.get_by_label("Prompt", exact=True).input_value() == "Two"
    assert app.draft(ann)["text"] == ["Two"]
    only_conflicts(complaints)


# --- time ---


def test_active_time_is_time_at_work(app: App, enter: Enter) -> None:
    """The page's clock is moved by hand: 30 s at work, a pause of ten minutes, 20 s at work."""
    ann = app.person()
    app.campaign("rank", asks_ratings=False)
    page = enter(ann)
    page.clock.install()
    begin(page)
    page.clock.pause_at(page.evaluate("Date.now() / 1000") + 1)

    for _ in range(3):
        page.clock.run_for(10_000)
        page.keyboard.press("j")
    page.clock.run_for(600_000)  # of which the first minute counts: somebody may be reading
    for key in ("1", "k", "k"):
        page.keyboard.press(key)
        page.clock.run_for(10_000)
    for key in ("2", "j", "3", "j", "j", "4"):
        page.keyboard.press(key)
    page.clock.run_for(5_000)
    wait_for_saved(page)
    press(page, "Control+Enter")
    page.wait_for_url(app.url + "/")

    label = app.label(ann)
    assert 115_000 <= label.active_ms <= 140_000  # 30 + 60 + 30 + 5 s
    assert 530_000 <= label.idle_ms <= 550_000


def test_a_hidden_tab_is_not_at_work(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("demonstrate")
    page = enter(ann)
    page.clock.install()
    begin(page)
    page.clock.pause_at(page.evaluate("Date.now() / 1000") + 1)
    visibility = """(state) => {
      Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""

    page.get_by_label("Your answer").press_sequentially("Red.")
    page.clock.run_for(20_000)
    page.evaluate(visibility, "hidden")
    page.clock.run_for(300_000)
    page.evaluate(visibility, "visible")
    page.get_by_label("Your answer").press_sequentially(" Blue.")
    page.clock.run_for(10_000)
    wait_for_saved(page)
    page.get_by_role("button", name="Submit").click()
    page.wait_for_selector(".notice-good")

    label = app.label(ann)
    assert 25_000 <= label.active_ms <= 40_000
    assert 290_000 <= label.idle_ms <= 310_000
