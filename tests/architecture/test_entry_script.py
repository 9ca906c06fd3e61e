"""The script `./alignloop` installs once, recovers from being killed, and deletes nothing that it did not make."""

from __future__ import annotations

import json
import os
import shutil
import sys
import types
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "alignloop"
PROJECT = """
[build-system]
requires = []
[project]
name = "alignloop"
dependencies = ["click"]
[tool.ruff]
line-length = 100
"""


class Checkout:
    """A folder with the script in it, and a pip that writes down what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pyproject = folder / "pyproject.toml"
        self.pyproject.write_text(PROJECT, encoding="utf-8")
        self.venv = folder / ".venv"
        self.asked: list[str] = []
        self.would_install = ["torch", "numpy"]
        self.disaster: BaseException | None = None
        shutil.copy(SCRIPT, folder)
        self.script = self.load()

    def load(self) -> types.ModuleType:
        """The script as a module; not imported, or its bytecode would be left beside it."""
        script = types.ModuleType("entry_script")
        script.__file__ = str(self.folder / "alignloop")
        exec(compile(SCRIPT.read_text(encoding="utf-8"), script.__file__, "exec"), script.__dict__)
        script.quietly = self.pretend
        script.has_torch = lambda any_version: False
        return script

    def pretend(self, purpose: str, command: list[str]) -> None:
        if "venv" in command:
            self.script.PROGRAMS.mkdir(parents=True)
            self.script.PYTHON.touch()
            return
        arguments = command[command.index("install") + 1 :]
        self.asked.append(" ".join(a for a in arguments if a != "--quiet"))
        if "--report" in arguments:
            report = Path(arguments[arguments.index("--report") + 1])
            items = [{"metadata": {"name": name}} for name in self.would_install]
            report.write_text(json.dumps({"install": items}), encoding="utf-8")
        if "--editable" in arguments and self.disaster is not None:
            raise self.disaster

    def prepare(self, *extras: str) -> list[str]:
        """What pip is asked for in one call of the script."""
        self.asked.clear()
        self.script.prepare(set(extras))
        return list(self.asked)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.delenv("ALIGNLOOP_TORCH", raising=False)
    return Checkout(tmp_path)


def test_the_second_call_installs_nothing(checkout: Checkout) -> None:
    assert checkout.prepare("train")[-1].endswith("--editable .[train]")
    assert checkout.prepare("train") == []


def test_extras_add_up(checkout: Checkout) -> None:
    checkout.prepare("train")

    assert checkout.prepare("dev")[-1].endswith("--editable .[dev,train]")
    assert checkout.prepare("train") == []


def test_only_what_decides_the_environment_is_installed_again(checkout: Checkout) -> None:
    checkout.prepare("train")
    checkout.pyproject.write_text(PROJECT.replace("100", "80"), encoding="utf-8")
    assert checkout.prepare("train") == []

    checkout.pyproject.write_text(PROJECT.replace("click", "click>=9"), encoding="utf-8")
    assert checkout.prepare("train") != []


def test_an_environment_left_half_made_is_made_anew(checkout: Checkout) -> None:
    checkout.disaster = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        checkout.prepare("train")
    (checkout.venv / "half a package").touch()
    checkout.disaster = None

    assert checkout.prepare("train") != []
    assert not (checkout.venv / "half a package").exists()
    assert checkout.prepare("train") == []


def test_an_update_that_pip_refuses_leaves_what_was_there(checkout: Checkout) -> None:
    checkout.prepare("train")
    (checkout.venv / "a package").touch()
    checkout.disaster = checkout.script.Problem("no network")
    with pytest.raises(checkout.script.Problem):
        checkout.prepare("dev")
    assert checkout.prepare("train") == []
    checkout.disaster = None

    assert checkout.prepare("dev") != []
    assert (checkout.venv / "a package").exists()


def test_an_environment_that_the_user_made_is_never_deleted(checkout: Checkout) -> None:
    checkout.script.PROGRAMS.mkdir(parents=True)
    checkout.script.PYTHON.touch()
    (checkout.venv / "the user's").touch()
    checkout.disaster = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        checkout.prepare("train")
    checkout.disaster = None

    assert checkout.prepare("train") != []
    assert (checkout.venv / "the user's").exists()


def test_a_folder_that_is_no_environment_is_left_alone(checkout: Checkout) -> None:
    checkout.venv.mkdir()
    (checkout.venv / "notes.txt").touch()

    with pytest.raises(checkout.script.Problem, match="move it away"):
        checkout.prepare("train")
    assert (checkout.venv / "notes.txt").exists()


def test_a_moved_checkout_gets_a_new_environment(checkout: Checkout, tmp_path: Path) -> None:
    checkout.prepare("train")
    (checkout.venv / "old paths").touch()
    moved = Path(shutil.copytree(tmp_path, tmp_path / "moved"))

    assert Checkout(moved).prepare("train") != []
    assert not (moved / ".venv" / "old paths").exists()


@pytest.mark.parametrize("name", ["nvidia-cublas-cu12", "cuda-toolkit", "triton"])
def test_cuda_is_not_installed_by_accident(checkout: Checkout, name: str) -> None:
    checkout.would_install.append(name)

    with pytest.raises(checkout.script.Problem, match="ALIGNLOOP_TORCH=cuda"):
        checkout.prepare("train")
    assert all("--dry-run" in asked for asked in checkout.asked if "torch" in asked)


@pytest.mark.parametrize(
    ("choice", "expected"), [("cuda", ""), ("--find-links 'a b'", " --find-links a b")]
)
def test_the_user_chooses_the_build_of_torch(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, choice: str, expected: str
) -> None:
    checkout.would_install.append("triton")
    monkeypatch.setenv("ALIGNLOOP_TORCH", choice)

    torch = [asked for asked in checkout.prepare("train") if "torch" in asked]

    assert len(torch) == 1
    assert torch[0].endswith(checkout.script.TORCH + expected)


class TestAllocator:
    """tcmalloc is preloaded for the commands of the package where it is installed."""

    @pytest.fixture
    def place(self, checkout: Checkout, tmp_path: Path) -> Path:
        """The one folder in which the script looks for libraries."""
        place = tmp_path / "lib"
        place.mkdir()
        checkout.script.LIBRARIES = (str(place),)
        return place

    @pytest.fixture
    def became(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        """The environment with which the package is started."""
        environment: dict[str, str] = {}
        monkeypatch.setattr(checkout.script, "prepare", lambda extras: None)
        monkeypatch.setattr(
            checkout.script, "become", lambda command: environment.update(os.environ) or 0
        )
        monkeypatch.setattr(os, "environ", {"PATH": "/bin"})
        monkeypatch.setattr(sys, "platform", "linux")
        return environment

    def test_is_preloaded_where_it_is_installed(
        self, checkout: Checkout, place: Path, became: dict[str, str]
    ) -> None:
        for name in ("libtcmalloc.so.4", "libtcmalloc_minimal.so.4"):
            (place / name).touch()
        checkout.script.main(["doctor"])
        assert became["LD_PRELOAD"] == str(place / "libtcmalloc_minimal.so.4")

    def test_is_not_where_it_is_not_installed(
        self, checkout: Checkout, place: Path, became: dict[str, str]
    ) -> None:
        checkout.script.main(["doctor"])
        assert "LD_PRELOAD" not in became

    @pytest.mark.parametrize("chosen", ["", "/usr/lib/another.so"])
    def test_what_the_user_preloads_stays(
        self, checkout: Checkout, place: Path, chosen: str
    ) -> None:
        (place / "libtcmalloc.so.4").touch()
        assert checkout.script.with_allocator({"LD_PRELOAD": chosen}) == {}
