"""How a figure and its interval are written on a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_BREAK = "\u00a0"
MINUS = "\u2212"
DASH = "\u2013"
"""What stands where nothing was measured."""

Interval = Mapping[str, Any]
"""`mean`, `low`, `high`, `n`, and `reason` where one of them is missing."""


def number(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """A figure with a fixed number of digits; a rounded zero has no sign."""
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def whole(value: float) -> str:
    """A count: `11,870`."""
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """A share in [0, 1]: `71.3 %`."""
    return f"{number(100.0 * share, 1)}{NO_BREAK}%"


def share(found: Interval | None) -> str:
    """A share with its interval and n: `71.3 % (66.2 to 76.1), n 350`."""
    return _cell(found, percent, lambda end: number(100.0 * end, 1))


def amount(found: Interval | None, digits: int = 2, *, signed: bool = False) -> str:
    """A figure that is no share, with its interval and n."""

    def write(value: float) -> str:
        return number(value, digits, signed=signed)

    return _cell(found, write, write)


def _cell(found: Interval | None, write: Any, write_end: Any) -> str:
    if found is None:
        return DASH
    if found["mean"] is None:
        return str(found.get("reason") or DASH)
    if found["low"] is None or found["high"] is None:
        # A figure without an interval is not printed: the reason is.
        return f"{DASH} ({found.get('reason') or 'no interval'}), n{NO_BREAK}{whole(found['n'])}"
    ends = f"{write_end(found['low'])} to {write_end(found['high'])}"
    return f"{write(found['mean'])} ({ends}), n{NO_BREAK}{whole(found['n'])}"
