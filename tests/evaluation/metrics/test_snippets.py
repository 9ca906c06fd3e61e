"""Code in answers: found between fences or in plain text, parsed, and never run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.evaluation.metrics.snippets import functions

DOUBLE = "def double(x):\n    return 2 * x"


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (DOUBLE, {"double"}),
        (f"Here you are:\n\n{DOUBLE}\n\nIt doubles a number.", {"double"}),
        (
            f"Sure!\n```python\n{DOUBLE}\n```\nAnd its test:\n```\nassert double(2) == 4\n```",
            {"double"},
        ),
        (
            f"```python\n{DOUBLE}\n```\n~\n```py\ndef half(x):\n    return x / 2\n```",
            {"double", "half"},
        ),
        ("1. So:\n   ```python\n   def a(x):\n       return x\n   ```", {"a"}),
        (f"```python\n{DOUBLE}", {"double"}),  # cut before the fence closed
        (
            "import math\n\n\ndef area(r):\n    return math.pi * r**2\nThat is it, isn't it.",
            {"area"},
        ),
        ("class A:\n    async def run(self): ...", {"run"}),
        ("def a(x):\n    return x is 1", {"a"}),  # the parser warns, and that is all
    ],
)
def test_functions_are_found(answer: str, names: set[str]) -> None:
    assert functions(answer) == names


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Hello",  # which parses, as a name
        "x = 1",
        "double = 2",
        "```python\nprint('double')\n```",
        "def double(x)\n    return 2 * x",
        "def double(x):",
        "```python\ndef double(x) return\n```\n",
        "from here on it is easy",
        "def \0(x): pass",
        "```\ndef a():\n    return " + "(" * 500 + ")" * 500 + "\n```",
    ],
)
def test_what_is_no_function_is_none(answer: str) -> None:
    assert functions(answer) is None


def test_nothing_is_run(tmp_path: Path) -> None:
    there = tmp_path / "there"
    code = f"open({str(there)!r}, 'w').close()\n\n\ndef f():\n    pass"

    assert functions(f"```python\n{code}\n```") == {"f"}
    assert not there.exists()


@given(st.text(alphabet="def a():\n`@\\x00'\"[", max_size=80))
def test_no_answer_breaks_it(answer: str) -> None:
    found = functions(answer)

    assert found is None or found
