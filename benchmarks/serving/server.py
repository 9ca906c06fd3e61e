"""`alignloop serve` in a process of its own."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    log: list[str]
    """What it has printed."""

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def peak_memory_mib(self) -> float:
        """Peak resident memory of the process."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+)", text)
        return int(found[1]) / 1024 if found else 0.0


@contextlib.contextmanager
def serving(*arguments: str, patience: float = 120.0) -> Iterator[Server]:
    """A server on a free port, for the time of a block; `arguments` are the command's."""
    command = [sys.executable, "-P", "-m", "alignloop", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log: list[str] = []
    is_ready = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            log.append(line)
            if line.startswith("Serving "):
                is_ready.set()
        is_ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        is_ready.wait(patience)
        found = re.search(r"http://[^ ]*:(\d+)/v1", "".join(log))
        if found is None:
            raise RuntimeError(f"the server did not start:\n{''.join(log)[-2000:]}")
        port = int(found[1])
        _wait_for(port, time.monotonic() + patience)
        yield Server(process, port, log)
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


def _wait_for(port: int, deadline: float) -> None:
    import socket

    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
