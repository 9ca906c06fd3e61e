"""A skip that nobody listed is a failure, of a test and of a whole module."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"

SKIPPED_TEST = "import pytest\n\ndef test_it():\n    pytest.skip('no such device')\n"
SKIPPED_MODULE = "import pytest\n\npytest.skip('no such device', allow_module_level=True)\n"
EXPECTED_FAILURE = "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert False\n"

KINDS = {"test": SKIPPED_TEST, "module": SKIPPED_MODULE}
LISTED = {"": "", "otherwise": " | another reason\n", "listed": " | no such device\n"}
"""What the list says of a file: nothing, that it is skipped for another reason, or that it is skipped for this one."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """File -> what one run of pytest over all cases says in its summary's line for it."""
    folder = tmp_path_factory.mktemp("audit")
    tests = folder / "tests"
    tests.mkdir()
    shutil.copy(CONFTEST, tests)
    allowed = ""
    for kind, source in KINDS.items():
        for listed, reason in LISTED.items():
            name = f"test_{kind}_{listed}.py"
            (tests / name).write_text(source, encoding="utf-8")
            allowed += f"tests/{name}*{reason}" if reason else ""
    (tests / "test_expected.py").write_text(EXPECTED_FAILURE, encoding="utf-8")
    (tests / "allowed_skips.txt").write_text(allowed, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--rootdir", str(folder), "tests"]
    command += ["-rA", "--no-header", "--import-mode=importlib", "--continue-on-collection-errors"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    return {"": done.stdout} | {
        path.name: "".join(line for line in done.stdout.splitlines() if path.name in line)
        for path in tests.glob("test_*.py")
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("listed", ["", "otherwise"])
def test_an_unlisted_skip_fails(said: dict[str, str], kind: str, listed: str) -> None:
    name = f"test_{kind}_{listed}.py"

    assert ("FAILED" if kind == "test" else "ERROR") in said[name]
    assert "SKIPPED" not in said[name]
    assert f"tests/{name}" in said[""].partition("add the line\n")[2]
    assert f"tests/{name}{'::test_it' * (kind == 'test')} | no such device" in said[""]


@pytest.mark.parametrize("kind", KINDS)
def test_a_listed_skip_is_a_skip(said: dict[str, str], kind: str) -> None:
    name = f"test_{kind}_listed.py"

    assert "SKIPPED" in said[name]
    assert not {"FAILED", "ERROR"} & set(said[name].split())
    assert f"{name} | no such device" not in said[""]


def test_an_expected_failure_is_no_skip(said: dict[str, str]) -> None:
    assert "XFAIL" in said["test_expected.py"]
    assert "2 failed, 2 skipped, 1 xfailed, 2 errors" in said[""]
