"""Every objective once more, from the published formulas, in numpy float64 and explicit loops; no code of ours.

Each function takes sequences of their own lengths, without padding or masks, so that nothing here can share a mistake
with code that has both. Sources: P, Ouyang et al. 2022; Z19, Ziegler et al. 2019; GAE, Schulman et al. 2015; PPO,
Schulman et al. 2017; Adam, Kingma and Ba 2014.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = Sequence[Array]


def gradient(function: Callable[[Array], float], at: Array, step: float = 1e-6) -> Array:
    """Central differences: exact to about ten digits where nothing is clipped within `step`."""
    found = np.zeros_like(at)
    for i in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[i] += step
        down[i] -= step
        found[i] = (function(up) - function(down)) / (2 * step)
    return found


# --- reward model and likelihoods ---


def ranking_loss(
    scores: Sequence[float],
    ranks: Sequence[int],
    divisor: str,
    *,
    halves_ties: bool = False,
    margin: float = 0.0,
    margin_per_rank: float = 0.0,
) -> float:
    """P, Eq. 1, of one prompt: every pair by itself. Settings as in the config.

    Ties are dropped (P, C.2) or count as half a preference each way (Christiano et al. 2017); a margin is taken off
    the difference of an ordered pair, as much again for every distinct rank between the two.
    """
    losses: list[float] = []
    pairs = 0
    distinct = sorted(set(ranks))
    for i in range(len(ranks)):
        for j in range(i + 1, len(ranks)):
            pairs += 1
            if ranks[i] != ranks[j]:
                winner, loser = (i, j) if ranks[i] < ranks[j] else (j, i)
                gap = distinct.index(ranks[loser]) - distinct.index(ranks[winner])
                ahead = scores[winner] - scores[loser] - margin - margin_per_rank * gap
                losses.append(math.log(1 + math.exp(-ahead)))
            elif halves_ties:
                ahead = scores[i] - scores[j]
                losses.append(
                    0.5 * math.log(1 + math.exp(-ahead)) + 0.5 * math.log(1 + math.exp(ahead))
                )
    return sum(losses) / (pairs if divisor == "all_pairs" else max(len(losses), 1))


def best_of_k_loss(scores: Sequence[float], ranks: Sequence[int]) -> float:
    """Z19, Eq. 1, of one prompt: minus the log of the best completion's share, the mean where several are best."""
    shares = [math.exp(s) / sum(map(math.exp, scores)) for s in scores]
    best = [
        math.log(share) for share, rank in zip(shares, ranks, strict=True) if rank == min(ranks)
    ]
    return -sum(best) / len(best)


def preference_loss(
    log_ratios: Sequence[float],
    lengths: Sequence[int],
    ranks: Sequence[int],
    *,
    beta: float,
    loss: str,
    label_smoothing: float,
    length_normalised: bool,
) -> float:
    """Of one prompt, the mean over its pairs: Rafailov et al. 2023, Eq. 7, or Azar et al. 2023, Eq. 17."""
    rewards = [
        ratio / length if length_normalised else ratio
        for ratio, length in zip(log_ratios, lengths, strict=True)
    ]
    losses: list[float] = []
    for i in range(len(ranks)):
        for j in range(len(ranks)):
            if ranks[i] < ranks[j]:
                h = rewards[i] - rewards[j]
                right, wrong = (math.log(1 + math.exp(-sign * beta * h)) for sign in (1, -1))
                losses.append(
                    (h - 1 / (2 * beta)) ** 2
                    if loss == "ipo"
                    else (1 - label_smoothing) * right + label_smoothing * wrong
                )
    return sum(losses) / len(losses)


def log_softmax(logits: Array) -> Array:
    """Over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def mean_nll(log_probs: Rows) -> float:
    """SFT's loss and the pretraining term of Eq. 2: one mean over all tokens, so that a long row weighs more."""
    return -sum(float(row.sum()) for row in log_probs) / sum(len(row) for row in log_probs)


# --- rewards and advantages ---


def kl_rewards(score: float, kl: Array, kl_coef: float) -> Array:
    """P, 3.5, and Z19: a penalty for every token, the score for the last."""
    rewards = [-kl_coef * float(k) for k in kl]
    rewards[-1] += score
    return np.array(rewards)


def exact_kl(logits: Array, reference_logits: Array) -> float:
    """KL of two whole distributions, as it is defined."""
    p, q = np.exp(log_softmax(logits)), np.exp(log_softmax(reference_logits))
    return sum(float(a * math.log(a / b)) for a, b in zip(p, q, strict=True))


def advantages(rewards: Array, values: Array, discount: float, gae_lambda: float) -> Array:
    """GAE, Eq. 16: for each token the sum over all later errors, weighted; nothing is worth anything after the last."""
    after = [*values[1:], 0.0]
    errors = [r + discount * later - v for r, later, v in zip(rewards, after, values, strict=True)]
    return np.array(
        [
            sum(
                (discount * gae_lambda) ** (k - t) * float(errors[k]) for k in range(t, len(errors))
            )
            for t in range(len(errors))
        ]
    )


def whitened(rows: Rows, *, shift_mean: bool = True) -> list[Array]:
    """Z19: all tokens of all rows together, with the population's variance."""
    every = np.concatenate(rows)
    mean = float(every.mean())
    variance = float(((every - mean) ** 2).mean())
    return [(r - mean) / math.sqrt(variance + 1e-8) + (0 if shift_mean else mean) for r in rows]


# --- the losses of PPO ---


def policy_loss(log_probs: Rows, old: Rows, advantages: Rows, clip_range: float) -> float:
    """PPO, Eq. 7, with its sign turned: the mean over all tokens."""
    total, count = 0.0, 0
    for new_row, old_row, advantage_row in zip(log_probs, old, advantages, strict=True):
        for new, before, advantage in zip(new_row, old_row, advantage_row, strict=True):
            ratio = math.exp(new - before)
            clipped = min(max(ratio, 1 - clip_range), 1 + clip_range)
            total -= min(ratio * advantage, clipped * advantage)
            count += 1
    return total / count


def value_loss(values: Rows, old: Rows, returns: Rows, clip_range: float | None) -> float:
    """Z19: one half of the larger of two squared errors, the mean over all tokens."""
    total, count = 0.0, 0
    for new_row, old_row, return_row in zip(values, old, returns, strict=True):
        for new, before, due in zip(new_row, old_row, return_row, strict=True):
            error = (new - due) ** 2
            if clip_range is not None:
                near = min(max(new, before - clip_range), before + clip_range)
                error = max(error, (near - due) ** 2)
            total += 0.5 * error
            count += 1
    return total / count


def adaptive_kl(kl_coef: float, kl_of_rows: Sequence[float], target: float, horizon: int) -> float:
    """Z19, 2.2: proportional control in log space, the error held within 0.2, once per batch."""
    mean = sum(kl_of_rows) / len(kl_of_rows)
    error = max(-0.2, min(0.2, (mean - target) / target))
    return kl_coef + kl_coef * error * len(kl_of_rows) / horizon


# --- what moves the weights ---


def moving_average(start: Array, weights: Sequence[Array], decay: float) -> Array:
    """P, C.4, by its closed form: each set of weights counts (1 - decay) times decay to the power of its age."""
    n = len(weights)
    return decay**n * start + sum(
        ((1 - decay) * decay ** (n - 1 - k) * w for k, w in enumerate(weights)),
        np.zeros_like(start),
    )


def adam_steps(
    gradients: Sequence[Array],
    *,
    style: str,
    rate: float,
    eps: float,
    betas: tuple[float, float] = (0.9, 0.95),
) -> list[Array]:
    """Adam: what each update adds. In TensorFlow's style the rate carries the corrections, and epsilon does not."""
    m = v = np.zeros_like(gradients[0])
    found: list[Array] = []
    for t, gradient in enumerate(gradients, start=1):
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        first, second = 1 - betas[0] ** t, 1 - betas[1] ** t
        if style == "tensorflow":
            found.append(-rate * math.sqrt(second) / first * m / (np.sqrt(v) + eps))
        else:
            found.append(-rate * (m / first) / (np.sqrt(v / second) + eps))
    return found
