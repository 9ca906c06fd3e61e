"""Best of n: what the best of k answers is worth, from n >= k of them, and how far it is from the policy."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def best_of_k(
    scores: Float[Tensor, "M n"], values: Float[Tensor, "M n"], k: int
) -> Float[Tensor, " M"]:
    """Expected value of the answer with the highest score among k of the n, every choice of k being as likely.

    Averaged over draws of the n answers, that is exactly what the best of k fresh ones is worth. The i-th smallest
    score is the highest of C(i-1, k-1) of the C(n, k) choices.

    Args:
        scores: what the best is chosen by.
        values: what it is then worth: the scores themselves, or what another judge says.
    """
    n = scores.shape[1]
    chances = [math.comb(i, k - 1) / math.comb(n, k) for i in range(n)]
    order = scores.argsort(dim=1, stable=True)
    return values.gather(1, order) @ torch.tensor(chances, dtype=values.dtype)


def best_of_k_kl(k: int) -> float:
    """log k - (k-1)/k, in nats: the KL divergence of best of k from the policy where no two answers score alike, and an
    upper bound where some do [BON-01]."""
    return math.log(k) - (k - 1) / k


def doublings(n: int) -> list[int]:
    """1, 2, 4, ... and n itself: the k that are reported."""
    return sorted({n, *(2**i for i in range(n.bit_length()))})
