"""Every page of the running app, for both roles: accessible in both colours, fit for a phone, quiet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from benchmarks.labeling.scene import Scene, Seat, make_scene
from tests.browser.conftest import WINDOWS, Enter, _new_page
from tests.browser.running import App, Person, now, press, sign_in, wait_for_saved
from tests.browser.test_pages import findings

BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"
CONTRAST = """async () => {
  const result = await axe.run(document, {resultTypes: ["violations"], runOnly: ["color-contrast"]});
  return result.violations.flatMap((found) => found.nodes.map((node) => "dark: " + node.html.slice(0, 200)));
}"""
DARK, LIGHT = "rgb(20, 23, 26)", "rgb(251, 251, 249)"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A server of its own for a project in the middle of its work."""
    app = App.start(tmp_path_factory.mktemp("scene"))
    yield app
    app.stop()


@pytest.fixture(scope="module")
def scene(lab: App) -> Scene:
    """Who is in it."""
    return make_scene(lab.store, now(), rankings=18)


@pytest.fixture(scope="module")
def desks(browser: Browser, lab: App, scene: Scene, heard: list[str]) -> Iterator[dict[str, Page]]:
    """A window per role that stays open from test to test."""
    opened: dict[str, Page] = {}
    for role, seat in seats(scene).items():
        opened[role] = _new_page(browser, lab.url, heard)
        sign_in(opened[role].context, lab, seat)
    yield opened
    for page in opened.values():
        page.context.close()


def seats(scene: Scene) -> dict[str, Seat]:
    return {"labeler": scene.labeler, "researcher": scene.researcher}


@pytest.mark.parametrize("role", ["labeler", "researcher"])
def test_no_page_has_a_serious_finding(
    desks: dict[str, Page], scene: Scene, lab: App, complaints: list[str], role: str
) -> None:
    """In light all rules; in dark those about colours, since nothing else differs."""
    page = desks[role]
    found: dict[str, list[str]] = {}
    for path in scene.paths(role):
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        answer = page.goto(lab.url + path)
        assert answer is not None and answer.status == 200, path
        assert page.url == lab.url + path
        problems = findings(page)
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(BACKGROUND) == DARK, path
        problems += page.evaluate(CONTRAST)
        if problems:
            found[path] = problems

    assert found == {}


@pytest.mark.parametrize("role", ["labeler", "researcher"])
@pytest.mark.parametrize("locale", ["en", "zh"])
def test_every_page_fits_a_phone(
    browser: Browser, scene: Scene, lab: App, complaints: list[str], role: str, locale: str
) -> None:
    page = _new_page(browser, lab.url, complaints, **WINDOWS["phone"])
    seat = seats(scene)[role]
    lab.speak(seat.user, locale)
    sign_in(page.context, lab, seat)
    wide: dict[str, int] = {}
    for path in scene.paths(role):
        page.goto(lab.url + path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 360:
            wide[path] = width
        assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-Hans"}[locale]
    page.context.close()
    lab.speak(seat.user, "en")

    assert wide == {}


def test_pages_before_signing_in(browser: Browser, lab: App, complaints: list[str]) -> None:
    page = _new_page(browser, lab.url, complaints)
    for path in ("/sign-in", f"/invite/{lab.invitation()}", "/nothing-here"):
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            page.goto(lab.url + path)
            assert findings(page) == [], path
    page.context.close()
    complaints[:] = [told for told in complaints if "404" not in told]


def test_colours_follow_the_system_until_somebody_chooses(app: App, enter: Enter) -> None:
    page = enter(app.person(), color_scheme="dark")
    assert page.evaluate(BACKGROUND) == DARK

    page.get_by_text("Settings").click()
    page.get_by_role("button", name="Light").click()
    page.wait_for_load_state()
    assert page.evaluate(BACKGROUND) == LIGHT
    page.goto(app.url + "/my-work")
    assert page.evaluate(BACKGROUND) == LIGHT
    page.get_by_text("Settings").click()
    page.get_by_role("button", name="As the system").click()
    page.wait_for_load_state()

    assert page.evaluate(BACKGROUND) == DARK


def test_a_wrong_address_and_somebody_elses_task(
    app: App, enter: Enter, complaints: list[str]
) -> None:
    ann, ben = app.person("Ann"), app.person("Ben")
    app.campaign("rank", asks_ratings=False)
    page = enter(ann)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/rank")

    other = enter(ben, page.url.removeprefix(app.url))

    assert "Ann" not in other.content()
    assert other.locator("[data-item]").count() == 0
    assert other.get_by_role("link", name="Back to the start").is_visible()
    complaints[:] = [told for told in complaints if "404" not in told]


def test_what_is_typed_in_a_dark_chinese_phone_is_saved(app: App, enter: Enter) -> None:
    """All at once: nothing of one stands in the way of another."""
    ann: Person = app.person("安", locale="zh")
    app.campaign("rank", k=9, asks_ratings=False)
    page = enter(ann, **WINDOWS["phone"], color_scheme="dark", locale="zh-CN")
    page.get_by_role("button", name="开始").tap()
    page.wait_for_url("**/rank")
    press(page, "j 9 j 1")
    wait_for_saved(page)

    assert app.draft(ann)["rank[2]"] == ["1"]
