"""The table of sizes on the page about win rates is the binomial's."""

from __future__ import annotations

import re

import pytest

from alignloop.judges.proportions import cases_for, half_width
from tests.docs.tables import DOCS

PAGE = (DOCS / "evaluation-win-rate.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)


def test_the_table_was_found() -> None:
    assert len(ROWS) == 6


@pytest.mark.parametrize(("prompts", "at_half", "at_seventy"), ROWS)
def test_half_widths_are_those_of_the_binomial(prompts: str, at_half: str, at_seventy: str) -> None:
    assert f"{100 * half_width(int(prompts)):.1f}" == at_half
    assert f"{100 * half_width(int(prompts), 0.7):.1f}" == at_seventy


def test_the_sizes_in_the_text() -> None:
    assert 370 < cases_for(0.05) < 400
    assert 450 < cases_for(0.04, 0.71) < 550
    assert 1800 < cases_for(0.02, 0.734) < 1950
