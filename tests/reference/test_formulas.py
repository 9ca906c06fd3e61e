"""Our float32 against the reference in float64, on random rows of unequal length: within 1e-5, gradients too.

"Within 1e-5" is of the largest number of the result: a sum of parts that cancel has no digits of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alignloop.data.batches import Ragged
from alignloop.distributed import World
from alignloop.ppo import objective
from alignloop.reward.config import RewardConfig
from alignloop.reward.train import loss_of_batch
from alignloop.sft.objective import response_loss
from alignloop.tensors import Summed, row_sums, token_kl, token_log_probs, whiten
from alignloop.training.ema import EMA
from alignloop.training.optimizer import OptimizerConfig, make_optimizer
from alignloop.training.rankings import RankedBatch, RankedPrompt
from alignloop.training.step import update
from tests.reference import formulas
from tests.reference.formulas import Array, Rows, gradient

SEEDS = range(6)
seeds = pytest.mark.parametrize("seed", SEEDS)
NAN = float("nan")


@dataclass
class Layout:
    """Random responses after random prompts, and how they lie in a padded [B, T]."""

    random: np.random.Generator
    is_response: Tensor

    @classmethod
    def of(cls, seed: int) -> Layout:
        random = np.random.default_rng(seed)
        sizes = [tuple(random.integers(1, 9, 2)) for _ in range(random.integers(1, 7))]
        batch = Ragged.of([[1] * p for p, _ in sizes], [[2] * r for _, r in sizes], pad=0)
        return cls(random, batch.is_response())

    def rows(self, scale: float = 1.0) -> list[Array]:
        """One number per response token."""
        return [self.random.normal(0, scale, int(n)) for n in self.is_response.sum(1)]

    def padded(self, rows: Rows, junk: float = 0.0) -> Tensor:
        """The rows as our code has them: float32, something else where no response is."""
        grid = torch.full(self.is_response.shape, junk)
        grid[self.is_response] = torch.from_numpy(np.concatenate(rows)).float()
        return grid

    def unpadded(self, grid: Tensor) -> Array:
        return grid.detach()[self.is_response].double().numpy()

    def split(self, flat: Array) -> list[Array]:
        return np.split(flat, np.cumsum(self.is_response.sum(1).numpy())[:-1])


def assert_close(
    ours: Array | Tensor | float, reference: Array | float, *, of: float = 0.0
) -> None:
    """Args: `of`: the size of the parts, where they cancel in the sum."""
    found, expected = np.asarray(ours, dtype=np.float64), np.asarray(reference)
    assert found.shape == expected.shape
    size = max(float(np.abs(expected).max()), of)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * size)


def assert_same_loss(
    layout: Layout,
    ours: Callable[[Tensor], Summed],
    reference: Callable[[list[Array]], float],
    at: list[Array],
    *,
    junk: float = NAN,
    of: float = 0.0,
) -> None:
    """The mean over tokens, and its gradient with respect to each."""
    grid = layout.padded(at, junk).requires_grad_()
    loss = ours(grid).mean()
    loss.backward()
    assert grid.grad is not None
    assert not grid.grad[~layout.is_response].any(), "padding learns nothing"

    assert_close(float(loss.detach()), reference(at), of=of)
    slopes = gradient(lambda flat: reference(layout.split(flat)), np.concatenate(at))
    assert np.abs(slopes).max() > 1e-4
    assert_close(layout.unpadded(grid.grad), slopes)


# --- reward model and likelihoods ---


@seeds
@pytest.mark.parametrize("divisor", ["kept_pairs", "all_pairs"])
def test_eq_1(seed: int, divisor: str) -> None:
    random = np.random.default_rng(seed)
    ranks = [random.integers(1, 5, size=random.integers(2, 10)).tolist() for _ in range(5)]
    ranks[0] = [1, 2, 2]
    scores = random.normal(0, 3, sum(map(len, ranks)))

    def reference(flat: Array) -> float:
        parts = np.split(flat, np.cumsum([len(r) for r in ranks])[:-1])
        losses = [
            formulas.ranking_loss(s.tolist(), r, divisor) for s, r in zip(parts, ranks, strict=True)
        ]
        return sum(losses) / sum(len(set(r)) > 1 for r in ranks)

    prompts = [RankedPrompt.of([1], [[2]] * len(r), r, "drop") for r in ranks]
    batch = RankedBatch.of(prompts)
    ours = torch.tensor(scores, dtype=torch.float32, requires_grad=True)
    config = RewardConfig.model_validate({"divisor": divisor})
    loss = loss_of_batch(ours, batch, config).mean()
    loss.backward()

    assert ours.grad is not None
    assert_close(float(loss.detach()), reference(scores))
    assert_close(ours.grad, gradient(reference, scores))


@seeds
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_and_exact_kl_of_logits(seed: int, temperature: float) -> None:
    random = np.random.default_rng(seed)
    hidden, other = random.normal(0, 1, (2, 9, 8))
    weight, other_weight = random.normal(0, 1.5, (2, 50, 8))
    targets = random.integers(0, 50, 9)
    logits, other_logits = hidden @ weight.T / temperature, other @ other_weight.T / temperature

    def tensor(array: Array) -> Tensor:
        return torch.from_numpy(array).float()

    states = tensor(hidden).requires_grad_()
    log_probs = token_log_probs(states, tensor(weight), torch.from_numpy(targets), temperature)
    log_probs.sum().backward()
    kl = token_kl(tensor(hidden), tensor(weight), tensor(other), tensor(other_weight), temperature)

    def reference(hidden: Array) -> float:
        every = formulas.log_softmax(hidden @ weight.T / temperature)
        return float(every[np.arange(9), targets].sum())

    assert_close(log_probs.detach(), formulas.log_softmax(logits)[np.arange(9), targets])
    assert states.grad is not None
    assert_close(states.grad, gradient(reference, hidden))
    assert_close(
        kl, np.array([formulas.exact_kl(p, q) for p, q in zip(logits, other_logits, strict=True)])
    )


@seeds
def test_the_loss_of_demonstrations_and_of_pretraining_text(seed: int) -> None:
    layout = Layout.of(seed)

    assert_same_loss(
        layout,
        lambda log_probs: response_loss(log_probs, layout.is_response),
        formulas.mean_nll,
        [-np.abs(row) for row in layout.rows(3)],
    )


# --- rewards and advantages ---


@seeds
def test_rewards_advantages_and_returns(seed: int) -> None:
    """From the score to what is learned from, through every whitening."""
    layout = Layout.of(seed)
    log_probs, reference_log_probs, values = layout.rows(), layout.rows(), layout.rows()
    scores = layout.random.normal(0, 2, len(log_probs))
    beta, discount, gae_lambda = 0.1, (1.0, 0.97)[seed % 2], (0.95, 0.0, 1.0)[seed % 3]

    kl = [p - q for p, q in zip(log_probs, reference_log_probs, strict=True)]
    rewards = [formulas.kl_rewards(s, k, beta) for s, k in zip(scores, kl, strict=True)]
    scaled = formulas.whitened(rewards, shift_mean=False)
    estimates = [
        formulas.advantages(r, v, discount, gae_lambda) for r, v in zip(scaled, values, strict=True)
    ]

    counts = layout.is_response
    ours = objective.kl_rewards(
        torch.from_numpy(scores).float(),
        layout.padded(log_probs, NAN) - layout.padded(reference_log_probs),
        counts,
        beta,
    )
    our_scaled = whiten(ours, counts, shift_mean=False)
    found, returns = objective.advantages_and_returns(
        our_scaled, layout.padded(values, NAN), counts, discount, gae_lambda
    )

    def flat(rows: Rows) -> Array:
        return np.concatenate(rows)

    assert_close(layout.unpadded(ours), flat(rewards))
    assert_close(layout.unpadded(our_scaled), flat(scaled))
    assert_close(layout.unpadded(found), flat(estimates))
    assert_close(layout.unpadded(returns), flat(estimates) + flat(values))
    assert_close(layout.unpadded(whiten(found, counts)), flat(formulas.whitened(estimates)))


@seeds
def test_the_adaptive_kl_coefficient(seed: int) -> None:
    layout = Layout.of(seed)
    kl = [0.4 + row for row in layout.rows()]
    per_row = row_sums(layout.padded(kl, NAN), layout.is_response)

    ours = objective.adaptive_kl_coef(0.15, float(per_row.mean()), 2.0, 1000, len(per_row))

    expected = formulas.adaptive_kl(0.15, [float(row.sum()) for row in kl], 2.0, 1000)
    assert ours == pytest.approx(expected, rel=1e-5)
    assert expected != 0.15


# --- the losses of PPO ---


@seeds
def test_the_clipped_surrogate(seed: int) -> None:
    layout = Layout.of(seed)
    old, advantages = layout.rows(), layout.rows()
    moved = [row + change for row, change in zip(old, layout.rows(0.2), strict=True)]

    assert_same_loss(
        layout,
        lambda log_probs: objective.policy_loss(
            log_probs,
            layout.padded(old, NAN),
            layout.padded(advantages, NAN),
            layout.is_response,
            0.2,
        ),
        lambda rows: formulas.policy_loss(rows, old, advantages, 0.2),
        moved,
        of=float(np.abs(np.concatenate(advantages)).mean()),
    )


@seeds
@pytest.mark.parametrize("clip_range", [0.2, None])
def test_the_value_loss(seed: int, clip_range: float | None) -> None:
    layout = Layout.of(seed)
    old, returns = layout.rows(), layout.rows()
    moved = [row + change for row, change in zip(old, layout.rows(0.3), strict=True)]

    assert_same_loss(
        layout,
        lambda values: objective.value_loss(
            values,
            layout.padded(old, 7.0),
            layout.padded(returns, 7.0),
            layout.is_response,
            clip_range,
        ),
        lambda rows: formulas.value_loss(rows, old, returns, clip_range),
        moved,
        junk=7.0,
    )


# --- what moves the weights ---


@pytest.mark.parametrize("style", ["pytorch", "tensorflow"])
@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_adam_and_the_average_over_many_updates(style: str, scale: float) -> None:
    """Through the update that every stage makes, in float32; small gradients show where epsilon stands."""
    random = np.random.default_rng(1)
    gradients = list(random.normal(0, scale, (25, 3, 4)))
    config = OptimizerConfig.model_validate(
        {"learning_rate": 0.01, "schedule": "constant", "eps": 1e-5, "adam_style": style}
    )
    model = nn.Linear(4, 3, bias=False)
    start = model.weight.detach().double().numpy().copy()
    optimizer, ema = make_optimizer(model, config), EMA(model, 0.9)

    for step, one in enumerate(gradients):
        model.weight.grad = torch.from_numpy(one).float()
        update(model, optimizer, config, step=step, total=25, world=World(), term="test")
        ema.step(model)

    steps = formulas.adam_steps(gradients, style=style, rate=0.01, eps=1e-5)
    weights = start + np.cumsum(steps, axis=0)
    moved = model.weight.detach().double().numpy()
    assert np.abs(weights[-1] - start).max() > 0.005
    assert_close(moved, weights[-1])
    assert_close(ema.weights["weight"], formulas.moving_average(start, list(weights), 0.9))


def test_the_styles_of_adam_are_told_apart_by_the_reference() -> None:
    """Else the test above could pass for either."""
    gradients: Sequence[Array] = list(np.random.default_rng(1).normal(0, 1e-5, (25, 3, 4)))

    one, other = (
        sum(formulas.adam_steps(gradients, style=style, rate=0.01, eps=1e-5), np.zeros((3, 4)))
        for style in ("pytorch", "tensorflow")
    )

    assert np.abs(one - other).max() > 0.01
