"""The numerics ledger: ids in the code and rows in the table are the same, and the tests it names exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.docs.tables import DOCS, LEDGER_ID, ROOT

LEDGER = (DOCS / "numerics.md").read_text(encoding="utf-8")
ROW = re.compile(
    r'^\| <a id="(?P<anchor>[\w-]+)"></a>(?P<id>[A-Z]+-\d\d) \| (?P<rest>.*) \|$', re.M
)
BUG = re.compile(r"^\| (?P<number>\d+) \| (?P<what>.*) \| (?P<tests>.*) \|$", re.M)
TEST = re.compile(r"`(?P<file>tests/[\w/]+\.py)::(?P<name>\w+)`")


def ids_in_code() -> dict[str, list[str]]:
    """Ledger id -> files of the sources and recipes where it stands."""
    found: dict[str, list[str]] = {}
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("recipes/**/*.toml")]:
        for ledger_id in LEDGER_ID.findall(path.read_text(encoding="utf-8")):
            found.setdefault(ledger_id, []).append(str(path.relative_to(ROOT)))
    return found


def test_every_id_in_the_code_has_a_row() -> None:
    rows = {match["id"] for match in ROW.finditer(LEDGER)}

    missing = {key: files for key, files in ids_in_code().items() if key not in rows}

    assert len(rows) > 10, "no rows were found"
    assert not missing


def test_every_row_stands_somewhere_in_the_code() -> None:
    rows = {match["id"] for match in ROW.finditer(LEDGER)}

    assert not rows - ids_in_code().keys()


def test_an_id_has_one_row_with_its_anchor_and_five_cells() -> None:
    rows = list(ROW.finditer(LEDGER))

    assert len({match["id"] for match in rows}) == len(rows)
    for match in rows:
        assert match["anchor"] == match["id"].lower()
        assert len(match["rest"].split(" | ")) == 4, match["id"]


@cache
def functions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("match", list(ROW.finditer(LEDGER)), ids=lambda match: match["id"])
def test_the_tests_that_pin_a_choice_exist(match: re.Match[str]) -> None:
    last = match["rest"].split(" | ")[-1]

    named = list(TEST.finditer(last))

    assert named or last == "none yet", f"{match['id']}: name a test, or write 'none yet'"
    assert not missing(named)


def missing(named: Iterable[re.Match[str]]) -> list[str]:
    """Those of the named tests that are not there."""
    return [
        test.group()
        for test in named
        if not (ROOT / test["file"]).is_file()
        or test["name"] not in functions_in(ROOT / test["file"])
    ]


def test_every_bug_of_others_is_caught_by_a_test_that_exists() -> None:
    rows = list(BUG.finditer(LEDGER))

    assert len(rows) >= 30, "the rows were not found"
    assert [int(row["number"]) for row in rows] == sorted({int(row["number"]) for row in rows})
    for row in rows:
        named = list(TEST.finditer(row["tests"]))
        assert named, f"bug {row['number']}: name a test"
        assert not missing(named), f"bug {row['number']}"
