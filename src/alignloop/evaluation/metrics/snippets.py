"""Python code in an answer: found and parsed, never run."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings

_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
_OPENS = re.compile(r"(?:async\s+def|def|class|from|import)\s|@")
_MOST_LINES = 200


def functions(answer: str) -> frozenset[str] | None:
    """Names of all functions that the answer's code defines, wherever they stand in it.

    The code is what stands between fences of three backticks; without any, the longest run of lines from one that
    begins a definition or an import that parses.

    Returns:
        None where no code parses that defines a function.
    """
    blocks = [textwrap.dedent(block) for block in _FENCE.findall(answer)]  # lists indent them
    found = [names for code in (blocks or _runs(answer)) if (names := _defined(code)) is not None]
    return frozenset().union(*found) or None


def _runs(answer: str) -> list[str]:
    """Of plain text, the first stretch of lines that parses, as long as it can be."""
    lines = answer.splitlines()[:_MOST_LINES]
    for start, line in enumerate(lines):
        if _OPENS.match(line):
            for end in range(len(lines), start, -1):
                code = "\n".join(lines[start:end])
                if _defined(code):
                    return [code]
    return []


def _defined(code: str) -> frozenset[str] | None:
    """Names of the functions of a piece of code; None where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a parser's remarks on somebody else's code
            tree = ast.parse(code)
            nodes = list(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return frozenset(
        node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
