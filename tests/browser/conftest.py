"""A real browser on the pages: no console error, no broken security policy, no request to elsewhere, in any test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.browser.running import App, Person, sign_in
from tests.browser.site import Site, write_pages

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")

WINDOWS: dict[str, dict[str, object]] = {
    "desktop": {},
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
    "scriptless": {"java_script_enabled": False},
}

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Not for the whole session: while it runs, no other test could start an event loop of its own."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: install Debian's chromium")
    running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield running
    running.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of every page, in each language and theme."""
    folder = tmp_path_factory.mktemp("pages")
    write_pages(folder)
    return folder


def _served(folder: Path) -> Iterator[Site]:
    running = Site(folder)
    server = running.start()
    yield running
    server.shutdown()
    server.server_close()


@pytest.fixture
def site(pages: Path) -> Iterator[Site]:
    """The pages' server, at an address of its own: what the window of another test sends late does not arrive."""
    yield from _served(pages)


@pytest.fixture(scope="session")
def shown(pages: Path) -> Iterator[Site]:
    """One that stays, for windows that stay open."""
    yield from _served(pages)


@pytest.fixture(scope="session")
def heard() -> list[str]:
    """What all browser windows complained of since it was last emptied."""
    return []


@pytest.fixture
def complaints(heard: list[str]) -> Iterator[list[str]]:
    """Complaints during one test, which fail it; a test that expects some empties the list."""
    heard.clear()
    yield heard
    assert heard == []


def _new_page(browser: Browser, address: str, heard: list[str], **options: object) -> Page:
    """A page in a context of its own, whose console errors and requests to elsewhere are noted."""
    options = {"viewport": {"width": 1280, "height": 800}} | options
    context = browser.new_context(**options)  # pyright: ignore[reportArgumentType]

    def listen(page: Page) -> None:
        page.on(
            "console",
            lambda told: heard.append(told.text) if told.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(address) else heard.append(asked.url),
        )

    context.on("page", listen)
    page = context.new_page()
    page.set_default_timeout(10_000)
    return page


@pytest.fixture
def open_page(browser: Browser, site: Site, complaints: list[str]) -> Iterator[Open]:
    """Open a page of the site in a context of its own: nothing is kept from elsewhere."""
    opened: list[Page] = []

    def open_(name: str, locale: str = "en", theme: str = "light", **options: object) -> Page:
        page = _new_page(browser, site.address, complaints, **options)
        opened.append(page)
        page.goto(site.page(name, locale, theme))
        return page

    yield open_
    for page in opened:
        page.context.close()


@pytest.fixture(scope="module")
def windows(browser: Browser) -> Iterator[dict[str, Page]]:
    """Windows that stay open from test to test, by kind."""
    opened: dict[str, Page] = {}
    yield opened
    for page in opened.values():
        page.context.close()


@pytest.fixture
def look_at(browser: Browser, shown: Site, complaints: list[str], windows: dict[str, Page]) -> Open:
    """Open a page in a window that others used before: quicker, for tests that only look."""

    def open_(
        name: str, locale: str = "en", theme: str = "light", *, window: str = "desktop"
    ) -> Page:
        if window not in windows:
            windows[window] = _new_page(browser, shown.address, complaints, **WINDOWS[window])
        windows[window].goto(shown.page(name, locale, theme))
        return windows[window]

    return open_


# --- the running app ---

Enter = Callable[..., Page]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    app = App.start(tmp_path_factory.mktemp("lab"))
    yield app
    app.stop()


@pytest.fixture
def app(running: App) -> App:
    """The app in its own process, with no campaign open."""
    running.close_all()
    return running


@pytest.fixture
def enter(browser: Browser, app: App, complaints: list[str]) -> Iterator[Enter]:
    """A new window in which somebody is signed in; in the window of `beside` where one is given, as another tab."""
    opened: list[Page] = []

    def enter_(
        person: Person | None, path: str = "/", *, beside: Page | None = None, **options: object
    ) -> Page:
        if beside is not None:
            page = beside.context.new_page()
            page.set_default_timeout(10_000)
        else:
            page = _new_page(browser, app.url, complaints, **options)
            opened.append(page)
            if person is not None:
                sign_in(page.context, app, person)
        page.goto(app.url + path)
        return page

    yield enter_
    for page in opened:
        page.context.close()
