"""What a ranking of K items is worth and costs: pairs, bits, a calculator of pairs per hour, break-even points.

S3's argument: reading dominates, so that ranking nine answers takes 40 seconds where four take 30, a third more time
for six times the pairs. Pairs of one ranking are not independent, though: B > C follows from B > A and A > C. The
second yardstick is what a ranking can tell at most, the logarithm of the number of weak orders (rankings with ties).
"""

from __future__ import annotations

import math
from functools import cache

SECONDS_PER_HOUR = 3600.0


def pairs(k: int) -> int:
    """C(k, 2), the comparisons in a ranking of k items.

    Raises:
        ValueError: k is below 2.
    """
    _check(k)
    return math.comb(k, 2)


@cache
def weak_orders(k: int) -> int:
    """Rankings of k items where ties are allowed (Fubini numbers): 1, 3, 13, 75, 541, 4683, ... for k = 1, 2, 3, ...

    Raises:
        ValueError: k is negative.
    """
    if k < 0:
        raise ValueError("a number of items cannot be negative")
    if k == 0:
        return 1
    # i items share the first place, and the others follow in any weak order
    return sum(math.comb(k, i) * weak_orders(k - i) for i in range(1, k + 1))


def bits(k: int) -> float:
    """log2 of the number of weak orders: what a ranking of k items tells at most, were all of them equally likely.

    Raises:
        ValueError: k is below 2.
    """
    _check(k)
    return math.log2(weak_orders(k))


def seconds_per_ranking(k: int, read_s: float, per_item_s: float) -> float:
    """Time for a ranking: what is read once (the prompt), and what each item takes.

    Raises:
        ValueError: k is below 2, a time is negative, or both are 0.
    """
    _check(k)
    if read_s < 0 or per_item_s < 0 or read_s + per_item_s == 0:
        raise ValueError("times are at least 0, and not both 0")
    return read_s + k * per_item_s


def pairs_per_hour(k: int, read_s: float, per_item_s: float) -> float:
    """Comparisons in an hour of rankings of k items, without a pause and without ties.

    Raises:
        ValueError: as `seconds_per_ranking`.
    """
    return SECONDS_PER_HOUR * pairs(k) / seconds_per_ranking(k, read_s, per_item_s)


def bits_per_hour(k: int, read_s: float, per_item_s: float) -> float:
    """Bits in an hour of rankings of k items, at most.

    Raises:
        ValueError: as `seconds_per_ranking`.
    """
    return SECONDS_PER_HOUR * bits(k) / seconds_per_ranking(k, read_s, per_item_s)


def reading_model(small: tuple[int, float], large: tuple[int, float]) -> tuple[float, float]:
    """(read_s, per_item_s) of the straight line through two points (k, seconds): (4, 30) and (9, 40) give (22, 2).

    Raises:
        ValueError: both have the same k, or the line would make a time negative.
    """
    (k_small, t_small), (k_large, t_large) = small, large
    if k_small == k_large:
        raise ValueError("two numbers of items are needed to tell reading from ranking")
    per_item = (t_large - t_small) / (k_large - k_small)
    read = t_small - k_small * per_item
    if per_item < 0 or read < 0:
        raise ValueError(
            f"no reading time fits: {read:.1f} s to read and {per_item:.1f} s per item"
        )
    return read, per_item


def break_even_by_pairs(large: int, small: int) -> float:
    """How many times longer a ranking of `large` items may take before `small` gives more pairs per hour: 6.0 (9, 4).

    Raises:
        ValueError: a number of items is below 2.
    """
    return pairs(large) / pairs(small)


def break_even_by_bits(large: int, small: int) -> float:
    """The same by information: 3.65 for nine items against four.

    Raises:
        ValueError: a number of items is below 2.
    """
    return bits(large) / bits(small)


def _check(k: int) -> None:
    if k < 2:
        raise ValueError(f"a ranking needs at least two items, not {k}")
