"""docs/agreement.md: every example gives what the page says, and every measure has its five parts."""

from __future__ import annotations

import doctest
import re
from typing import Any

from tests.docs.tables import DOCS

PAGE = (DOCS / "agreement.md").read_text(encoding="utf-8")
PARTS = ("Definition", "Source", "Left out", "Reading")


def test_every_example_gives_what_the_page_says() -> None:
    blocks = re.findall(r"```pycon\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}  # later examples use what earlier ones made
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    told: list[str] = []
    for number, block in enumerate(blocks):
        example = doctest.DocTestParser().get_doctest(block, names, f"example {number}", None, None)
        runner.run(example, out=told.append, clear_globs=False)
        names = example.globs

    assert runner.failures == 0, "".join(told)
    assert runner.tries > 60


def test_every_measure_says_what_it_is_and_shows_it() -> None:
    sections = re.findall(r"^##+ ([^\n]+)\n(.*?)(?=^##+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    measures = {title: body for title, body in sections if "**Definition**" in body}

    assert len(measures) >= 20
    for title, body in measures.items():
        missing = [part for part in PARTS if f"- **{part}**:" not in body]
        assert not missing, f"{title}: no {', '.join(missing)}"
        assert "```pycon" in body, f"{title}: no example"
