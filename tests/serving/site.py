"""Servers for tests: the app over tiny models, listening in a thread of its own, and a hand on the model's clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from socket import socket
from typing import Any

import httpx
import uvicorn

from alignloop.serving.app import create_app
from alignloop.serving.guard import Access
from alignloop.serving.policy import PolicyWorker, ServedPolicy
from alignloop.serving.reward import ServedReward
from alignloop.serving.service import Limits, Service
from alignloop.web.listening import listen

PATIENCE_S = 20.0


@dataclass
class Site:
    """A running server."""

    service: Service
    url: str
    http: httpx.Client

    def post(self, path: str, **body: Any) -> httpx.Response:
        """Ask."""
        return self.http.post(path, json=body)

    def worker(self, name: str) -> PolicyWorker:
        """A policy's."""
        return self.service.policy(name)

    def metric(self, name: str, **labels: str) -> float:
        """A figure of /metrics, 0 where it is not there yet."""
        for line in self.http.get("/metrics").text.splitlines():
            is_it = line.startswith((f"alignloop_{name}{{", f"alignloop_{name} "))
            if is_it and all(f'{key}="{value}"' in line for key, value in labels.items()):
                return float(line.rpartition(" ")[2])
        return 0.0


@contextmanager
def listened(app: Any, listening: socket, service: Service) -> Iterator[None]:
    """An app over a service that answers in a thread of its own for the time of a block; both stop at its end."""
    config = uvicorn.Config(
        app, log_level="critical", lifespan="on", http="h11", ws="none", proxy_headers=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        eventually(lambda: server.started)
        yield
    finally:
        server.should_exit = True
        service.stop()
        thread.join()


@contextmanager
def served(
    models: Sequence[ServedPolicy | ServedReward],
    limits: Limits | None = None,
    access: Access | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Site]:
    """A server for the time of a block."""
    service = Service.of(models, limits or Limits(timeout=PATIENCE_S), clock)
    service.start()
    with closing(listen("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        app = create_app(service, access or Access())
        url = f"http://127.0.0.1:{port}"
        with (
            listened(app, listening, service),
            httpx.Client(base_url=url, timeout=PATIENCE_S) as http,
        ):
            yield Site(service, url, http)


def eventually(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.005)


@contextmanager
def held(worker: PolicyWorker) -> Iterator[Callable[[int], None]]:
    """Within the block the policy draws only the steps that the given function lets it draw."""
    allowed = threading.Semaphore(0)
    is_over = threading.Event()
    batch = worker._batch
    step = batch.step

    def waiting() -> Any:
        while not is_over.is_set() and not allowed.acquire(timeout=0.01):
            pass
        return step()

    def allow(steps: int) -> None:
        allowed.release(steps)

    batch.step = waiting  # type: ignore[method-assign]
    try:
        yield allow
    finally:
        is_over.set()
        batch.step = step  # type: ignore[method-assign]
