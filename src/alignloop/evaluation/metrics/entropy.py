"""How strongly a model prefers one of two sentences: the entropy of the choice, in bits (InstructGPT, D.1)."""

from __future__ import annotations

import math


def binary_entropy(first: float, second: float) -> float:
    """Entropy in bits of the choice between two texts of these total log-probabilities, in nats.

    Their probabilities are scaled to add up to 1. 1 bit: no preference; 0: one of them for certain.
    """
    share = preference(first, second)
    return sum(-p * math.log2(p) for p in (share, 1 - share) if p > 0)


def preference(first: float, second: float) -> float:
    """Probability of the first text where it is one of the two."""
    difference = second - first
    if difference > 0:  # the exponential of the smaller one, which cannot overflow
        return math.exp(-difference) / (1 + math.exp(-difference))
    return 1 / (1 + math.exp(difference))
