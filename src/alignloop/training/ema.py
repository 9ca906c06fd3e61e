"""Exponential moving average of the weights, in float32 whatever the model's dtype.

In bfloat16 a decay of 0.992 rounds most updates away, so the average would never move [PPO-12]. Each rank averages the
part of the weights that it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from alignloop.distributed import own


class EMA:
    """theta_ema <- decay * theta_ema + (1 - decay) * theta, once per update."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {
            name: own(parameter).detach().float().clone()
            for name, parameter in model.named_parameters()
        }

    @torch.no_grad()
    def step(self, model: nn.Module) -> None:
        """Take in the weights after an update."""
        for name, parameter in model.named_parameters():
            self.weights[name].lerp_(own(parameter).detach().float(), 1 - self.decay)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from an average that was saved."""
        for name, weight in self.weights.items():
            weight.copy_(weights[name])

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """Within the block the model has the averaged weights."""
        raw = {
            name: own(parameter).detach().clone() for name, parameter in model.named_parameters()
        }
        _copy(self.weights, model)
        try:
            yield
        finally:
            _copy(raw, model)


@torch.no_grad()
def _copy(weights: dict[str, Tensor], model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        own(parameter).copy_(weights[name])
