"""Eq. 1: rankings are learned as log-odds of preference between all pairs of one prompt's completions."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from alignloop.tensors import Summed, sum_over_prompts, wins


def ranking_loss(
    scores: Float[Tensor, " C"],
    preferred: Int[Tensor, " P"],
    other: Int[Tensor, " P"],
    prompt_of_pair: Int[Tensor, " P"],
    divisors: Float[Tensor, " M"],
) -> Summed:
    """Sum over prompts of (1/divisor) * sum over its pairs of -log sigmoid(r_preferred - r_other).

    Args:
        scores: one per completion of the M prompts together.
        preferred, other: indices into `scores`, one per pair; ties are not among them.
        prompt_of_pair: which of the M prompts each pair belongs to.
        divisors: per prompt its number of kept pairs, or K(K-1)/2 with the ties [RM-01]; at least 1.

    Returns:
        The sum over prompts and how many prompts have at least one pair: Eq. 1 is total / count.
    """
    margins = scores[preferred] - scores[other]
    return sum_over_prompts(-F.logsigmoid(margins), prompt_of_pair, divisors)


def pair_accuracy(
    scores: Float[Tensor, " C"], preferred: Int[Tensor, " P"], other: Int[Tensor, " P"]
) -> Summed:
    """Pairs whose preferred completion scores higher, and pairs in all; equal scores count one half."""
    return wins(scores[preferred] - scores[other])
