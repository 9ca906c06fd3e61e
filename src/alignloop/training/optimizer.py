"""Adam with the paper's betas, and the learning-rate schedules that the stages name."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from alignloop.config import Config
from alignloop.distributed import own

Schedule = Literal["constant", "cosine", "trapezoid"]


class OptimizerConfig(Config):
    """How weights are updated."""

    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate."""
    schedule: Schedule = "cosine"
    """`constant`; `cosine` to `final_share` of the peak; `trapezoid`: constant, then linear to `final_share`."""
    warmup_steps: int = Field(default=0, ge=0)
    """Updates of linear warm-up, from one tenth of the peak."""
    final_share: float = Field(default=0.1, ge=0, le=1)
    """Learning rate at the end, as a share of the peak."""
    decay_share: float = Field(default=0.2, gt=0, le=1)
    """`trapezoid`: share of the updates that the final decline takes."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Adam's first-moment decay."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Adam's second-moment decay."""
    eps: float = Field(default=1e-8, gt=0)
    """Adam's epsilon; where it is added, `adam_style` says."""
    adam_style: Literal["pytorch", "tensorflow"] = "pytorch"
    """Epsilon beside the bias-corrected root, or, as TensorFlow has it, beside the uncorrected one [OPT-01]."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay on matrices; vectors are never decayed."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Larger gradients are scaled down to this L2 norm, once, all terms together; the paper states none [OPT-02]."""


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over all trainable parameters of the model: of each, what this rank holds."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    held = [own(parameter) for parameter in parameters]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in held if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in held if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )

    def take_gradients(*_: object) -> None:
        for parameter, mine in zip(parameters, held, strict=True):
            mine.grad = None if parameter.grad is None else own(parameter.grad)

    optimizer.register_step_pre_hook(take_gradients)
    return optimizer


def prepare_step(
    optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int, total: int
) -> float:
    """Set learning rate and epsilon for update number `step` (from 0) of `total`; returns the learning rate.

    TensorFlow's Adam divides by sqrt(v) + eps, PyTorch's by sqrt(v) / sqrt(1 - beta2^t) + eps, so the one is the other
    with eps / sqrt(1 - beta2^t). There t counts the updates that were made; of those that `step` counts, `kl_stop` may
    have skipped some.
    """
    rate = learning_rate_at(step, total, config)
    eps = config.eps
    if config.adam_style == "tensorflow":
        made = next((int(moments["step"]) for moments in optimizer.state.values()), 0)
        eps /= math.sqrt(1 - config.beta2 ** (made + 1))
    for group in optimizer.param_groups:
        group["lr"], group["eps"] = rate, eps
    return rate


def learning_rate_at(step: int, total: int, config: OptimizerConfig) -> float:
    """Learning rate of update number `step` (from 0) of `total`."""
    if step < config.warmup_steps:
        share = 0.1 + 0.9 * step / config.warmup_steps
        return config.learning_rate * share
    rest = max(total - config.warmup_steps, 1)
    done = (step - config.warmup_steps) / rest
    low = config.final_share
    match config.schedule:
        case "constant":
            share = 1.0
        case "cosine":
            share = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        case "trapezoid":
            into = (done - (1 - config.decay_share)) / config.decay_share
            share = 1.0 - (1 - low) * min(max(into, 0.0), 1.0)
    return config.learning_rate * share
