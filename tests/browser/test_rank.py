"""The ranking page: keys, buttons, radios and dragging make the same moves, and the form sends what is shown."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from alignloop.labeling import partition
from tests.browser.conftest import WINDOWS, Open
from tests.browser.site import Site

# The running app is tested every day: test_app_ranking.
pytestmark = pytest.mark.full

LETTERS = "ABCDEFGHI"


def places(page: Page) -> dict[str, int | None]:
    """Letter -> what the form would send for it."""
    return page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("[data-item]")].map((output) => {
             const chosen = output.querySelector("input:checked");
             return [output.dataset.letter, chosen ? Number(chosen.value) : null];
           }))"""
    )


def press(page: Page, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def said(page: Page) -> str:
    return page.locator("[data-say]").inner_text()


def focused(page: Page) -> str | None:
    return page.evaluate("document.activeElement.closest('[data-item]')?.dataset.letter ?? null")


def chips(page: Page) -> dict[str, str]:
    """Lane -> letters on it, for lanes that hold any."""
    return page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".lane")]
             .map((lane) => [lane.dataset.lane, [...lane.querySelectorAll(".chip")].map((c) => c.textContent).join("")])
             .filter(([, letters]) => letters))"""
    )


# --- keys ---


def test_ranking_with_keys_alone(open_page: Open, site: Site) -> None:
    page = open_page("rank-start")

    press(page, "j 2 j 1 j x j 2 Control+Enter")
    page.wait_for_url("**/work.html")

    (sent,) = site.forms
    assert [sent.value(f"rank[i{n}]") for n in range(1, 5)] == ["2", "1", "0", "2"]
    assert sent.value("action") == "submit"
    assert sent.value("moves_key") == "4"
    assert sent.value("moves_button") == sent.value("moves_drag") == sent.value("moves_undo") == "0"


def test_whoever_says_fourth_first_means_it(open_page: Open) -> None:
    """Gaps stay while outputs are to be placed, and close with the last."""
    page = open_page("rank-start")

    press(page, "j 4 j 2 j 2")
    assert places(page) == {"A": 4, "B": 2, "C": 2, "D": None}
    press(page, "j 1")

    assert places(page) == {"A": 3, "B": 2, "C": 2, "D": 1}
    assert said(page) == "Output D: rank 1 All outputs are placed."
    assert page.locator("[data-progress]").inner_text() == "4 of 4 placed"


def test_moves_are_said(open_page: Open) -> None:
    page = open_page("rank-start")

    press(page, "1")
    assert said(page) == "Choose an output first."
    press(page, "j 1 j 1")
    assert said(page) == "Output B: rank 1, tied with A"
    press(page, "j 1")
    assert said(page) == "Output C: rank 1, tied with A and B"
    press(page, "0")
    assert said(page) == "Output C: no rank yet"
    press(page, "x")
    assert said(page) == "Output C: not rankable"


def test_moves_are_said_in_chinese(open_page: Open) -> None:
    page = open_page("rank-start", "zh")

    press(page, "j 1 j 1")

    assert said(page) == "输出 B：第 1 名，与 A 并列"


def test_up_down_and_ties_with_keys(open_page: Open) -> None:
    page = open_page("rank-start")
    press(page, "j 1 j 2 j 3 j 4")

    press(page, "Alt+ArrowUp")  # D above C
    assert places(page) == {"A": 1, "B": 2, "C": 4, "D": 3}
    press(page, "=")  # D tied with B
    assert places(page) == {"A": 1, "B": 2, "C": 3, "D": 2}
    press(page, "Alt+ArrowUp")  # D out of the tie, above B
    assert places(page) == {"A": 1, "B": 3, "C": 4, "D": 2}
    press(page, "k k k Alt+ArrowDown")  # A below D
    assert places(page) == {"A": 2, "B": 3, "C": 4, "D": 1}


def test_undo_step_by_step(open_page: Open) -> None:
    page = open_page("rank-start")
    undo = page.locator("[data-undo]")
    assert undo.is_disabled()

    press(page, "j 1 j 1 x")
    press(page, "u")
    assert places(page) == {"A": 1, "B": 1, "C": None, "D": None}
    press(page, "Control+z")
    assert places(page) == {"A": 1, "B": None, "C": None, "D": None}
    undo.click()
    assert places(page) == dict.fromkeys("ABCD")
    press(page, "u Control+z")
    assert said(page) == "Nothing to undo."
    assert page.locator("[name=moves_undo]").input_value() == "3"


def test_the_focus_goes_from_output_to_output(open_page: Open) -> None:
    page = open_page("rank-start")

    visited = []
    for key in ("k", "k", "j", "j", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowDown"):
        press(page, key)
        visited.append(focused(page))

    assert visited == ["D", "C", "D", "D", "C", "B", "A", "A", "B"]


def test_keys_write_while_somebody_types(open_page: Open) -> None:
    page = open_page("rank-start")
    press(page, "j 1")
    page.locator(".skip > summary").click()
    note = page.locator("#field-skip_note")

    note.focus()
    page.keyboard.type("1 jxu=?v0")
    press(page, "Alt+ArrowUp Control+z")

    assert places(page) == {"A": 1, "B": None, "C": None, "D": None}
    assert not page.locator("dialog[open]").count()
    press(page, "Control+Enter")
    page.wait_for_url("**/work.html")


def test_keys_of_one_character_can_be_switched_off(open_page: Open) -> None:
    page = open_page("rank-start")
    page.evaluate("document.documentElement.dataset.singleKeys = 'off'")

    press(page, "j 1 x u ? v")
    assert places(page) == dict.fromkeys("ABCD")
    assert not page.locator("dialog[open]").count()

    page.locator("#output-i3 input").first.focus()
    press(page, "Alt+ArrowUp")
    assert places(page)["C"] == 4


def test_the_sheet_of_keys_opens_and_closes(open_page: Open) -> None:
    page = open_page("rank-start")

    press(page, "?")
    sheet = page.locator("dialog#keys")
    assert sheet.is_visible()
    assert "Tie with the rank above" in sheet.inner_text()
    press(page, "j 1")  # not while it is open
    press(page, "Escape")

    assert not sheet.is_visible()
    assert places(page) == dict.fromkeys("ABCD")


def test_the_prompt_folds_with_a_key(open_page: Open) -> None:
    page = open_page("rank-start")
    body = page.locator(".prompt-body")

    press(page, "p")
    assert not body.is_visible()
    press(page, "p")
    assert body.is_visible()


def test_list_and_columns_with_a_key(open_page: Open) -> None:
    page = open_page("rank-start")
    lefts = "new Set([...document.querySelectorAll('[data-item]')].map((o) => o.getBoundingClientRect().left)).size"
    assert page.evaluate(lefts) == 1

    press(page, "v")
    assert page.evaluate(lefts) > 1
    assert page.locator("[data-layout-button=columns]").get_attribute("aria-pressed") == "true"
    press(page, "v")

    assert page.evaluate(lefts) == 1


@pytest.mark.parametrize("size", [(1440, 900), (1000, 700), (360, 740)])
@pytest.mark.parametrize("layout", ["list", "columns"])
def test_what_has_the_focus_is_never_hidden(
    open_page: Open, size: tuple[int, int], layout: str
) -> None:
    """SC 2.4.11: not beneath the prompt, nor the board or the bar, whichever way the focus came."""
    page = open_page("rank", viewport={"width": size[0], "height": size[1]})
    page.evaluate(f"document.getElementById('task').dataset.layout = '{layout}'")
    page.evaluate("document.querySelector('.task-body').focus()")

    hidden = []
    for key in ["Tab"] * 60 + ["Shift+Tab"] * 30:
        press(page, key)
        covered = page.evaluate(
            """() => {
              const element = document.activeElement;
              if (element === document.body) return null;
              const shown = element.matches("input[type=radio]") ? element.nextElementSibling : element;
              const box = shown.getBoundingClientRect();
              const x = box.left + box.width / 2;
              const at = [box.top + 2, box.top + box.height / 2, box.bottom - 2];
              const free = at.some((y) => {
                const top = document.elementFromPoint(x, y);
                return top && (shown.contains(top) || top.contains(shown) || top === element);
              });
              return free ? null : element.outerHTML.slice(0, 90);
            }"""
        )
        hidden += [covered] if covered else []

    assert hidden == []


# --- buttons, radios, the board ---


def test_buttons_make_the_same_moves(open_page: Open) -> None:
    page = open_page("rank-start")
    press(page, "j 1 j 2 j 3 j 4")
    card = page.locator("#output-i4")

    card.get_by_role("button", name="Up").click()
    assert places(page) == {"A": 1, "B": 2, "C": 4, "D": 3}
    card.get_by_role("button", name="Tie with above").click()
    assert places(page) == {"A": 1, "B": 2, "C": 3, "D": 2}
    card.get_by_role("button", name="Down").click()
    assert places(page) == {"A": 1, "B": 2, "C": 4, "D": 3}
    assert page.locator("[name=moves_button]").input_value() == "3"


def test_radios_are_the_state(open_page: Open) -> None:
    page = open_page("rank-start")

    page.locator("#output-i1 .scale-row label").nth(2).click()
    page.locator("#output-i2 .scale-row label").last.click()
    assert places(page) == {"A": 3, "B": 0, "C": None, "D": None}
    assert chips(page) == {"pool": "CD", "3": "A", "0": "B"}
    page.locator("#output-i3 input[value='3']").click(force=True)
    page.locator("#output-i4 input[value='4']").click(force=True)

    assert places(page) == {"A": 1, "B": 0, "C": 1, "D": 2}
    assert chips(page) == {"1": "AC", "2": "D", "0": "B"}


def test_arrow_keys_on_the_radios_keep_the_focus_on_the_choice(open_page: Open) -> None:
    page = open_page("rank-start")
    press(page, "j 1 j 2 j 3 j 4")
    page.locator("#output-i1 input:checked").focus()

    for expected in (
        {"A": 1, "B": 1, "C": 2, "D": 3},  # joins B in rank 2, and the gap closes
        {"A": 2, "B": 1, "C": 2, "D": 3},
    ):
        press(page, "ArrowRight")
        assert places(page) == expected
        assert page.evaluate("document.activeElement.checked") is True


def test_ranks_from_grades_can_be_undone(open_page: Open, site: Site) -> None:
    page = open_page("rank-start")

    page.get_by_role("button", name="Start from my grades").click()
    assert places(page) == {"A": 1, "B": 4, "C": 3, "D": 2}
    press(page, "u")

    assert places(page) == dict.fromkeys("ABCD")
    assert site.forms == []


def test_the_page_starts_from_what_the_server_sent(open_page: Open) -> None:
    page = open_page("rank")

    assert chips(page) == {
        "pool": "F",
        "1": "A",
        "2": "EI",
        "3": "D",
        "4": "CH",
        "5": "B",
        "0": "G",
    }
    assert page.locator("#output-i5 [data-badge]").inner_text() == "Rank 2, tied with I"


# --- dragging ---


def drag(page: Page, handle: str, lane: str, *, part: float = 0.6) -> None:
    """Drag with the mouse to a lane of the board; `part` is how far down the lane."""
    page.locator(handle).scroll_into_view_if_needed()
    start = page.locator(handle).bounding_box()
    end = page.locator(f"[data-lane='{lane}']").bounding_box()
    assert start and end
    page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + end["width"] / 2, end["y"] + end["height"] * part, steps=8)
    page.mouse.up()


def test_dragging_by_the_handle_and_by_the_chip(open_page: Open) -> None:
    page = open_page("rank-start")

    drag(page, "#output-i1 [data-handle]", "2")
    drag(page, "#output-i2 [data-handle]", "2")
    assert places(page) == {"A": 2, "B": 2, "C": None, "D": None}
    assert said(page) == "Output B: rank 2, tied with A"
    drag(page, ".chip:text-is('C')", "1")
    drag(page, ".chip:text-is('D')", "0")
    assert places(page) == {"A": 2, "B": 2, "C": 1, "D": 0}
    assert page.locator("[name=moves_drag]").input_value() == "4"
    assert page.locator(".ghost").count() == 0


def test_dragging_between_two_ranks_makes_a_new_one(open_page: Open) -> None:
    page = open_page("rank-start")
    press(page, "j 1 j 2 j 2 j 3")

    drag(page, ".chip:text-is('B')", "2", part=0.05)

    assert places(page) == {"A": 1, "B": 2, "C": 3, "D": 4}


def test_a_drag_that_ends_nowhere_or_with_escape_changes_nothing(open_page: Open) -> None:
    page = open_page("rank-start")
    before = places(page)

    page.locator("#output-i1 [data-handle]").hover()
    page.mouse.down()
    page.mouse.move(5, 400, steps=5)
    page.mouse.up()
    assert places(page) == before
    page.locator("#output-i1 [data-handle]").hover()
    page.mouse.down()
    page.mouse.move(1100, 400, steps=5)
    press(page, "Escape")
    page.mouse.up()

    assert places(page) == before
    assert page.locator("[name=moves_drag]").input_value() == "0"


def swipe(page: Page, start: str, end: str, *, up: int = 0) -> None:
    """Move a finger from the middle of one element to the middle of another, or `up` by so many pixels."""
    first = page.locator(start).bounding_box()
    last = page.locator(end).bounding_box()
    assert first and last
    x, y = first["x"] + first["width"] / 2, first["y"] + min(first["height"] / 2, 40)
    to_x, to_y = (
        (x, y - up) if up else (last["x"] + last["width"] / 2, last["y"] + last["height"] / 2)
    )
    touch = page.context.new_cdp_session(page)
    touch.send(
        "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}
    )
    for step in range(1, 11):
        point = {"x": x + (to_x - x) * step / 10, "y": y + (to_y - y) * step / 10}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_finger_drags_by_the_handle_and_scrolls_by_the_text(open_page: Open) -> None:
    page = open_page("rank-start", **WINDOWS["phone"])
    page.evaluate("scrollTo(0, 240)")
    before = page.evaluate("scrollY")

    swipe(page, "#output-i1 [data-handle]", "[data-lane='2']")
    assert places(page) == {"A": 2, "B": None, "C": None, "D": None}
    assert page.evaluate("scrollY") == before
    swipe(page, "#output-i1 .passage", "#output-i1", up=120)
    page.wait_for_timeout(300)

    assert places(page) == {"A": 2, "B": None, "C": None, "D": None}
    assert page.evaluate("scrollY") > before


def test_a_finger_on_a_text_scrolls_and_one_on_a_handle_does_not(open_page: Open) -> None:
    page = open_page("rank", **WINDOWS["phone"])
    touch = "getComputedStyle(document.querySelector('{}')).touchAction"

    assert page.evaluate(touch.format("#output-i1 .passage")) == "auto"
    assert page.evaluate(touch.format("#output-i1")) == "auto"
    assert page.evaluate(touch.format("[data-handle]")) == "none"


# --- without scripts ---


def test_without_scripts_the_form_sends_names_and_values(open_page: Open, site: Site) -> None:
    page = open_page("rank-start", java_script_enabled=False)

    for item, rank in (("i1", "4"), ("i2", "2"), ("i3", "0"), ("i4", "2")):
        page.locator(f"#output-{item} input[value='{rank}']").check(force=True)
    page.get_by_role("button", name="Submit").click()

    (sent,) = site.forms
    assert sent.path == "/tasks/t7Qm2/rank"
    ranks = tuple(int(sent.value(f"rank[i{n}]") or "") for n in range(1, 5))
    assert ranks == (4, 2, 0, 2)
    assert partition.dense(ranks) == (2, 1, 0, 1)
    assert sent.value("csrf_token") == "token-of-the-session"
    assert (sent.value("screen"), sent.value("rev"), sent.value("action")) == (
        "rank",
        "3",
        "submit",
    )
    assert (sent.value("active_ms"), sent.value("first_input_ms")) == ("", "")


def test_enter_saves_and_does_not_submit(open_page: Open, site: Site) -> None:
    page = open_page("rank-start", java_script_enabled=False)

    page.locator("#output-i1 input").first.focus()
    press(page, "Space Enter")
    page.wait_for_url("**/work.html")

    assert site.forms[0].value("action") == "save"
    assert site.forms[0].value("rank[i1]") == "1"


@pytest.mark.parametrize("scripts", [True, False])
def test_skipping_with_a_reason(open_page: Open, site: Site, scripts: bool) -> None:
    page = open_page("rank-start", java_script_enabled=scripts)

    page.locator(".skip > summary").click()
    page.get_by_label("I do not know enough about the subject").check()
    page.get_by_label("What should we know?").fill("tax law")
    page.get_by_role("button", name="Skip this task").click()
    page.wait_for_url("**/work.html")

    (sent,) = site.forms
    assert (sent.value("action"), sent.value("skip_reason"), sent.value("skip_note")) == (
        "skip",
        "expertise",
        "tax law",
    )


def test_what_is_wrong_is_linked_to(open_page: Open) -> None:
    page = open_page("rank-wrong")
    summary = page.locator("#errors")
    assert page.evaluate("document.activeElement.id") == "errors"

    summary.get_by_role("link").first.click()

    assert page.evaluate("document.activeElement.id") == "field-rank[i6]"


# --- the twin in Python ---

ONE_MOVE = st.tuples(
    st.sampled_from(["put", "insert", "up", "down", "tie", "set_apart", "lift"]),
    st.integers(0, 8),
    st.integers(-1, 11),
)
RUN_MOVES = """async (runs) => {
  const twin = await import("/static/any/partition.js");
  const names = {set_apart: "setApart"};
  return runs.map(([count, moves]) => {
    let places = twin.nothingPlaced(count);
    return moves.map(([name, index, rank]) => {
      const rest = name === "put" || name === "insert" ? [rank] : [];
      places = twin[names[name] ?? name](places, index % count, ...rest);
      return [places, twin.dense(places), twin.isComplete(places)];
    });
  });
}"""
Run = tuple[int, list[tuple[str, int, int]]]


def run_moves(count: int, moves: list[tuple[str, int, int]]) -> list[list[object]]:
    """What RUN_MOVES does, by the functions of Python."""
    places = partition.nothing_placed(count)
    seen: list[list[object]] = []
    for name, index, rank in moves:
        rest = (rank,) if name in ("put", "insert") else ()
        places = getattr(partition, name)(places, index % count, *rest)
        seen.append([list(places), list(partition.dense(places)), partition.is_complete(places)])
    return seen


def test_both_partitions_make_the_same_moves(open_page: Open) -> None:
    page = open_page("sign-in")

    @given(st.lists(st.tuples(st.integers(2, 9), st.lists(ONE_MOVE, max_size=30)), max_size=20))
    @settings(suppress_health_check=list(HealthCheck))
    def compare(runs: list[Run]) -> None:
        theirs = page.evaluate(
            RUN_MOVES, [[count, [list(one) for one in moves]] for count, moves in runs]
        )

        assert theirs == [run_moves(count, moves) for count, moves in runs]

    compare()


def test_both_partitions_rank_by_grades_alike(open_page: Open) -> None:
    page = open_page("sign-in")

    @given(st.lists(st.lists(st.none() | st.integers(1, 7), max_size=9)))
    @settings(suppress_health_check=list(HealthCheck))
    def compare(grades: list[list[int | None]]) -> None:
        theirs = page.evaluate(
            "async (all) => all.map((await import('/static/any/partition.js')).fromScores)",
            grades,
        )

        assert [tuple(ranks) for ranks in theirs] == [
            partition.from_scores(scores) for scores in grades
        ]

    compare()
