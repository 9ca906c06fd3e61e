"""One update: micro-batches add up, clipping is applied, a bad number stops everything before a weight moves."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from alignloop.distributed import World
from alignloop.errors import NumericsError
from alignloop.tensors import generator
from alignloop.training.optimizer import OptimizerConfig, learning_rate_at, make_optimizer
from alignloop.training.step import autocast, backward, update

DATA = torch.randn(12, 3, generator=generator(1))
TARGETS = torch.randn(12, generator=generator(2))


def linear() -> nn.Linear:
    layer = nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -1.0, 2.0]]))
        layer.bias.fill_(0.25)
    return layer


def squared_error(model: nn.Module, rows: slice) -> Tensor:
    return ((model(DATA[rows])[:, 0] - TARGETS[rows]) ** 2).sum()


def step_once(model: nn.Module, config: OptimizerConfig, cuts: list[int]) -> tuple[float, float]:
    """One update from the sum over 12 rows divided once, in as many pieces as there are cuts."""
    optimizer = make_optimizer(model, config)
    edges = [0, *sorted(cuts), 12]
    for start, stop in pairwise(edges):
        if start < stop:
            backward(squared_error(model, slice(start, stop)) / 12, "test", 0)
    return update(model, optimizer, config, step=0, total=10, world=World(), term="test")


@given(st.lists(st.integers(0, 12), max_size=4))
def test_micro_batches_add_up_to_the_full_batch(cuts: list[int]) -> None:
    config = OptimizerConfig(learning_rate=0.1, clip_norm=1e9)
    whole, parts = linear(), linear()

    norm, _ = step_once(whole, config, [])
    norm_of_parts, _ = step_once(parts, config, cuts)

    assert norm_of_parts == pytest.approx(norm, rel=1e-5)
    torch.testing.assert_close(parts.weight, whole.weight, atol=1e-6, rtol=0)
    assert parts.weight.grad is None, "the buffers are cleared"


def test_backward_returns_the_loss_and_leaves_its_gradient() -> None:
    model = linear()

    value = backward(squared_error(model, slice(0, 12)) / 12, "test", 0)

    rows = DATA.double() @ model.weight[0].detach().double() + 0.25 - TARGETS.double()
    assert value == pytest.approx(float((rows**2).mean()), rel=1e-5)
    expected = 2 / 12 * (rows[:, None] * DATA.double()).sum(dim=0)
    assert model.weight.grad is not None
    torch.testing.assert_close(model.weight.grad[0].double(), expected, atol=1e-5, rtol=0)


def test_clipping_is_applied_and_the_norm_before_it_is_reported() -> None:
    """Seen through plain SGD: the step's length is the learning rate times the clipped norm."""
    for clip, expected in ((0.5, 0.5), (1e9, None), (None, None)):
        model = linear()
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        config = OptimizerConfig(learning_rate=1.0, schedule="constant", clip_norm=clip)
        optimizer = torch.optim.SGD(model.parameters(), lr=123.0)
        backward(squared_error(model, slice(0, 12)), "test", 0)

        norm, rate = update(model, optimizer, config, step=0, total=1, world=World(), term="test")

        moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - before
        assert norm > 10
        assert rate == 1.0, "and the schedule's rate is the one that acts"
        assert float(moved.norm()) == pytest.approx(expected or norm, rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_names_step_and_term(bad: float) -> None:
    model = linear()

    with pytest.raises(NumericsError, match=rf"step 18: the ranking loss is {bad}"):
        backward(squared_error(model, slice(0, 3)) * bad, "ranking", 17)

    assert model.weight.grad is None


def test_a_gradient_that_is_not_finite_leaves_the_weights_and_moments_alone() -> None:
    """sqrt at 0: the loss is fine, its gradient is not."""
    model = linear()
    before = [p.detach().clone() for p in model.parameters()]
    config = OptimizerConfig()
    optimizer = make_optimizer(model, config)
    backward((model(DATA)[:, 0] * 0).sum().sqrt(), "value", 3)

    with pytest.raises(NumericsError, match="step 4: the gradient of the value loss is nan"):
        update(model, optimizer, config, step=3, total=9, world=World(), term="value")

    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert not optimizer.state
    assert all(p.grad is None for p in model.parameters())


def test_weights_that_an_update_blows_up_stop_the_run_before_they_are_saved() -> None:
    """The gradient is fine, the learning rate is not."""
    model = linear()
    config = OptimizerConfig(learning_rate=1e38, schedule="constant")
    backward(squared_error(model, slice(0, 3)), "ranking", 0)

    with pytest.raises(NumericsError, match="step 1: weights are no longer finite after the"):
        update(
            model,
            make_optimizer(model, config),
            config,
            step=0,
            total=9,
            world=World(),
            term="ranking",
        )


def test_bfloat16_products_leave_the_sum_in_float32() -> None:
    with autocast("bfloat16"):
        assert torch.matmul(DATA, DATA.T).dtype == torch.bfloat16
    with autocast("float32"):
        assert torch.matmul(DATA, DATA.T).dtype == torch.float32


# --- the optimizer ---


def test_one_adam_step_by_hand() -> None:
    """After bias correction the first step is lr * g / (|g| + eps), whatever the betas."""
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0]]))
    config = OptimizerConfig(learning_rate=0.1, schedule="constant", eps=1e-3, clip_norm=1e9)
    optimizer = make_optimizer(model, config)
    backward((model.weight * torch.tensor([[3.0, 0.002]])).sum(), "test", 0)

    update(model, optimizer, config, step=0, total=1, world=World(), term="test")

    expected = torch.tensor([[1.0 - 0.1 * 3 / 3.001, -2.0 - 0.1 * 0.002 / 0.003]])
    torch.testing.assert_close(model.weight.detach(), expected, atol=1e-6, rtol=0)


def test_weight_decay_touches_matrices_alone() -> None:
    model = linear()
    config = OptimizerConfig(learning_rate=0.1, schedule="constant", weight_decay=0.5)
    optimizer = make_optimizer(model, config)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)

    update(model, optimizer, config, step=0, total=1, world=World(), term="test")

    torch.testing.assert_close(
        model.weight.detach(), torch.tensor([[0.5, -1.0, 2.0]]) * (1 - 0.1 * 0.5)
    )
    assert float(model.bias.detach()) == 0.25


def test_frozen_parameters_are_not_optimised() -> None:
    model = linear()
    model.bias.requires_grad_(False)

    groups = make_optimizer(model, OptimizerConfig()).param_groups

    assert [len(group["params"]) for group in groups] == [1, 0]


@pytest.mark.parametrize(
    ("schedule", "step", "share"),
    [
        # warm-up over 10 of 110 updates, from one tenth
        ("constant", 0, 0.1),
        ("constant", 5, 0.55),
        ("constant", 9, 0.91),
        ("constant", 10, 1.0),
        ("constant", 109, 1.0),
        # cosine from 1 to 0.1 over the remaining 100
        ("cosine", 0, 0.1),
        ("cosine", 10, 1.0),
        ("cosine", 35, 0.55 + 0.45 * math.cos(math.pi / 4)),
        ("cosine", 60, 0.55),
        ("cosine", 110, 0.1),
        ("cosine", 500, 0.1),
        # flat, then linear over the last fifth
        ("trapezoid", 10, 1.0),
        ("trapezoid", 90, 1.0),
        ("trapezoid", 100, 0.55),
        ("trapezoid", 110, 0.1),
    ],
)
def test_schedules(schedule: str, step: int, share: float) -> None:
    config = OptimizerConfig.model_validate(
        {"learning_rate": 2e-3, "schedule": schedule, "warmup_steps": 10, "final_share": 0.1}
    )

    assert learning_rate_at(step, 110, config) == pytest.approx(2e-3 * share)


def test_a_run_that_is_all_warm_up_has_a_rate() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10)

    assert [learning_rate_at(step, 5, config) for step in (0, 4)] == pytest.approx([0.1, 0.46])
