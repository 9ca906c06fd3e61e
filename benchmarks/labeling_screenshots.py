"""Pictures of the labeling app for the documentation, of a real server over a project that `labeling.scene` makes.

`python -m benchmarks.labeling_screenshots` writes docs/pictures/labeling/*.png. It needs Chromium and, for the Chinese
page, a font for it (Debian: chromium, fonts-noto-cjk).
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from alignloop.store import people
from alignloop.store.project import open_project
from benchmarks.labeling.scene import Scene, Seat, make_scene
from benchmarks.labeling.server import Server, serving

OUT = Path(__file__).parents[1] / "docs" / "pictures" / "labeling"
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
COLOURS = 255
"""Of each picture's palette: text and flat areas need no more."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture."""

    name: str
    seat: Seat
    path: str
    window: Mapping[str, Any] = field(default_factory=dict[str, Any])
    scale: float = 1
    """Pixels of the picture per pixel of the page."""
    height: int = 800


def shots(scene: Scene) -> list[Shot]:
    """Every picture: the four main pages, and one of them dark, on a phone, and in Chinese."""
    task, dark = scene.tasks, {"color_scheme": "dark"}
    rank = f"/tasks/{task['rank']}/rank"
    return [
        Shot("rank", scene.labeler, rank),
        Shot("rate", scene.labeler, f"/tasks/{task['rank']}/rate/{scene.weak_item}", height=900),
        Shot("demonstrate", scene.labeler, f"/tasks/{task['demonstrate']}/demonstrate"),
        Shot("overview", scene.researcher, "/overview", height=1000),
        Shot("rank-dark", scene.labeler, rank, dark),
        Shot("rank-phone", scene.labeler, rank, PHONE, scale=2, height=740),
        Shot("rank-zh", scene.reader_of_chinese, f"/tasks/{task['rank_zh']}/rank"),
    ]


def take(browser: Browser, server: Server, shot: Shot) -> bytes:
    """A picture as PNG."""
    window = {"viewport": {"width": 1280, "height": shot.height}, **shot.window}
    context = browser.new_context(device_scale_factor=shot.scale, **window)
    context.add_cookies(
        [{"name": "alignloop_session", "value": shot.seat.session, "url": server.url}]
    )
    page = context.new_page()
    answer = page.goto(server.url + shot.path)
    assert answer is not None and answer.status == 200, (shot.name, answer)
    page.wait_for_timeout(300)  # for what scripts lay out
    picture = page.screenshot()
    context.close()
    return _small(picture)


def main(only: list[str], out: Path) -> None:
    """Make the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium: install Debian's chromium")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        now = time.time_ns() // 1_000_000
        store = open_project(Path(made)).open()
        scene = make_scene(store, now, rankings=240, days=29)
        with store.write() as connection:
            yun = scene.reader_of_chinese.user
            people.change_user(connection, now, "scene", yun, locale="zh")
        store.close()
        with serving(Path(made)) as server:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--hide-scrollbars"]
            )
            for shot in shots(scene):
                if only and shot.name not in only:
                    continue
                picture = take(browser, server, shot)
                (out / f"{shot.name}.png").write_bytes(picture)
                print(f"{shot.name}.png  {len(picture) / 1024:.0f} KiB")
            browser.close()


def _small(picture: bytes) -> bytes:
    """The same picture with a palette, as small as PNG goes."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="names of the pictures; all of them without")
    parser.add_argument(
        "--out", type=Path, default=OUT, help="folder (default: docs/pictures/labeling)"
    )
    given = parser.parse_args()
    main(given.only, given.out)
