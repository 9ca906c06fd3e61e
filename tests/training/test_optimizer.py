"""Adam's two styles against their formulas in float64, through the real optimizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from alignloop.training.optimizer import OptimizerConfig, make_optimizer, prepare_step
from tests.reference.formulas import adam_steps

GRADIENTS = [1e-3, 2e-6, -3e-4, 5e-7]
"""Small ones: there the two epsilons differ."""


def steps_taken(
    config: OptimizerConfig, numbers: Sequence[int] = range(len(GRADIENTS))
) -> list[float]:
    """How far each update moved a weight; the numbers are those of the planned updates."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    optimizer = make_optimizer(model, config)
    moved: list[float] = []
    for step, gradient in zip(numbers, GRADIENTS, strict=True):
        before = float(model.weight.detach())
        model.weight.grad = torch.full_like(model.weight, gradient)
        prepare_step(optimizer, config, step, total=100)
        optimizer.step()
        moved.append(float(model.weight.detach()) - before)
    return moved


@pytest.mark.parametrize("style", ["pytorch", "tensorflow"])
def test_tensorflows_adam_in_float64(style: str) -> None:
    config = OptimizerConfig.model_validate(
        {"learning_rate": 0.1, "schedule": "constant", "eps": 1e-5, "adam_style": style}
    )

    gradients = [np.array(gradient) for gradient in GRADIENTS]
    expected = [float(s) for s in adam_steps(gradients, style=style, rate=0.1, eps=1e-5)]
    assert steps_taken(config) == pytest.approx(expected, rel=1e-9)


def test_the_two_styles_differ_most_at_the_start() -> None:
    values = {"learning_rate": 0.1, "schedule": "constant", "eps": 1e-5}
    pytorch, tensorflow = (
        steps_taken(OptimizerConfig.model_validate(values | {"adam_style": style}))
        for style in ("pytorch", "tensorflow")
    )

    ratios = [b / a for a, b in zip(pytorch, tensorflow, strict=True)]
    assert ratios[0] < 0.97
    assert ratios[0] < ratios[-1] < 1


def test_updates_that_were_skipped_do_not_count_for_epsilon() -> None:
    """`kl_stop` leaves gaps in the numbers of the updates; Adam's own count has none."""
    config = OptimizerConfig.model_validate(
        {"learning_rate": 0.1, "schedule": "constant", "eps": 1e-5, "adam_style": "tensorflow"}
    )

    skipping = steps_taken(config, numbers=(0, 5, 6, 20))
    assert skipping == pytest.approx(steps_taken(config), rel=1e-12)
