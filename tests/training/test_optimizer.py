"""Adam's two styles against their formulas in float64, through the real optimizer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from alignloop.training.optimizer import OptimizerConfig, make_optimizer, prepare_step

GRADIENTS = [1e-3, 2e-6, -3e-4, 5e-7]
"""Small ones: there the two epsilons differ."""


def steps_taken(config: OptimizerConfig) -> list[float]:
    """How far each update moved a weight."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    optimizer = make_optimizer(model, config)
    moved: list[float] = []
    for step, gradient in enumerate(GRADIENTS):
        before = float(model.weight.detach())
        model.weight.grad = torch.full_like(model.weight, gradient)
        prepare_step(optimizer, config, step, len(GRADIENTS))
        optimizer.step()
        moved.append(float(model.weight.detach()) - before)
    return moved


def formula(style: str, beta1: float, beta2: float, rate: float, eps: float) -> list[float]:
    m = v = 0.0
    moved: list[float] = []
    for t, gradient in enumerate(GRADIENTS, start=1):
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        if style == "tensorflow":  # the learning rate carries the corrections, epsilon does not
            corrected = rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
            moved.append(-corrected * m / (np.sqrt(v) + eps))
        else:
            moved.append(-rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps))
    return moved


@pytest.mark.parametrize("style", ["pytorch", "tensorflow"])
def test_tensorflows_adam_in_float64(style: str) -> None:
    config = OptimizerConfig.model_validate(
        {"learning_rate": 0.1, "schedule": "constant", "eps": 1e-5, "adam_style": style}
    )

    assert steps_taken(config) == pytest.approx(formula(style, 0.9, 0.95, 0.1, 1e-5), rel=1e-9)


def test_the_two_styles_differ_most_at_the_start() -> None:
    values = {"learning_rate": 0.1, "schedule": "constant", "eps": 1e-5}
    pytorch, tensorflow = (
        steps_taken(OptimizerConfig.model_validate(values | {"adam_style": style}))
        for style in ("pytorch", "tensorflow")
    )

    ratios = [b / a for a, b in zip(pytorch, tensorflow, strict=True)]
    assert ratios[0] < 0.97
    assert ratios[0] < ratios[-1] < 1
