"""Eq. 1: rankings are learned as log-odds of preference between all pairs of a prompt's completions; and its rivals."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignloop.tensors import Summed, sum_over_prompts, wins


def ranking_loss(
    scores: Float[Tensor, " C"],
    preferred: Int[Tensor, " P"],
    other: Int[Tensor, " P"],
    prompt_of_pair: Int[Tensor, " P"],
    targets: Float[Tensor, " P"],
    margins: Float[Tensor, " P"],
    divisors: Float[Tensor, " M"],
) -> Summed:
    """Sum over prompts of (1/divisor) * sum over its pairs of the cross-entropy of sigmoid(r_preferred - r_other - m).

    Args:
        scores: one per completion of the M prompts together.
        preferred, other: indices into `scores`, one per pair.
        prompt_of_pair: which of the M prompts each pair belongs to.
        targets: 1 where the preferred one is, 0.5 for a tie [RM-04].
        margins: what the preferred score must be ahead by before the pair counts as even [RM-06]; 0 in Eq. 1.
        divisors: per prompt its number of kept pairs, or K(K-1)/2 with the ties [RM-01]; at least 1.

    Returns:
        The sum over prompts and how many prompts have at least one pair: Eq. 1 is total / count.
    """
    ahead = scores[preferred] - scores[other] - margins
    # t * -log sigmoid(a) + (1 - t) * -log sigmoid(-a), with log sigmoid(-a) = log sigmoid(a) - a.
    losses = -F.logsigmoid(ahead) + (1.0 - targets) * ahead
    return sum_over_prompts(losses, prompt_of_pair, divisors)


def best_of_k_loss(
    scores: Float[Tensor, " C"],
    prompt_of_completion: Int[Tensor, " C"],
    is_best: Bool[Tensor, " C"],
) -> Summed:
    """Sum over prompts of the cross-entropy between softmax(r) over its K completions and which one is the best.

    Args:
        is_best: at least one per prompt; several share the target [RM-05].

    Returns:
        The sum over prompts, and how many there are.
    """
    prompts = int(prompt_of_completion.max()) + 1
    # The largest score of each prompt is taken off before exp, so that none overflows; it cancels in the gradient.
    largest = scores.detach().new_full((prompts,), -torch.inf)
    largest = largest.scatter_reduce(0, prompt_of_completion, scores.detach(), "amax")
    shifted = scores - largest[prompt_of_completion]
    sums = torch.zeros_like(largest).index_add(0, prompt_of_completion, shifted.exp())
    log_shares = shifted - sums.log()[prompt_of_completion]
    best = torch.zeros_like(largest).index_add(0, prompt_of_completion, is_best.to(scores.dtype))
    return Summed(-(log_shares / best[prompt_of_completion])[is_best].sum(), prompts)


def pair_accuracy(
    scores: Float[Tensor, " C"],
    preferred: Int[Tensor, " P"],
    other: Int[Tensor, " P"],
    is_ordered: Bool[Tensor, " P"],
) -> Summed:
    """Pairs whose preferred completion scores higher, and pairs in all; equal scores count one half; no ties."""
    ahead = (scores[preferred] - scores[other])[is_ordered]
    return wins(ahead)
