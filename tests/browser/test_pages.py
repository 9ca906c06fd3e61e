"""Every page: accessible, quiet, within its policy, and fit for a phone, in both languages and colours."""

from __future__ import annotations

import pytest

from tests.browser.conftest import AXE, Open
from tests.browser.samples_researcher import all_pages

NAMES = sorted(all_pages("en"))
RULES = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"


def findings(page: object) -> list[str]:
    """Serious and critical findings of axe, with the elements that they are about."""
    page.evaluate(AXE)  # type: ignore[attr-defined]
    result = page.evaluate(  # type: ignore[attr-defined]
        f"axe.run(document, {{resultTypes: ['violations'], runOnly: {{type: 'tag', values: {RULES}}}}})"
    )
    return [
        f"{found['impact']} {found['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:200]}"
        for found in result["violations"]
        for node in found["nodes"]
        if found["impact"] in ("serious", "critical")
    ]


@pytest.mark.full  # every day the running app's pages are looked at, in test_app_looks
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_no_serious_finding(look_at: Open, name: str, theme: str) -> None:
    page = look_at(name, theme=theme)

    assert findings(page) == []


@pytest.mark.full  # as above
@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_a_phone_in_either_language(look_at: Open, name: str) -> None:
    for locale in ("en", "zh"):
        page = look_at(name, locale, window="phone")

        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert (
            page.evaluate("document.documentElement.lang") == {"en": "en", "zh": "zh-Hans"}[locale]
        )


@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_pressed_is_large_enough(look_at: Open, name: str) -> None:
    """SC 2.5.8: 24 pixels each way, but for links within sentences and boxes whose label is as large."""
    page = look_at(name)

    small = page.evaluate(
        """() => [...document.querySelectorAll("button, summary, select, textarea, .button, .nav a, .tabs a, .chip,"
             + "label.check, .scale-row label, input:not([type=hidden], [type=radio], [type=checkbox])")]
          .filter((element) => element.checkVisibility() && !element.matches(".default-button, .visually-hidden"))
          .map((element) => [element.outerHTML.slice(0, 120), element.getBoundingClientRect()])
          .filter(([, box]) => box.width < 24 || box.height < 24)
          .map(([html, box]) => `${html} ${box.width}x${box.height}`)"""
    )

    assert small == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_works_without_scripts(look_at: Open, name: str) -> None:
    """Every button sends a form, and every form that changes something carries the token."""
    page = look_at(name, window="scriptless")
    forms = page.locator("form").all()

    for form in forms:
        if form.get_attribute("method") == "post":
            assert (
                form.locator("input[name=csrf_token]").get_attribute("value")
                == "token-of-the-session"
            )
            assert (form.get_attribute("action") or "").startswith("/")
    assert page.locator("button[type=button]:visible").count() == 0
    assert page.locator("h1:visible").count() == 1


def test_the_search_for_findings_finds(look_at: Open) -> None:
    page = look_at("home")
    page.evaluate(
        "document.querySelector('h1').innerHTML = '<input><img src=\"/static/x/mark.svg\">'"
    )

    assert {finding.split()[1] for finding in findings(page)} == {"label:", "image-alt:"}


def test_a_broken_policy_is_noticed(look_at: Open, complaints: list[str]) -> None:
    page = look_at("home")

    planted = "document.querySelector('h1').innerHTML = '<b style=color:red></b><img src=//127.0.0.1:9/x.png>'"
    page.evaluate(planted)
    page.wait_for_timeout(100)

    assert [told for told in complaints if "style-src" in told]
    assert [told for told in complaints if "img-src" in told]
    complaints.clear()


def test_chinese_pages_show_no_english(open_page: Open) -> None:
    """On a page without people's texts every word but names is Chinese."""
    page = open_page("sign-in", "zh")

    assert page.locator("h1").inner_text() == "登录"
    assert page.title() == "登录 · alignloop"


def test_colours_follow_the_system_unless_told(open_page: Open) -> None:
    dark_anyway = open_page("home", theme="dark", color_scheme="light")
    light_anyway = open_page("home", theme="light", color_scheme="dark")
    background = "getComputedStyle(document.documentElement).backgroundColor"

    assert dark_anyway.evaluate(background) != light_anyway.evaluate(background)
    dark_anyway.evaluate("document.documentElement.dataset.theme = 'auto'")
    light_anyway.evaluate("document.documentElement.dataset.theme = 'auto'")
    assert dark_anyway.evaluate(background) == "rgb(251, 251, 249)"
    assert light_anyway.evaluate(background) == "rgb(20, 23, 26)"
