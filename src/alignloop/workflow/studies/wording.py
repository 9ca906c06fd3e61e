"""How effects, intervals and verdicts are written, on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence

from alignloop.workflow.report.data import number
from alignloop.workflow.studies.claims import Claim, Judged, Unit

ONE_SEED = "what differs from seed to seed is not in the interval"


def amount(value: float, unit: Unit, *, signed: bool = True) -> str:
    """A number in the claim's unit: shares as percentage points."""
    if unit == "share":
        return number(100 * value, 1, signed=signed)
    return number(value, 3, signed=signed)


def interval(mean: float, low: float, high: float, unit: Unit, *, signed: bool = True) -> str:
    """`+0.12 (+0.03 to +0.21)`."""
    shown = [amount(value, unit, signed=signed) for value in (mean, low, high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def share(mean: float, low: float, high: float) -> str:
    """`72.4 % (71.0 to 73.8)`."""
    return f"{100 * mean:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def unit_word(unit: Unit) -> str:
    """What follows the number."""
    return {"share": "points", "nats": "nats", "number": ""}[unit]


def measured(judged: Judged) -> str:
    """The effect with its interval and unit."""
    unit = judged.claim.unit
    return f"{interval(judged.mean, judged.low, judged.high, unit)} {unit_word(unit)}".strip()


def expected(claim: Claim) -> str:
    """`above 0`, `within 0.1 of 0`."""
    margin = amount(claim.margin, claim.unit, signed=False) if claim.margin else "0"
    unit = f" {unit_word(claim.unit)}" if claim.margin and claim.unit != "number" else ""
    return (
        f"within {margin}{unit} of 0"
        if claim.expected == "within"
        else f"{claim.expected} {margin}{unit}"
    )


def of_seeds(counts: Sequence[int], units: str) -> str:
    """Seeds, and the units inside each: `3 seeds, 211 to 215 prompts each`."""
    many = f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else f"{counts[0]}"
    return (
        f"1 seed, {many} {units}"
        if len(counts) == 1
        else f"{len(counts)} seeds, {many} {units} each"
    )


def counted(judged: Judged) -> str:
    """What a verdict rests on."""
    return of_seeds([one.n for one in judged.effects], judged.effects[0].units)


def rests_on(judged: Judged) -> str:
    """The same, and of one seed what that means."""
    return f"{counted(judged)}{f': {ONE_SEED}' if len(judged.effects) == 1 else ''}"


def line(judged: Judged) -> str:
    """A claim and its verdict, for the terminal."""
    return (
        f"{judged.verdict:<10} {judged.claim.text} {judged.claim.effect}: {measured(judged)}, "
        f"expected {expected(judged.claim)}; {rests_on(judged)}"
    )
