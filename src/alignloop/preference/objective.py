"""DPO: a policy's log-ratio to the reference, times beta, is the reward that pairs of completions are judged by.

Shape letters: M prompts, C completions of all of them together, P pairs of completions of one prompt.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignloop.tensors import Summed, sum_over_prompts


def preference_loss(
    margins: Float[Tensor, " P"],
    prompt_of_pair: Int[Tensor, " P"],
    kept_pairs: Float[Tensor, " M"],
    *,
    beta: float,
    loss: Literal["sigmoid", "ipo"] = "sigmoid",
    label_smoothing: float = 0.0,
) -> Summed:
    """Sum over prompts of the mean over its pairs [DPO-01].

    `sigmoid` is -(1-e) log sigmoid(beta h) - e log sigmoid(-beta h): Rafailov et al. 2023, Eq. 7; with e > 0 Mitchell
    2023. `ipo` is (h - 1/(2 beta))^2: Azar et al. 2023, Eq. 17.

    Args:
        margins: h, one per pair: log-ratio to the reference of the preferred completion less that of the other.
        prompt_of_pair: which of the M prompts each pair belongs to.
        kept_pairs: per prompt its number of pairs without ties; at least 1.
        label_smoothing: e, for `sigmoid`.

    Returns:
        The sum over prompts and how many prompts have at least one pair.
    """
    if loss == "ipo":
        of_pairs = (margins - 1 / (2 * beta)) ** 2
    else:
        right, wrong = -F.logsigmoid(beta * margins), -F.logsigmoid(-beta * margins)
        of_pairs = (1 - label_smoothing) * right + label_smoothing * wrong
    return sum_over_prompts(of_pairs, prompt_of_pair, kept_pairs)


def pair_margins(
    log_ratios: Float[Tensor, " C"], preferred: Int[Tensor, " P"], other: Int[Tensor, " P"]
) -> Float[Tensor, " P"]:
    """Log-ratio to the reference of each pair's preferred completion, less that of the other."""
    return log_ratios[preferred] - log_ratios[other]


def best_loss(
    log_probs: Float[Tensor, " C"], lengths: Int[Tensor, " C"], is_best: Bool[Tensor, " C"]
) -> Summed:
    """Negative log-likelihood of the completions ranked best, and their tokens [DPO-03]."""
    return Summed(-log_probs[is_best].sum(), int(lengths[is_best].sum()))
