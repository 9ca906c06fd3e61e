"""What every test gets: shape checks in the maths, no network, one CLI runner, and no skip that nobody listed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

# Hugging Face's hub client reads this once, on import, and test modules import it: so here, not in a fixture.
os.environ["HF_HUB_OFFLINE"] = "1"
# Two programs with two threads each slow one another down on two cores; so does what they start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    # Torch would start a process per core to compile in, each of which imports torch first.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

ROOT = Path(__file__).resolve().parent.parent
ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")

# From here on, a wrong shape or dtype in the maths is an error. It has to precede the first import of each.
_PURE_MATHS = [
    "alignloop.tensors",
    *(
        f"alignloop.{path.parent.name}.objective"
        for path in sorted(ROOT.glob("src/alignloop/*/objective.py"))
    ),
]
assert not set(_PURE_MATHS) & set(sys.modules), "imported before their shapes could be checked"
install_import_hook(_PURE_MATHS, "beartype.beartype")

# By default the same examples each time; --full looks for new ones, and says how to repeat what it finds.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.register_profile("full", deadline=None, max_examples=1000, print_blob=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --full: the tests marked `full` too."""
    parser.addoption(
        "--full", action="store_true", help="run the tests marked `full` too, and fuzz for longer"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make --full select everything, and choose how much hypothesis tries."""
    is_full = config.getoption("full")
    if is_full:
        config.option.markexpr = ""
    hypothesis.settings.load_profile("full" if is_full else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put whole demos first: they take longest, and of two processes one could be left with them at the end."""
    items.sort(key=lambda item: "pipeline" not in item.path.parts)


@pytest.fixture
def run_cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m alignloop ARGUMENTS` as a user would; options go to subprocess.run."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "alignloop", *map(str, arguments)]
        defaults = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
        return subprocess.run(command, **(defaults | options))

    return run


@pytest.fixture
def run_here(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_cli` within this process: for commands that would mostly import torch, where another test starts one."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        from alignloop.cli.main import main

        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["alignloop", *words])
        capfd.readouterr()  # what was said before is not this command's
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return run


# --- a skipped test is a test that does not run: each must be listed, with its reason ---


def _is_listed(node_id: str, reason: str) -> bool:
    """Whether a line `TEST ID | REASON` allows the skip; an id may end in `*`."""
    for line in ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines():
        listed_id, separator, listed_reason = (part.strip() for part in line.partition("|"))
        if not separator or line.startswith("#"):
            continue
        same_id = node_id == listed_id or (
            listed_id.endswith("*") and node_id.startswith(listed_id[:-1])
        )
        if same_id and reason == listed_reason:
            return True
    return False


def _refuse_unlisted_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn the report of a skip that is not listed into one of a failure."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not _is_listed(report.nodeid, reason):
        report.outcome = "failed"
        report.longrepr = (
            "skipped, but not listed in tests/allowed_skips.txt; mend the test, or add the line\n"
            f"{report.nodeid} | {reason}"
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Audit the skips of tests."""
    report = yield
    _refuse_unlisted_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Audit the skips of whole modules."""
    report = yield
    _refuse_unlisted_skip(report)
    return report
