"""The other task pages: ratings, comparisons, toxicity, prompts, texts; with keys, and without scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.samples import ANSWERS, PROMPT
from tests.browser.site import Site

# The running app is tested every day: test_app_saving, test_app_tasks.
pytestmark = pytest.mark.full


def test_rating_with_keys_alone(open_page: Open, site: Site) -> None:
    page = open_page("rate")

    for key in ("5", "f", "a", "f", "c", "f", "d", "Control+Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/work.html")

    (sent,) = site.forms
    assert sent.path == "/tasks/t7Qm2/rate/i3"
    assert sent.value("likert[i3]") == "5"
    assert sent.values("flag[i3]") == ["hallucination"]  # a and d were ticked before
    assert sent.value("none_apply[i3]") is None
    assert sent.value("item") == "i3"


def test_none_and_the_flags_exclude_one_another(open_page: Open) -> None:
    page = open_page("rate")
    none, flag = page.get_by_label("None of these apply"), page.get_by_label("Hallucination")

    page.keyboard.press("n")
    assert none.is_checked()
    assert page.locator("input[name='flag[i3]']:checked").count() == 0
    flag.check()

    assert not none.is_checked()


def test_a_missing_grade_is_not_sent(open_page: Open, site: Site) -> None:
    page = open_page("rate")
    page.evaluate("document.querySelector(\"[name='likert[i3]']:checked\").checked = false")

    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(300)

    assert site.forms == []


@pytest.mark.parametrize("scripts", [True, False])
def test_going_to_another_screen_takes_the_form_along(
    open_page: Open, site: Site, scripts: bool
) -> None:
    page = open_page("rate", java_script_enabled=scripts)

    page.get_by_label("Notes").fill("half a thought")
    page.locator("button[value='go:i5']").click()
    page.wait_for_url("**/work.html")

    (sent,) = site.forms
    assert (sent.value("action"), sent.value("notes[i3]")) == ("go:i5", "half a thought")


def test_comparing_with_keys_alone(open_page: Open, site: Site) -> None:
    page = open_page("compare")
    page.evaluate("document.documentElement.dataset.singleKeys = 'on'")

    for key in ("b", "3", "Control+Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/work.html")

    (sent,) = site.forms
    assert (sent.value("verdict"), sent.value("margin")) == ("b", "3")


def test_a_margin_goes_with_a_or_b_alone(open_page: Open, site: Site) -> None:
    page = open_page("compare")

    page.locator("input[name=verdict][value=both_bad]").check(force=True)
    assert page.locator("input[name=margin]").first.is_disabled()
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/work.html")

    (sent,) = site.forms
    assert (sent.value("verdict"), sent.value("margin")) == ("both_bad", None)


def test_comparing_without_scripts(open_page: Open, site: Site) -> None:
    page = open_page("compare", java_script_enabled=False)

    page.locator("input[name=self_identified][value=b]").check()
    page.locator("input[name=verdict][value=tie]").check(force=True)
    page.get_by_role("button", name="Submit").click()

    (sent,) = site.forms
    assert (sent.value("verdict"), sent.values("self_identified")) == ("tie", ["b"])


def test_toxicity_without_scripts(open_page: Open, site: Site) -> None:
    page = open_page("toxicity", java_script_enabled=False)

    page.locator("input[name='relative[i2]'][value='-1']").check(force=True)
    page.get_by_role("button", name="Next").click()

    (sent,) = site.forms
    assert sent.path == "/tasks/t7Qm2/toxicity/i2"
    assert [
        sent.value(n) for n in ("input_toxicity", "toxicity[i2]", "relative[i2]", "continuity[i2]")
    ] == [
        "1",
        "0",
        "-1",
        "5",
    ]


# --- texts ---


def test_texts_are_whole_and_as_written(open_page: Open) -> None:
    page = open_page("rank")

    shown = [text.inner_text() for text in page.locator("[data-item] .plain").all()]
    assert shown == list(ANSWERS)
    assert page.locator(".prompt .plain").inner_text() == PROMPT
    clipped = page.evaluate(
        """() => [...document.querySelectorAll("[data-item] .passage")]
             .filter((p) => p.scrollHeight > p.clientHeight + 1 || p.scrollWidth > p.clientWidth + 1).length"""
    )
    assert clipped == 0


def test_texts_say_their_language(open_page: Open) -> None:
    page = open_page("rank", "zh")

    assert set(page.evaluate("[...document.querySelectorAll('.passage')].map((p) => p.lang)")) == {
        "zh-Hans"
    }


def test_formatting_is_shown_when_asked_for(open_page: Open) -> None:
    page = open_page("rank")
    card = page.locator("#output-i5")
    assert card.locator("strong").first.is_hidden()

    page.get_by_role("button", name="Formatted").click()
    assert card.locator("strong").first.is_visible()
    assert card.locator(".plain").is_hidden()
    assert page.locator("#output-i1 .plain").is_visible()  # it has no other form
    page.get_by_role("button", name="As written").click()

    assert card.locator("strong").first.is_hidden()


def test_formatting_without_scripts_is_a_button_of_the_form(open_page: Open, site: Site) -> None:
    page = open_page("rank", java_script_enabled=False)

    page.get_by_role("button", name="Formatted").click()

    assert site.forms[0].value("action") == "text:rich"
    assert site.forms[0].value("rank[i1]") == "1"


# --- prompts ---


def test_a_pair_is_added_without_scripts(open_page: Open, site: Site) -> None:
    page = open_page("prompt", java_script_enabled=False)

    page.get_by_label("Query").nth(2).fill("big")
    page.get_by_role("button", name="Add an example").click()

    (sent,) = site.forms
    assert sent.path == "/prompts/new"
    assert (sent.value("action"), sent.value("kind"), sent.value("pairs")) == (
        "add_pair",
        "few_shot",
        "3",
    )
    assert [sent.value(f"query[{n}]") for n in (1, 2, 3)] == ["hot", "early", "big"]
    assert [sent.value(f"response[{n}]") for n in (1, 2, 3)] == ["cold", "late", ""]


def test_a_pair_is_added_in_place_with_scripts(open_page: Open, site: Site) -> None:
    page = open_page("prompt")
    page.locator("#field-text").fill("Typed before")

    page.get_by_role("button", name="Add an example").click()
    expect(page.get_by_label("Query").nth(2)).to_have_value("")
    page.wait_for_function("performance.now() > 0 && !document.querySelector('.htmx-request')")

    (sent,) = site.forms
    assert sent.headers["hx-request"] == "true"
    assert (sent.value("action"), sent.value("text")) == ("add_pair", "Typed before")
    assert sent.value("csrf_token") == "token-of-the-session"
    assert page.locator("#field-text").input_value() == "Typed before"
    assert page.url.endswith("/prompt.html")
    assert page.evaluate("localStorage.length") == 0


def test_a_prompt_is_handed_in(open_page: Open, site: Site) -> None:
    page = open_page("prompt-plain")

    page.get_by_label("I agree").check()
    page.locator("#field-text").fill("Explain a sonnet in one sentence.")
    page.locator("#field-text").press("Control+Enter")
    page.wait_for_url("**/work.html")

    sent = site.forms[-1]
    assert (sent.value("action"), sent.value("kind"), sent.value("consent")) == (
        "submit",
        "plain",
        "1",
    )
    assert (sent.value("use_case"), sent.value("lang"), sent.value("screen")) == (
        "rewrite",
        "en",
        "prompt",
    )


# --- what surrounds the pages ---


@pytest.mark.parametrize("scripts", [True, False])
def test_settings_are_forms(open_page: Open, site: Site, scripts: bool) -> None:
    page = open_page("work", java_script_enabled=scripts)

    page.get_by_text("Settings").click()
    page.get_by_role("button", name="Dark").click()
    page.get_by_text("Settings").click()
    page.get_by_role("button", name="中文").click()
    page.get_by_text("Settings").click()
    page.get_by_role("button", name="Off").first.click()

    dark, chinese, keys = site.forms
    assert {sent.path for sent in site.forms} == {"/settings"}
    assert (dark.value("theme"), dark.value("next")) == ("dark", "/my-work")
    assert chinese.value("locale") == "zh"
    assert keys.value("single_keys") == "off"


def test_a_menu_closes_with_escape_and_gives_the_focus_back(open_page: Open) -> None:
    page = open_page("work")

    page.get_by_text("Settings").click()
    page.get_by_role("button", name="Dark").focus()
    page.keyboard.press("Escape")

    assert not page.get_by_role("button", name="Dark").is_visible()
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_work_is_opened_again_by_a_form(open_page: Open, site: Site) -> None:
    open_page("work", java_script_enabled=False).get_by_role("button", name="Re-open").click()

    assert site.forms[0].path == "/my-work/s1/reopen"


def test_a_decision_between_rankings_is_sent(open_page: Open, site: Site) -> None:
    page = open_page("adjudicate", java_script_enabled=False)

    page.get_by_label("My own ranking").check()
    for item, rank in (("i1", "1"), ("i2", "0"), ("i3", "2"), ("i4", "2")):
        page.locator(f"select[name='rank[{item}]']").select_option(rank)
    page.locator("input[name=reason][value=slip]").check(force=True)
    page.get_by_role("button", name="Decide").click()

    (sent,) = site.forms
    assert sent.path == "/disagreements/t12"
    assert (sent.value("choice"), sent.value("reason"), sent.value("rank[i3]")) == (
        "own",
        "slip",
        "2",
    )


def test_sensitive_texts_are_blurred_where_asked_for(open_page: Open) -> None:
    page = open_page("compare")
    blur = "getComputedStyle(document.querySelector('.answers .passage')).filter"
    assert page.evaluate(blur) == "none"

    page.evaluate("document.documentElement.dataset.blur = 'on'")

    assert "blur" in page.evaluate(blur)
