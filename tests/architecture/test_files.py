"""Rules about files: their size, their docstrings, and what must never be written in them."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
# Beside the sources: git's, the environment's, and what runs and builds leave behind.
NOT_OURS = {ROOT / name for name in (".git", ".venv", "benchmarks/.venvs", "runs", "dist", "build")}
CACHES = {"__pycache__", ".hypothesis", ".import_linter_cache", ".pytest_cache", ".ruff_cache"}

MOST_LINES = 450
MOST_BYTES = 15_000_000

# Folders of one machine, and the hosts of package registries: in parts, or this file would contain them.
FORBIDDEN = [
    *("/" + folder + "/" for folder in ("root", "work", "opt/py" + "pi", "opt/" + "wheels")),
    "py" + "pi.org",
    "files.python" + "hosted",
    "download." + "pytorch",
]


def files_of_the_project() -> Iterator[Path]:
    """Every file below the root that somebody wrote, whether git knows it yet or not."""
    for folder, folders, names in os.walk(ROOT):
        ours = set(folders) - CACHES - {".idea", ".vscode"}
        folders[:] = sorted(name for name in ours if Path(folder, name) not in NOT_OURS)
        yield from (
            Path(folder, name) for name in sorted(names) if Path(folder, name) not in NOT_OURS
        )


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_sources_are_found() -> None:
    assert ROOT / "src" / "alignloop" / "errors.py" in SOURCES


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())

    assert lines <= MOST_LINES, "split it along what its parts are for"


def test_no_file_is_too_large() -> None:
    too_large = [
        name_of(path) for path in files_of_the_project() if path.stat().st_size > MOST_BYTES
    ]

    assert not too_large


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{name_of(path)}: {text}"
        for path in files_of_the_project()
        for text in FORBIDDEN
        if text.encode() in path.read_bytes()
    ]

    assert not found
