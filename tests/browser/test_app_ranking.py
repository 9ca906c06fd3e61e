"""Ranking in the running app, by keys, buttons and dragging: what lands in the database is what the page showed."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

from tests.browser.conftest import WINDOWS, Enter
from tests.browser.running import App, begin, press, shown_ranks

FLAGS = 11


def rate_with_keys(page: Page, grades: str) -> None:
    """Screen (a) of every output: a grade, nothing ticked."""
    for at, grade in enumerate(grades, start=1):
        page.wait_for_url(f"**/rate/{at}")
        press(page, f"{grade} n Control+Enter")
    page.wait_for_url("**/rank")


def submitted(page: Page) -> None:
    page.wait_for_selector(".notice-good")


def test_four_outputs_by_keys_alone(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("rank", k=4)
    page = enter(ann)

    # Screen (a): to the button by Tab, a grade, flags by their letters, notes as text, on by Ctrl+Enter in the text.
    page.get_by_role("button", name="Start").focus()
    press(page, "Enter")
    page.wait_for_url("**/rate/1")
    press(page, "5 f a f c")
    page.get_by_label("Notes").focus()
    page.keyboard.type("5 n x")
    press(page, "Control+Enter")
    page.wait_for_url("**/rate/2")
    press(page, "7 n Control+Enter")
    page.wait_for_url("**/rate/3")
    press(page, "1 f k Control+Enter")
    page.wait_for_url("**/rate/4")
    press(page, "4 n Control+Enter")
    page.wait_for_url("**/rank")

    # Screen (b): A 3, B 1, C not rankable, D first 2, then tied with B, then not, by undo, then one worse.
    press(page, "j 3 j 1 j x j 2")
    assert shown_ranks(page) == {"A": 3, "B": 1, "C": None, "D": 2}
    press(page, "=")
    assert shown_ranks(page) == {"A": 2, "B": 1, "C": None, "D": 1}
    press(page, "u")
    assert shown_ranks(page) == {"A": 3, "B": 1, "C": None, "D": 2}
    press(page, "Alt+ArrowDown")
    assert shown_ranks(page) == {"A": 2, "B": 1, "C": None, "D": 3}
    press(page, "=")
    shown = shown_ranks(page)
    press(page, "Control+Enter")
    submitted(page)

    label = app.label(ann)
    assert label.ranks == shown == {"A": 2, "B": 1, "C": None, "D": 2}
    assert label.likert == {"A": 5, "B": 7, "C": 1, "D": 4}
    assert label.flags == {
        "A": {"instruction", "hallucination"},
        "B": set(),
        "C": {"moral"},
        "D": set(),
    }
    assert label.flag_values == 4 * FLAGS
    assert label.notes == {"A": "5 n x"}


def test_nine_outputs_by_keys_alone(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("rank", k=9, asks_ratings=False)
    page = enter(ann)
    begin(page)

    for rank in (9, 8, 7, 6, 5, 4, 3, 2, 1):
        press(page, f"j {rank}")
    assert list(shown_ranks(page).values()) == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    press(
        page, "k k k = Alt+ArrowUp Alt+ArrowUp k x u k k 9"
    )  # F, twice up; E, and back; C to the worst
    shown = shown_ranks(page)
    press(page, "Control+Enter")
    submitted(page)

    # F (4) ties with G (3): ranks close to 8. Up once: alone above G (3), up again: above H (2).
    # C (7, by then 7 again) goes to the worst, with A.
    assert app.label(ann).ranks == shown
    assert shown == {"A": 8, "B": 7, "C": 8, "D": 6, "E": 5, "F": 2, "G": 4, "H": 3, "I": 1}
    assert app.draft_count(ann) == 0


def test_grades_give_a_first_ranking(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("rank", k=4)
    page = enter(ann)
    begin(page)
    rate_with_keys(page, "2677")

    page.get_by_role("button", name="Start from my grades").click()
    shown = shown_ranks(page)
    press(page, "Control+Enter")
    submitted(page)

    assert app.label(ann).ranks == shown == {"A": 3, "B": 2, "C": 1, "D": 1}


def test_by_buttons(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("rank", k=9, asks_ratings=False)
    page = enter(ann)
    begin(page)

    def move(letter: str, name: str) -> None:
        card = page.locator(f"[data-letter={letter}]")
        card.get_by_role("button", name=name, exact=True).click()

    for letter in "ABCDEFGHI":
        move(letter, "Down")  # to a rank of its own, above all that are there
    move("A", "Up")
    move("C", "Tie with above")
    page.locator("[data-letter=E] .scale-apart").click()
    page.locator("[data-letter=I] .scale-row label").nth(2).click()
    shown = shown_ranks(page)
    page.get_by_role("button", name="Submit").click()
    submitted(page)

    assert app.label(ann).ranks == shown
    assert len(set(shown.values())) < 9
    assert shown["E"] is None


def test_by_dragging(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("rank", k=4, asks_ratings=False)
    page = enter(ann)
    begin(page)

    def drag(letter: str, lane: str) -> None:
        page.locator(f"[data-letter={letter}]").scroll_into_view_if_needed()
        handle = page.locator(f"[data-letter={letter}] [data-handle]").bounding_box()
        target = page.locator(f"[data-lane='{lane}']").bounding_box()
        assert handle is not None and target is not None
        page.mouse.move(handle["x"] + 5, handle["y"] + 5)
        page.mouse.down()
        page.mouse.move(target["x"] + 30, target["y"] + target["height"] * 0.6, steps=4)
        page.mouse.up()

    drag("A", "2")
    drag("B", "1")
    drag("C", "2")
    drag("D", "0")
    shown = shown_ranks(page)
    page.get_by_role("button", name="Submit").click()
    submitted(page)

    assert app.label(ann).ranks == shown == {"A": 2, "B": 1, "C": 2, "D": None}


def test_what_is_missing_is_named_and_kept(app: App, enter: Enter, complaints: list[str]) -> None:
    ann = app.person()
    app.campaign("rank", k=4, asks_ratings=False)
    page = enter(ann)
    begin(page)

    press(page, "j 1 j 2 Control+Enter")
    page.wait_for_selector("#errors")

    assert app.labels(ann) == []
    assert app.draft(ann)["rank[1]"] == ["1"]
    assert shown_ranks(page) == {"A": 1, "B": 2}
    assert page.locator("#errors li").count() == 2
    complaints[:] = [told for told in complaints if "422" not in told]


# --- on a phone ---


def test_a_phone_ranks_by_buttons(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("rank", k=4, asks_ratings=False)
    page = enter(ann, **WINDOWS["phone"])
    page.get_by_role("button", name="Start").tap()
    page.wait_for_url("**/rank")
    page.wait_for_load_state()

    for letter, place in (("A", 1), ("B", 0), ("C", 1), ("D", 4)):
        page.locator(f"[data-letter={letter}] .scale-row label").nth(place).tap()
    page.locator("[data-letter=C]").get_by_role("button", name="Down", exact=True).tap()
    shown = shown_ranks(page)
    page.get_by_role("button", name="Submit").tap()
    submitted(page)

    assert app.label(ann).ranks == shown == {"A": 2, "B": 1, "C": 3, "D": None}


def test_on_a_phone_scrolling_never_drags(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("rank", k=4, asks_ratings=False)
    page = enter(ann, **WINDOWS["phone"])
    begin(page)
    page.locator("[data-letter=A] .scale-row label").first.tap()
    for target in (".passage", ".output-title", ".rank-control"):
        middle = page.locator(f"[data-letter=B] {target}").first
        middle.evaluate("(element) => element.scrollIntoView({block: 'center'})")
        before = page.evaluate("scrollY")

        swipe_up(page, middle, 120)

        assert page.evaluate("scrollY") > before + 50, target
    assert shown_ranks(page) == {"A": 1}
    assert page.locator("[name=moves_drag]").input_value() == "0"
    assert page.locator(".ghost").count() == 0


def swipe_up(page: Page, start: Locator, pixels: int) -> None:
    """A finger on the left of an element, moved up."""
    box = start.bounding_box()
    assert box is not None
    x, y = box["x"] + 10, box["y"] + box["height"] / 2
    cdp = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        at = [{"x": x, "y": y} for x, y in points]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", (x, y))
    for step in range(10):
        touch("touchMove", (x, y - pixels * (step + 1) / 10))
    touch("touchEnd")
    page.wait_for_timeout(100)
