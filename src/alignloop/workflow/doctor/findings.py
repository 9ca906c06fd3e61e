"""What the doctor says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "look", "BAD"]
"""`BAD`: the run would be spoilt. `look`: it may be meant so."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome."""

    check: str
    verdict: Verdict
    detail: str
    """What was measured; where it is not ok, the cause and what to do."""

    @property
    def line(self) -> str:
        """The finding as it is printed."""
        return f"{self.verdict:<4} {self.check}: {self.detail}"


def finding(
    check: str, is_well: bool, measured: str, advice: str, otherwise: Verdict = "BAD"
) -> Finding:
    """A finding whose advice is given only where it is needed."""
    if is_well:
        return Finding(check, "ok", measured)
    return Finding(check, otherwise, f"{measured}; {advice}")
