"""Signs that a run is going wrong though every number is finite. Pure functions: figures in, a sentence or None out."""

from __future__ import annotations

import math
from collections.abc import Sequence

WINDOW = 10
"""Iterations that are compared with as many before them."""
PTX_SHARE = 10.0
"""The pretraining gradient is too strong above this multiple of PPO's."""
START_SHARE = 0.05
"""The average holds too much of the initial weights above this share."""
FAR = 50.0
"""Nats per sequence: N+ saw reward models over-optimised at 50 to 85, with win rates below 20 %."""


def overoptimised(scores: Sequence[float], heldout: Sequence[float]) -> str | None:
    """Whether the reward rises while the held-out judge falls, each by more than twice its standard error.

    Args:
        scores, heldout: one mean per iteration so far.
    """
    if len(scores) < 2 * WINDOW:
        return None
    (rise, rise_error), (fall, fall_error) = _change(scores), _change(heldout)
    if rise <= 2 * rise_error or fall >= -2 * fall_error:
        return None
    return (
        f"the reward rose by {rise:.3f} over the last {WINDOW} iterations while the held-out judge fell by "
        f"{-fall:.3f}: the policy may be exploiting the reward; raise kl_coef, stop here, or collect new comparisons"
    )


def ptx_dominates(ppo_norm: float, ptx_norm: float) -> str | None:
    """Whether the pretraining gradient drowns PPO's."""
    if ptx_norm <= PTX_SHARE * ppo_norm:
        return None
    return (
        f"the pretraining gradient is {ptx_norm / max(ppo_norm, 1e-30):.0f} times PPO's: the policy hardly learns "
        "from the reward; lower ptx_coef"
    )


def start_in_average(decay: float, updates: int) -> str | None:
    """Whether the exported average will still hold much of the weights that the run began with."""
    share = decay**updates
    if share <= START_SHARE:
        return None
    wanted = math.floor(1000 * START_SHARE ** (1 / updates)) / 1000
    return (
        f"after {updates} updates the average still holds {100 * share:.0f} % of the initial weights; "
        f"ema_decay = {wanted} would leave {100 * START_SHARE:.0f} %, or set export = 'raw'"
    )


def far_from_reference(kl: float) -> str | None:
    """Whether the policy has gone where a reward model knows little."""
    if kl <= FAR:
        return None
    return (
        f"the KL to the reference is {kl:.0f} nats per sequence: reward models are seldom right that far away; "
        "raise kl_coef or lower the learning rate"
    )


def _change(values: Sequence[float]) -> tuple[float, float]:
    """(mean of the last window less mean of the one before, its standard error)."""
    late, early = values[-WINDOW:], values[-2 * WINDOW : -WINDOW]
    difference = math.fsum(late) / WINDOW - math.fsum(early) / WINDOW
    error = math.sqrt((_variance(late) + _variance(early)) / WINDOW)
    return difference, error


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
