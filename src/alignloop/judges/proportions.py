"""Shares of independent cases: the Wilson interval, the exact test of a fair coin, and planning for a width."""

from __future__ import annotations

import math

NORMAL_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution: 95 % lie within it on both sides."""


def wilson(successes: float, cases: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927): it never leaves [0, 1], and has a width at 0 and 1 too.

    Args:
        successes: how many of the cases.
        cases: independent ones, at least one.

    Raises:
        ValueError: there are no cases, or more successes than cases.
    """
    if cases < 1 or not 0 <= successes <= cases:
        raise ValueError(f"{successes} of {cases} is no share")
    share, squared = successes / cases, NORMAL_95**2
    centre = share + squared / (2 * cases)
    spread = NORMAL_95 * math.sqrt(share * (1 - share) / cases + squared / (4 * cases * cases))
    whole = 1 + squared / cases
    # exact at the ends, where rounding would leave a crumb
    low = (centre - spread) / whole if successes else 0.0
    return low, (centre + spread) / whole if successes < cases else 1.0


def fair_coin_p(heads: int, tosses: int) -> float:
    """Exact two-sided p-value of so many heads from a fair coin: the chance of a result that is no likelier.

    Raises:
        ValueError: more heads than tosses.
    """
    if not 0 <= heads <= tosses:
        raise ValueError(f"{heads} heads of {tosses} tosses cannot be")
    fewer = min(heads, tosses - heads)
    if 2 * fewer == tosses:
        return 1.0
    ways, tail = 1, 0
    for at in range(fewer + 1):
        tail += ways
        ways = ways * (tosses - at) // (at + 1)
    return 2 * tail / 2**tosses  # whole numbers up to here, so that nothing is lost


def half_width(cases: int, share: float = 0.5) -> float:
    """Half the width of a 95 % interval around a share, before anything is collected: 0.098 of 100 cases at 1/2.

    Args:
        cases: independent ones (prompts), at least one.
        share: that is expected; 1/2 is the widest.

    Raises:
        ValueError: there are no cases, or the share is outside [0, 1].
    """
    if cases < 1 or not 0 <= share <= 1:
        raise ValueError("a plan needs at least one case and a share from 0 to 1")
    return NORMAL_95 * math.sqrt(share * (1 - share) / cases)


def cases_for(half: float, share: float = 0.5) -> int:
    """Fewest cases whose interval around `share` is at most `half` wide on either side.

    Raises:
        ValueError: `half` is not above 0, or the share is outside [0, 1].
    """
    if half <= 0 or not 0 <= share <= 1:
        raise ValueError("a plan needs a width above 0 and a share from 0 to 1")
    wanted = max(math.ceil(share * (1 - share) * (NORMAL_95 / half) ** 2), 1)
    while wanted > 1 and half_width(wanted - 1, share) <= half:  # what rounding added
        wanted -= 1
    return wanted
