"""The app as users start it: `alignloop label serve` in a process of its own, killed and started again at will."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path


class Server:
    """One address, and whichever process serves it."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or _free_port()
        self.log = folder / "serve.log"
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-P", "-m", "alignloop", "label", "serve"]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [*command, "--project", str(self.folder), "--port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        deadline = time.monotonic() + 60
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: no goodbye, nothing flushed that was not flushed before."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(30)
        self._process = None
        return status

    def peak_memory_mib(self) -> float:
        """Peak resident memory of the process that serves now."""
        assert self._process is not None
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+)", text)
        return int(found[1]) / 1024 if found else 0.0


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server for the time of a block."""
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def killed_again_and_again(server: Server, times: int, seconds: float) -> Iterator[list[float]]:
    """Kill and restart the server so often, spread over so many seconds; gives the moments of the kills."""
    kills: list[float] = []
    is_over = threading.Event()

    def work() -> None:
        began = time.monotonic()
        for at in range(1, times + 1):
            # By the clock: a server that is slow to start takes nothing from the next kill.
            moment = began + at * seconds / (times + 1)
            if is_over.wait(max(moment - time.monotonic(), 0)):
                return
            server.kill()
            kills.append(time.monotonic())
            server.start()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield kills
    finally:
        is_over.set()
        thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
