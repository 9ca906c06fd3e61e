"""A real PostgreSQL for the tests: Debian's server, in a folder of its own, on a Unix socket, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOT_INSTALLED = "no PostgreSQL server: install Debian's postgresql"


def programs() -> Path | None:
    """The folder with initdb and pg_ctl, or None where no server is installed."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


@contextmanager
def server(folder: Path, *, is_durable: bool = False) -> Iterator[str]:
    """Run a server in `folder`; gives the URL of its maintenance database, to make others from.

    Args:
        is_durable: as it is installed; else nothing waits for the disk, and a killed process loses nothing all the
            same, but a machine without power would.

    initdb refuses to be root: there, the server belongs to the user `postgres` that the package made.
    """
    binaries = programs()
    assert binaries is not None, NOT_INSTALLED
    as_user: list[str] = []
    user = pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:
        user = "postgres"
        as_user = ["runuser", "-u", user, "--"]
        shutil.chown(folder, user)
        for parent in folder.parents:  # the way down has to be open to that user
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    data = folder / "data"
    settings = "-c listen_addresses='' -c max_connections=80"
    if not is_durable:
        settings += " -c fsync=off -c full_page_writes=off"

    def run(*command: str | Path) -> None:
        done = subprocess.run(
            [*as_user, *map(str, command)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run(binaries / "initdb", "-D", data, "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C")
    log = folder / "log"
    run(
        binaries / "pg_ctl",
        "-D",
        data,
        "-l",
        log,
        "-w",
        "-o",
        f"{settings} -k {folder}",
        "start",
    )
    try:
        yield f"postgresql://{user}@/postgres?host={folder}"
    finally:
        run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
