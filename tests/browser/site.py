"""All pages as files in a folder, with sample contexts, behind a small server with the real security headers.

`python -m tests.browser.site` serves them to look at; tests also send forms to it and read what arrived. It is no
labeling server: it stores nothing and answers every form alike.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from alignloop.labeling.app.i18n import catalogue
from alignloop.labeling.app.render import CSP, FILES, render
from alignloop.web.i18n import LOCALES
from tests.browser.samples_researcher import all_pages

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
THEMES = ("light", "dark")

Answer = tuple[int, dict[str, object]]


def write_pages(folder: Path) -> None:
    """Write every page as LOCALE/THEME/NAME.html, and an index."""
    index = ["<!doctype html><html lang='en'><title>Pages</title>"]
    for locale in LOCALES:
        assert catalogue(locale)
        for theme in THEMES:
            (folder / locale / theme).mkdir(parents=True)
            for name, (page, view) in all_pages(locale).items():
                html = render(page, replace(view, theme=theme))
                (folder / locale / theme / f"{name}.html").write_text(html, encoding="utf-8")
                index.append(
                    f"<a href='/{locale}/{theme}/{name}.html'>{locale} {theme} {name}</a><br>"
                )
    (folder / "index.html").write_text("\n".join(index), encoding="utf-8")


@dataclass
class Sent:
    """One form that arrived."""

    path: str
    fields: list[tuple[str, str]]
    headers: dict[str, str]

    def value(self, name: str) -> str | None:
        """The value of a field that comes once; None where it did not come."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self.fields if key == name]


class _Server(ThreadingHTTPServer):
    """One that does not mind when a browser closes a window before it has the answer."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType]


def accept(sent: Sent) -> Answer:
    """What a store answers that committed the draft."""
    return 200, {"rev": int(sent.value("rev") or 0) + 1}


@dataclass
class Site:
    """The folder and the server over it."""

    folder: Path
    sent: list[Sent] = field(default_factory=list)
    """Forms that arrived, drafts among them."""
    answer_draft: Callable[[Sent], Answer] = accept
    """What a draft gets as an answer."""
    form_seconds: float = 0.0
    """How long a form waits for its answer."""
    address: str = ""

    @property
    def drafts(self) -> list[Sent]:
        """Drafts that arrived."""
        return [sent for sent in self.sent if sent.path.endswith("/draft")]

    @property
    def forms(self) -> list[Sent]:
        """Forms that arrived, without drafts."""
        return [sent for sent in self.sent if not sent.path.endswith("/draft")]

    def page(self, name: str, locale: str = "en", theme: str = "light") -> str:
        """Address of a page."""
        return f"{self.address}/{locale}/{theme}/{name}.html"

    def start(self, port: int = 0) -> ThreadingHTTPServer:
        """Serve on a free port."""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                if path.startswith("/static/"):
                    file = FILES.find("/".join(path.split("/")[3:])) or Path("none")
                else:
                    file = site.folder / (path.strip("/") or "index.html")
                if not file.is_file():
                    file = site.folder / "en" / "light" / "error-404.html"
                self.reply(200, TYPES[file.suffix], file.read_bytes())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                fields = parse_qsl(body, keep_blank_values=True)
                sent = Sent(
                    urlsplit(self.path).path,
                    fields,
                    {k.lower(): v for k, v in self.headers.items()},
                )
                site.sent.append(sent)
                if sent.path.endswith("/draft"):
                    status, answer = site.answer_draft(sent)
                    self.reply(status, "application/json", json.dumps(answer).encode())
                elif sent.headers.get("hx-request"):
                    file = site.folder / "en" / "light" / "prompt.html"
                    self.reply(200, TYPES[".html"], file.read_bytes())
                else:
                    time.sleep(site.form_seconds)
                    self.send_response(303)
                    self.send_header("Location", "/en/light/work.html")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def reply(self, status: int, type_: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", type_)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", CSP)
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = _Server(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{server.server_port}"
        return server


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        write_pages(Path(made))
        shown = Site(Path(made))
        shown.start()
        print(f"{shown.address}  (Ctrl-C ends it)")
        threading.Event().wait()
