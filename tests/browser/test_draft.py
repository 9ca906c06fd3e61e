"""Autosave: "Saved" after the server's word alone, nothing lost in between, and the times that go along."""

from __future__ import annotations

import json
import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.site import Answer, Sent, Site

# The running app is tested every day: test_app_saving, test_app_tasks.
pytestmark = pytest.mark.full

SOON = 5_000


def state(page: Page) -> str:
    return page.locator("[data-save-state]").inner_text()


def kept(page: Page) -> list[dict[str, object]]:
    """Copies in this tab's storage."""
    return [json.loads(copy) for copy in page.evaluate("Object.values(sessionStorage)")]


def wait_for_drafts(page: Page, site: Site, count: int) -> None:
    for _ in range(100):
        if len(site.drafts) >= count:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{len(site.drafts)} drafts arrived, not {count}")


def rate(page: Page, grade: int) -> None:
    page.locator(f"input[name='likert[i3]'][value='{grade}']").check(force=True)


def test_saved_is_said_after_the_answer_and_not_before(open_page: Open, site: Site) -> None:
    page = open_page("rate")
    may_answer = []

    def answer(sent: Sent) -> Answer:
        while not may_answer:
            time.sleep(0.02)
        return 200, {"rev": 4}

    site.answer_draft = answer
    assert state(page) == ""

    rate(page, 6)
    wait_for_drafts(page, site, 1)
    assert state(page) == "Saving…"
    assert len(kept(page)) == 1
    may_answer.append(True)
    expect(page.locator("[data-save-state]")).to_have_text("Saved", timeout=SOON)

    assert kept(page) == []
    assert page.locator("[name=rev]").input_value() == "4"


def test_a_draft_holds_the_whole_screen(open_page: Open, site: Site) -> None:
    page = open_page("rate")

    rate(page, 6)
    page.get_by_label("Hallucination").check()
    page.get_by_label("Notes").fill("First line\nsecond")
    wait_for_drafts(page, site, 1)

    sent = site.drafts[-1]
    assert sent.path == "/tasks/t7Qm2/draft"
    assert sent.headers["x-csrf-token"] == sent.value("csrf_token") == "token-of-the-session"
    assert sent.headers["accept"] == "application/json"
    assert (sent.value("screen"), sent.value("item"), sent.value("rev")) == ("rate", "i3", "3")
    assert sent.value("likert[i3]") == "6"
    assert sent.values("flag[i3]") == ["instruction", "hallucination", "constraint"]
    assert (sent.value("notes[i3]") or "").splitlines() == ["First line", "second"]
    assert sent.value("action") is None
    assert int(sent.value("active_ms") or "") + int(sent.value("idle_ms") or "") > 0


def test_many_changes_are_one_draft(open_page: Open, site: Site) -> None:
    page = open_page("demonstrate")

    page.get_by_label("Your answer").press_sequentially("Twelve words", delay=20)
    expect(page.locator("[data-save-state]")).to_have_text("Saved", timeout=SOON)

    assert len(site.drafts) == 1
    assert (site.drafts[0].value("response") or "").startswith("Twelve words")


def test_a_failure_is_told_and_tried_again(
    open_page: Open, site: Site, complaints: list[str]
) -> None:
    page = open_page("rate")
    site.answer_draft = lambda sent: (503, {}) if len(site.drafts) < 2 else (200, {"rev": 4})

    rate(page, 6)
    trouble = page.locator("[data-save-trouble]")
    expect(trouble).to_have_text("Not saved – retrying", timeout=SOON)
    assert state(page) == ""
    assert len(kept(page)) == 1
    expect(page.locator("[data-save-state]")).to_have_text("Saved", timeout=SOON)

    assert trouble.inner_text() == ""
    assert len(site.drafts) == 2
    complaints.clear()  # the browser reports the 503 itself


def test_a_page_instead_of_an_answer_is_a_failure(open_page: Open, site: Site) -> None:
    """As a sign-in page would be, or what a hotel's network answers."""
    page = open_page("rate")
    page.route(
        "**/draft",
        lambda route: route.fulfill(status=200, content_type="text/html", body="<h1>Welcome</h1>"),
    )

    rate(page, 6)
    expect(page.locator("[data-save-trouble]")).to_have_text("Not saved – retrying", timeout=SOON)

    assert state(page) == ""
    assert len(kept(page)) == 1


def test_a_conflict_is_told_with_both_versions_and_not_tried_again(
    open_page: Open, site: Site, complaints: list[str]
) -> None:
    page = open_page("rate")
    site.answer_draft = lambda sent: (409, {"rev": 9, "url": "/en/light/conflict.html"})

    rate(page, 6)
    link = page.locator("[data-save-trouble] a")
    expect(link).to_have_text("See both versions", timeout=SOON)
    rate(page, 2)
    page.wait_for_timeout(1500)
    assert len(site.drafts) == 1
    assert len(kept(page)) == 1
    link.click()

    assert page.locator("h1").inner_text() == "Two versions"
    complaints.clear()  # the browser reports the 409 itself


def test_without_an_address_the_form_itself_shows_both_versions(
    open_page: Open, site: Site, complaints: list[str]
) -> None:
    page = open_page("rate")
    site.answer_draft = lambda sent: (409, {"rev": 9})

    rate(page, 6)
    page.get_by_role("button", name="See both versions").click(timeout=SOON)
    page.wait_for_url("**/work.html")

    (sent,) = site.forms
    assert (sent.value("action"), sent.value("rev"), sent.value("likert[i3]")) == ("save", "3", "6")
    complaints.clear()


def test_keeping_this_pages_version_sends_all_of_it(open_page: Open, site: Site) -> None:
    page = open_page("conflict")

    page.get_by_role("button", name="Keep this page's version").click()
    page.wait_for_url("**/work.html")

    (sent,) = site.forms
    assert sent.path == "/tasks/t7Qm2/rank"
    assert (sent.value("rank[i2]"), sent.value("notes[i1]")) == ("2", "Warm, and to the point.")
    assert (sent.value("rev"), sent.value("action")) == ("9", "submit")


def test_signed_out_keeps_the_work(open_page: Open, site: Site, complaints: list[str]) -> None:
    page = open_page("rate")
    site.answer_draft = lambda sent: (401, {})

    rate(page, 6)
    link = page.locator("[data-save-trouble] a")
    expect(link).to_have_text("Sign in in a new tab", timeout=SOON)

    assert link.get_attribute("target") == "_blank"
    assert len(kept(page)) == 1
    complaints.clear()


def test_what_was_not_saved_comes_back(open_page: Open, site: Site, complaints: list[str]) -> None:
    page = open_page("rank-start")
    site.answer_draft = lambda sent: (503, {})
    for key in ("j", "2", "j", "1"):
        page.keyboard.press(key)
    wait_for_drafts(page, site, 1)
    site.answer_draft = lambda sent: (200, {"rev": 4})

    page.reload()

    expect(page.locator("[data-save-trouble]")).to_have_text(
        "Restored what this tab had not saved."
    )
    assert page.locator("input[name='rank[i1]']:checked").input_value() == "2"
    assert page.locator("[data-lane='1'] .chip").inner_text() == "B"
    expect(page.locator("[data-save-state]")).to_have_text("Saved", timeout=SOON)
    assert kept(page) == []
    complaints.clear()


def test_an_older_copy_does_not_overwrite_without_a_word(open_page: Open, site: Site) -> None:
    page = open_page("rate")
    page.evaluate(
        """() => sessionStorage.setItem("alignloop:draft:/tasks/t7Qm2/rate/i3",
             JSON.stringify({rev: "1", fields: [["likert[i3]", "1"], ["notes[i3]", "old"]]}))"""
    )

    page.reload()
    assert page.locator("input[name='likert[i3]']:checked").input_value() == "3"
    page.get_by_role("button", name="Put it back").click()

    assert page.locator("input[name='likert[i3]']:checked").input_value() == "1"
    assert page.get_by_label("Notes").input_value() == "old"


def test_submitting_leaves_no_copy(open_page: Open, site: Site) -> None:
    page = open_page("rate")

    rate(page, 6)
    page.get_by_role("button", name="Next").click()
    page.wait_for_url("**/work.html")

    assert site.forms[0].value("likert[i3]") == "6"
    assert site.forms[0].value("action") == "next"
    assert kept(page) == []


def test_signing_out_leaves_no_copy(open_page: Open, site: Site) -> None:
    page = open_page("rate")
    rate(page, 6)
    assert len(kept(page)) == 1

    page.get_by_text("Settings", exact=True).click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/work.html")

    assert kept(page) == []
    assert site.forms[-1].path == "/sign-out"


def test_a_submit_waits_for_a_save_on_its_way(open_page: Open, site: Site) -> None:
    """Otherwise the form would carry a revision that the save has just replaced."""
    page = open_page("rate")

    def answer(sent: Sent) -> Answer:
        time.sleep(0.5)
        return 200, {"rev": 4}

    site.answer_draft = answer
    rate(page, 6)
    wait_for_drafts(page, site, 1)
    page.get_by_role("button", name="Next").click()
    page.wait_for_url("**/work.html")

    (sent,) = site.forms
    assert (sent.value("rev"), sent.value("action")) == ("4", "next")


def test_pressing_twice_sends_once(open_page: Open, site: Site) -> None:
    page = open_page("rate")
    site.form_seconds = 1.0
    box = page.get_by_role("button", name="Next").bounding_box()
    assert box

    for _ in range(3):
        page.mouse.click(box["x"] + 10, box["y"] + 10)
        time.sleep(0.15)
    page.wait_for_url("**/work.html")

    assert len(site.forms) == 1


def test_hiding_the_tab_saves_at_once(open_page: Open, site: Site) -> None:
    page = open_page("rate")
    rate(page, 6)

    page.evaluate(
        """() => {
          Object.defineProperty(document, "visibilityState", {value: "hidden", configurable: true});
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.wait_for_timeout(300)

    assert len(site.drafts) == 1


def test_time_counts_while_somebody_works(open_page: Open, site: Site) -> None:
    """Within 60 s of input it is active time, after that idle time, and none of it is lost."""
    page = open_page("rate", viewport={"width": 1280, "height": 800})
    page.clock.install()
    page.reload()
    page.clock.run_for(10_000)
    page.mouse.click(700, 700)
    page.clock.run_for(200_000)

    rate(page, 6)
    page.clock.run_for(2_000)
    wait_for_drafts(page, site, 1)

    sent = site.drafts[0]
    active, idle = int(sent.value("active_ms") or ""), int(sent.value("idle_ms") or "")
    assert 70_000 <= active <= 72_500
    assert 139_000 <= idle <= 141_000
    assert 9_900 <= int(sent.value("first_input_ms") or "") <= 10_200
    assert page.locator("[data-clock]").inner_text() == "06:50"  # 339 s before, and 71 s now


def test_pasted_text_is_counted(open_page: Open, site: Site) -> None:
    page = open_page("demonstrate")
    area = page.get_by_label("Your answer")

    area.evaluate(
        """(area) => {
          const data = new DataTransfer();
          data.setData("text/plain", "pasted 文字");
          area.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
        }"""
    )
    area.fill("pasted 文字 and typed")
    assert page.locator("#response-length").inner_text() == "19 characters"
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/work.html")

    assert site.forms[0].value("pasted_chars") == "9"
