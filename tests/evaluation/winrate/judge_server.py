"""A judge model's endpoint on this machine, for tests: a real HTTP server that answers as a function says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = str | tuple[int, str, dict[str, str]]
"""The reply's text; or a status, a body and headers."""


@dataclass
class JudgeServer:
    """What came in, and how it is answered."""

    answer: Callable[[str, str], Answer]
    """(text shown as A, text shown as B) -> reply."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def judge_server(answer: Callable[[str, str], Answer]) -> Iterator[JudgeServer]:
    """The server, for as long as the block lasts."""
    judge, lock = JudgeServer(answer), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                judge.requests.append(request)
                judge.headers.append(dict(self.headers))
                judge.paths.append(self.path)
                found = judge.answer(*shown(request))
            status, body, headers = (
                (200, completion(found), {}) if isinstance(found, str) else found
            )
            content = body.encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError):  # whoever asked has given up
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Tests say what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    judge.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(text: str) -> str:
    """A chat completion with this text."""
    return json.dumps(
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    )


def shown(request: dict[str, Any]) -> tuple[str, str]:
    """The two answers in a request, in the order in which they are shown."""
    asked = request["messages"][-1]["content"]
    return between(asked, "A"), between(asked, "B")


def between(asked: str, letter: str) -> str:
    """One answer of a request."""
    rest = asked.partition(f"[Answer {letter}]\n")[2]
    return rest.partition(f"\n[End of answer {letter}]")[0]
