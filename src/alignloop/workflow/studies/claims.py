"""What a study expects, and whether it held: verdicts from intervals, by rules that are fixed before anything runs.

A claim is about one effect: a difference, a ratio, a correlation. Its direction, and the margin of a claim that
something stays, stand in the code of its study. Over two seeds or more the interval is a t interval of the seeds'
effects, which holds all that differs between seeds: the data drawn, the training, the answers. One seed knows nothing
of that, so there the interval is the bootstrap's over that seed's prompts, and whoever shows it says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from alignloop.errors import NumericsError
from alignloop.judges.intervals import Estimate
from alignloop.judges.seeds import t_interval

Expected = Literal["above", "below", "within"]
Verdict = Literal["held", "not held", "undecided"]
Basis = Literal["seeds", "prompts"]
Unit = Literal["share", "nats", "number"]
"""How an effect is written: in percentage points, in nats, or as a plain number."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence that can turn out false."""

    key: str
    text: str
    """What is expected, as a sentence; the page shows it beside the verdict."""
    source: str
    """Where it comes from: a section of the paper."""
    effect: str
    """What the number is: `validation loss after 4 epochs less after 1`."""
    expected: Expected
    """`above` or `below` the margin; or `within` the margin on both sides of 0."""
    margin: float = 0.0
    """For `above` 0 is the usual one, and -0.1 says: no worse than by 0.1."""
    unit: Unit = "number"


@dataclass(frozen=True, slots=True)
class Effect:
    """What one seed measured of a claim's effect."""

    seed: int
    value: float
    low: float
    high: float
    """The 95 % bootstrap interval inside this seed."""
    n: int
    """Independent units that were resampled: prompts, or titles."""
    units: str = "prompts"

    @classmethod
    def of(cls, seed: int, estimate: Estimate, units: str = "prompts") -> Effect:
        """The effect whose mean and interval a bootstrap gave."""
        return cls(seed, estimate.mean, estimate.low, estimate.high, estimate.n, units)


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim, what every seed measured of it, and the verdict."""

    claim: Claim
    effects: Sequence[Effect]
    mean: float
    low: float
    high: float
    basis: Basis
    """What the interval is over."""
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """For the study's file."""
        claim = self.claim
        return {
            "key": claim.key,
            "text": claim.text,
            "source": claim.source,
            "effect": claim.effect,
            "unit": claim.unit,
            "expected": claim.expected,
            "margin": claim.margin,
            "verdict": self.verdict,
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "interval_over": self.basis,
            "seeds": [
                {
                    "seed": one.seed,
                    "effect": one.value,
                    "low": one.low,
                    "high": one.high,
                    "n": one.n,
                    "units": one.units,
                }
                for one in self.effects
            ],
        }


def judge(claim: Claim, effects: Sequence[Effect]) -> Judged:
    """The verdict on a claim from its effect in every seed.

    Raises:
        NumericsError: a figure is not finite.
        ValueError: there is no effect, or a seed comes twice.
    """
    if not effects or len({one.seed for one in effects}) < len(effects):
        raise ValueError(f"'{claim.key}' needs one effect per seed, and at least one")
    if not all(math.isfinite(x) for one in effects for x in (one.value, one.low, one.high)):
        raise NumericsError(f"the effect of '{claim.key}' is not finite; see the study's cells")
    mean, low, high = mean_of(effects)
    basis: Basis = "prompts" if len(effects) == 1 else "seeds"
    found = verdict(claim.expected, claim.margin, low, high)
    return Judged(claim, tuple(effects), mean, low, high, basis, found)


def mean_of(effects: Sequence[Effect]) -> tuple[float, float, float]:
    """Mean and ends of the t interval over seeds; of one seed its own interval over prompts."""
    if len(effects) == 1:
        return effects[0].value, effects[0].low, effects[0].high
    return t_interval([one.value for one in effects])


def verdict(expected: Expected, margin: float, low: float, high: float) -> Verdict:
    """`held` where the whole interval is where it was expected, `not held` where none of it is, else `undecided`."""
    match expected:
        case "above":
            holds, fails = low > margin, high <= margin
        case "below":
            holds, fails = high < margin, low >= margin
        case "within":
            holds, fails = -margin <= low and high <= margin, low > margin or high < -margin
    return "held" if holds else "not held" if fails else "undecided"
