"""How long the rest of a call of the loop will take: from what its steps took so far. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from alignloop.workflow.loop.steps import Action, Step

_EFFORT: dict[Action, float] = {
    "text": 10.0,
    "lexicon": 15.0,
    "begin with stories": 10.0,
    "sft": 130.0,
    "sample": 60.0,
    "simulate": 10.0,
    "reward model": 85.0,
    "baseline": 15.0,
    "rl_init": 110.0,
    "ppo": 140.0,
    "compare": 45.0,
    "check reward models": 15.0,
    "report": 15.0,
}
"""Seconds of each step with the demo's model and recipes, for those that were not measured yet; 1 where none stands."""


def effort(action: Action) -> float:
    """How long a step takes in proportion to others."""
    return _EFFORT.get(action, 1.0)


@dataclass(slots=True)
class Pace:
    """What steps of one call took."""

    _seconds: dict[Action, list[float]] = field(default_factory=dict[Action, list[float]])

    def note(self, action: Action, seconds: float) -> None:
        """A step is done."""
        self._seconds.setdefault(action, []).append(seconds)

    def left(self, steps: Iterable[Step]) -> float | None:
        """Seconds that these steps will take: like the last of their kind, or in proportion to all that were measured.

        None where nothing was measured that is long enough to tell.
        """
        spent = sum(sum(found) for found in self._seconds.values())
        worth = sum(effort(action) * len(found) for action, found in self._seconds.items())
        if worth < 60.0:
            return None
        return sum(
            self._seconds[step.action][-1]
            if step.action in self._seconds
            else effort(step.action) * spent / worth
            for step in steps
        )


def told(seconds: float | None) -> str:
    """`about 12 min left`; nothing where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90.0:
        return f"about {max(round(seconds / 10.0), 1) * 10} s left"
    minutes = round(seconds / 60.0)
    if minutes < 90:
        return f"about {minutes} min left"
    return f"about {seconds / 3600.0:.1f} h left"
