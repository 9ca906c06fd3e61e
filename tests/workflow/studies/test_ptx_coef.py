"""The ptx study's rule."""

from __future__ import annotations

import pytest

from alignloop.workflow.studies.ptx_coef import smallest_allowed

RL_INIT = {"ptx_coef": None, "ratio": 1.0}


@pytest.mark.parametrize(
    ("ratios", "chosen"),
    [
        ({0.0: 1.01, 0.3: 1.03, 1.0: 1.0}, 0.3),  # plain PPO is no choice, however small its loss
        ({0.0: 1.2, 0.3: 1.0301, 1.0: 1.02, 27.8: 0.99}, 1.0),
        ({0.0: 1.2, 27.8: 0.99, 3.0: 1.0, 0.3: 1.1}, 3.0),
        ({0.0: 1.2, 0.3: 1.1}, None),
    ],
)
def test_the_smallest_coefficient_that_keeps_the_loss_is_chosen(
    ratios: dict[float, float], chosen: float | None
) -> None:
    rows = [RL_INIT, *({"ptx_coef": coef, "ratio": ratio} for coef, ratio in ratios.items())]

    assert smallest_allowed(rows) == chosen
