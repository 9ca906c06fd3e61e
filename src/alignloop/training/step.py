"""One update: gradients of any number of micro-batches are summed, checked, clipped and applied once."""

from __future__ import annotations

import contextlib
import math

import torch
from torch import Tensor, nn

from alignloop.config import Precision
from alignloop.distributed import World, own
from alignloop.errors import NumericsError
from alignloop.training.optimizer import OptimizerConfig, prepare_step


def autocast(precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Matrix products in bfloat16 where asked for; weights, sums and the softmax stay in float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(torch.get_default_device().type, dtype=torch.bfloat16)


def backward(loss: Tensor, term: str, step: int) -> float:
    """Add a loss's gradient to the buffers and return its value.

    Args:
        step: updates before this one.

    Raises:
        NumericsError: the loss is not finite; no weight was changed. Steps are counted from 1 there, as in the logs.
    """
    value = float(loss.detach())
    if not math.isfinite(value):
        raise NumericsError(
            f"step {step + 1}: the {term} loss is {value}; the last checkpoint is good: "
            "look at that step's data, or lower the learning rate"
        )
    loss.backward()
    return value


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: OptimizerConfig,
    *,
    step: int,
    total: int,
    world: World,
    term: str,
) -> tuple[float, float]:
    """Sum over ranks, check, clip, step, clear. Returns (gradient norm before clipping, learning rate used).

    Args:
        step: updates before this one.

    Raises:
        NumericsError: the gradient is not finite, and no weight was changed; or a weight is not after the step, and the
            model is lost.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    world.sum_gradients(parameters)
    total_norm = world.norm([p.grad for p in parameters if p.grad is not None])
    norm = float(total_norm)
    if not math.isfinite(norm):
        _clear(model, optimizer)
        raise NumericsError(
            f"step {step + 1}: the gradient of the {term} loss is {norm}; the last checkpoint is good: "
            "lower the learning rate, set clip_norm or use precision = 'float32'"
        )
    if config.clip_norm is not None:
        share = (config.clip_norm / (total_norm + 1e-6)).clamp(max=1.0)
        for parameter in parameters:
            if parameter.grad is not None:
                own(parameter.grad).mul_(share)
    rate = prepare_step(optimizer, config, step, total)
    optimizer.step()
    _clear(model, optimizer)
    # The norm overflows as well where weights are finite and hopeless: neither is to reach a checkpoint or an artefact.
    if not math.isfinite(float(world.norm(parameters))):
        raise NumericsError(
            f"step {step + 1}: weights are no longer finite after the update of the {term} loss; the last checkpoint "
            "is good: lower the learning rate"
        )
    return norm, rate


def _clear(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Drop the gradients of the model, and those of its shards that the optimizer holds."""
    model.zero_grad(set_to_none=True)
    optimizer.zero_grad(set_to_none=True)
