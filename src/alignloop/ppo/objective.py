"""The mathematics of step 3: rewards with a KL penalty, advantages, clipped losses. Shapes: B episodes, T positions.

Every [B, T] tensor is aligned with the tokens; `is_response` marks the response's own tokens, EOS included. Formulas
follow Ziegler et al. 2019 and Schulman et al. 2017; what InstructGPT leaves open has a ledger id in docs/numerics.md.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from alignloop.tensors import Summed, masked_sum


def penalised_scores(
    scores: Float[Tensor, " B"],
    finished: Bool[Tensor, " B"],
    missing_eos_penalty: float,
    missing_eos_score: float | None = None,
) -> Float[Tensor, " B"]:
    """Scores less the penalty where a response was cut off: subtracted, so that a low score stays low [PPO-08].

    Args:
        missing_eos_score: replaces the score of such a response instead, as Ziegler et al. did.
    """
    if missing_eos_score is not None:
        return torch.where(finished, scores, torch.full_like(scores, missing_eos_score))
    return scores - missing_eos_penalty * (~finished).to(scores.dtype)


def kl_rewards(
    scores: Float[Tensor, " B"],
    kl: Float[Tensor, "B T"],
    is_response: Bool[Tensor, "B T"],
    kl_coef: float,
) -> Float[Tensor, "B T"]:
    """Per-token rewards: -kl_coef * kl everywhere, plus the score at the last response token.

    Their sum over a row is score - kl_coef * sum of kl.

    Args:
        kl: log pi - log pi_ref of the drawn tokens, as in the paper, or the exact KL at each state [PPO-15].
    """
    rewards = torch.where(is_response, -kl_coef * kl, torch.zeros_like(kl))
    positions = torch.arange(is_response.shape[1])
    last = torch.where(is_response, positions, torch.full_like(positions, -1)).amax(dim=1)
    rows = torch.arange(len(last))
    return rewards.index_put((rows, last), scores.to(rewards.dtype), accumulate=True)


def advantages_and_returns(
    rewards: Float[Tensor, "B T"],
    values: Float[Tensor, "B T"],
    is_response: Bool[Tensor, "B T"],
    discount: float,
    gae_lambda: float,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Generalised advantage estimates A and returns A + V; zeros outside the response.

    delta_t = r_t + discount * V_{t+1} - V_t with V = 0 after the last token; A_t = delta_t + discount * lambda *
    A_{t+1}. Positions that do not count are stepped over, so a gap in the response changes nothing. A response that
    was cut off ends its episode like any other [PPO-10].
    """
    advantages = torch.zeros_like(rewards)
    next_value = torch.zeros_like(rewards[:, 0])
    next_advantage = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        counts = is_response[:, t]
        delta = rewards[:, t] + discount * next_value - values[:, t]
        advantage = delta + discount * gae_lambda * next_advantage
        next_advantage = torch.where(counts, advantage, next_advantage)
        next_value = torch.where(counts, values[:, t], next_value)
        advantages[:, t] = torch.where(counts, advantage, torch.zeros_like(advantage))
    returns = torch.where(is_response, advantages + values, torch.zeros_like(values))
    return advantages, returns


def policy_loss(
    log_probs: Float[Tensor, "B T"],
    old_log_probs: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    is_response: Bool[Tensor, "B T"],
    clip_range: float,
) -> Summed:
    """Sum over response tokens of max(-A * ratio, -A * clip(ratio, 1 - c, 1 + c))."""
    ratio = torch.exp(
        torch.where(is_response, log_probs - old_log_probs, torch.zeros_like(log_probs))
    )
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return masked_sum(torch.maximum(-advantages * ratio, -advantages * clipped), is_response)


def value_loss(
    values: Float[Tensor, "B T"],
    old_values: Float[Tensor, "B T"],
    returns: Float[Tensor, "B T"],
    is_response: Bool[Tensor, "B T"],
    clip_range: float | None,
) -> Summed:
    """Sum over response tokens of 0.5 * max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2) [PPO-03]."""
    error = (values - returns) ** 2
    if clip_range is not None:
        clipped = torch.clamp(values, old_values - clip_range, old_values + clip_range)
        error = torch.maximum(error, (clipped - returns) ** 2)
    return masked_sum(0.5 * error, is_response)


def adaptive_kl_coef(
    kl_coef: float, mean_kl: float, target: float, horizon: int, episodes: int
) -> float:
    """Ziegler et al.'s controller: the coefficient follows the mean per-sequence KL towards its target [PPO-11]."""
    error = min(max(mean_kl / target - 1, -0.2), 0.2)
    return kl_coef * (1 + error * episodes / horizon)
