"""Pictures of the chat page, of a real server over a new project.

`python -m benchmarks.chat_screenshots demo/ppo_ptx demo/sft` writes docs/pictures/chat-page.png: two answers side by
side. With --all and --out FOLDER it writes every page, for people to look at. It needs Chromium and, for the Chinese
page, a font for it (Debian: chromium, fonts-noto-cjk).
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from alignloop.serving.policy import ServedPolicy
from alignloop.store.project import open_project
from tests.serving.visiting import Served, visited

OUT = Path(__file__).parents[1] / "docs" / "pictures"
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
ASKED = "Write the beginning of a story about a fox and a river."
COLOURS = 64
"""Of each picture's palette: text and flat areas need no more."""


def pair(page: Page, served: Served) -> None:
    """Two answers to choose from."""
    page.get_by_role("button").filter(has_text="No, do not").click()
    served.lot.side_by_side = True
    say(page, ASKED)
    page.locator(".choices").wait_for()


def talk(page: Page, served: Served) -> None:
    """A conversation of two turns."""
    served.lot.side_by_side = False
    say(page, ASKED)
    page.locator(".again").wait_for()
    say(page, "Tell it again, with a bear.")
    page.locator(".said-model").nth(1).wait_for()
    page.locator(".again").wait_for()


def data(page: Page, served: Served) -> None:
    """What is kept of somebody who agreed."""
    page.locator(".consent button").first.click()
    talk(page, served)
    page.goto(served.url + "/data")


def nothing(page: Page, served: Served) -> None:
    """The first visit."""
    del page, served


SHOTS: dict[str, tuple[Callable[[Page, Served], None], dict[str, Any]]] = {
    "chat-page": (pair, {}),
    "first": (nothing, {}),
    "first-phone": (nothing, PHONE),
    "talk": (talk, {}),
    "talk-dark": (talk, {"color_scheme": "dark"}),
    "talk-phone": (talk, PHONE),
    "talk-zh": (talk, {"locale": "zh-CN"}),
    "pair-phone": (pair, PHONE),
    "data": (data, {}),
}


def say(page: Page, text: str) -> None:
    """Send a message."""
    page.locator("#text").fill(text)
    page.locator("#send").click()


def take(browser: Browser, served: Served, name: str) -> bytes:
    """A picture as PNG."""
    make, window = SHOTS[name]
    settings = {"viewport": {"width": 1180, "height": 760}, "locale": "en", **window}
    context = browser.new_context(**settings)
    page = context.new_page()
    page.goto(served.url)
    make(page, served)
    page.wait_for_timeout(300)
    picture = page.screenshot()
    context.close()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


def main(models: list[Path], out: Path, every: bool) -> None:
    """Make the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium: install Debian's chromium")
    out.mkdir(parents=True, exist_ok=True)
    loaded = [ServedPolicy.load(path.name, path, remembers=False) for path in models]
    with (
        tempfile.TemporaryDirectory() as made,
        closing(open_project(Path(made)).open()) as store,
        visited(loaded, store) as served,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--hide-scrollbars"]
        )
        for name in SHOTS if every else ["chat-page"]:
            served.lot.seed = 0
            picture = take(browser, served, name)
            (out / f"{name}.png").write_bytes(picture)
            print(f"{name}.png  {len(picture) / 1024:.0f} KiB")
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, help="folders of policies; two are best")
    parser.add_argument("--out", type=Path, default=OUT, help="folder (default: docs/pictures)")
    parser.add_argument("--all", action="store_true", help="every page")
    given = parser.parse_args()
    main(given.models, given.out, given.all)
