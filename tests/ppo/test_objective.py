"""The mathematics of step 3: the fixtures of the specification, closed forms, and properties under padding."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alignloop.ppo.config import PPOConfig
from alignloop.ppo.objective import (
    adaptive_kl_coef,
    advantages_and_returns,
    kl_rewards,
    penalised_scores,
    policy_loss,
    value_loss,
)
from alignloop.ppo.report import Tally
from alignloop.tensors import counts_up_to, generator, row_sums, whiten

NAN = float("nan")


def exact(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_mask(draw: st.DrawFn) -> Tensor:
    """[B, T] with gaps, and at least one place that counts in each row."""
    width = draw(st.integers(1, 7))
    rows = st.lists(st.booleans(), min_size=width, max_size=width).filter(any)
    return torch.tensor(draw(st.lists(rows, min_size=1, max_size=3)))


masks = st.composite(random_mask)()


def noise(like: Tensor, seed: int) -> Tensor:
    return torch.randn(like.shape, generator=generator(seed), dtype=torch.float64)


def widened(tensor: Tensor, columns: int, junk: float) -> Tensor:
    """The same rows with more padding on the right."""
    more = torch.full((len(tensor), columns), junk).to(tensor.dtype)
    return torch.cat([tensor, more], dim=1)


# --- rewards ---


def test_a_missing_end_costs_a_penalty_that_is_subtracted_even_from_a_low_score() -> None:
    scores, finished = exact([2.0, -3.0, -3.0]), torch.tensor([True, True, False])

    assert penalised_scores(scores, finished, 1.0).tolist() == [2.0, -3.0, -4.0]
    assert penalised_scores(scores, finished, 0.0).tolist() == scores.tolist()


def test_a_fixed_score_can_replace_that_of_a_response_without_end() -> None:
    scores, finished = exact([2.0, -3.0, -3.0]), torch.tensor([True, True, False])

    assert penalised_scores(scores, finished, 1.0, -1.0).tolist() == [2.0, -3.0, -1.0]


def test_the_score_sits_on_the_last_real_action_and_nowhere_else() -> None:
    is_response = torch.tensor(
        [[False, True, True, True], [False, True, False, False], [True, False, True, False]]
    )
    nothing = torch.zeros(3, 4, dtype=torch.float64)

    rewards = kl_rewards(exact([5.0, -2.0, 3.0]), nothing, is_response, 0.02)

    assert rewards.tolist() == [[0, 0, 0, 5], [0, -2, 0, 0], [0, 0, 3, 0]]


def test_the_kl_penalty_has_a_minus_sign() -> None:
    """The policy likes a token more than the reference does: that costs."""
    is_response = torch.tensor([[False, True, True]])
    log_probs, reference = exact([[0.0, -1.0, -2.0]]), exact([[0.0, -1.5, -1.0]])

    rewards = kl_rewards(exact([1.0]), log_probs - reference, is_response, 0.1)

    torch.testing.assert_close(rewards, exact([[0.0, -0.05, 1.1]]))


@given(masks, st.sampled_from([0.0, 0.02, 2.0]))
def test_rewards_sum_to_the_score_less_the_kl_penalty(mask: Tensor, kl_coef: float) -> None:
    log_probs, reference, scores = noise(mask, 1), noise(mask, 2), noise(mask[:, 0], 3)

    rewards = kl_rewards(scores, log_probs - reference, mask, kl_coef)

    expected = scores - kl_coef * row_sums(log_probs - reference, mask)
    torch.testing.assert_close(rewards.sum(dim=1), expected)
    assert not rewards[~mask].any()


# --- advantages ---


def test_advantages_of_three_tokens() -> None:
    everywhere = torch.ones(1, 3, dtype=torch.bool)
    rewards, values = exact([[0.0, 0.0, 1.0]]), exact([[0.5, 0.4, 0.3]])

    advantages, returns = advantages_and_returns(rewards, values, everywhere, 1.0, 0.95)

    torch.testing.assert_close(advantages, exact([[0.43675, 0.565, 0.7]]))
    torch.testing.assert_close(returns, exact([[0.93675, 0.965, 1.0]]))
    torch.testing.assert_close(
        whiten(advantages, everywhere),
        exact([[-1.2141434, -0.0209335, 1.2350769]]),
        atol=1e-6,
        rtol=0,
    )


@given(masks, st.sampled_from([0.0, 0.5, 0.95, 1.0]), st.sampled_from([0.9, 1.0]))
def test_advantages_equal_their_definition_also_across_gaps(
    mask: Tensor, gae_lambda: float, discount: float
) -> None:
    rewards, values = noise(mask, 1), noise(mask, 2)
    junk = torch.where(mask, values, torch.full_like(values, NAN))

    advantages, returns = advantages_and_returns(rewards, junk, mask, discount, gae_lambda)

    expected = torch.zeros_like(rewards)
    for row in range(len(mask)):
        at = mask[row].nonzero()[:, 0].tolist()
        value = [float(values[row, t]) for t in at] + [0.0]
        delta = [
            float(rewards[row, t]) + discount * after - now
            for t, (now, after) in zip(at, pairwise(value), strict=True)
        ]
        for i, t in enumerate(at):
            expected[row, t] = sum(
                (discount * gae_lambda) ** (k - i) * delta[k] for k in range(i, len(at))
            )
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns[mask], (expected + values)[mask])
    assert not returns[~mask].any()


@given(masks, st.sampled_from([0.9, 1.0]))
def test_with_lambda_one_returns_are_the_discounted_rewards(mask: Tensor, discount: float) -> None:
    """The score reaches every word, from the last to the first."""
    rewards, values = noise(mask, 1), noise(mask, 2)

    _, returns = advantages_and_returns(rewards, values, mask, discount, 1.0)

    for row in range(len(mask)):
        still = 0.0
        for t in reversed(mask[row].nonzero()[:, 0].tolist()):
            still = float(rewards[row, t]) + discount * still
            assert float(returns[row, t]) == pytest.approx(still, abs=1e-9)


def test_returns_do_not_depend_on_the_scale_of_whitened_advantages() -> None:
    """Returns are in the units of the reward: A + V with A as it was before whitening."""
    mask = counts_up_to(torch.tensor([4, 2]), 4)
    rewards, values = 50 * noise(mask, 1), noise(mask, 2)

    advantages, returns = advantages_and_returns(rewards, values, mask, 1.0, 0.95)

    torch.testing.assert_close(returns[mask], (advantages + values)[mask])
    whitened = whiten(advantages, mask)
    assert float(advantages[mask].std()) > 10 * float(whitened[mask].std())


# --- the clipped losses ---


@pytest.mark.parametrize(
    ("advantage", "ratio", "loss", "slope"),
    [
        # advantage > 0: no reward for going above 1.2, but every step back up counts
        (2.0, 1.1, -2.2, -2.2),
        (2.0, 1.5, -2.4, 0.0),
        (2.0, 0.5, -1.0, -1.0),
        # advantage < 0: no reward for going below 0.8
        (-2.0, 1.5, 3.0, 3.0),
        (-2.0, 0.5, 1.6, 0.0),
        (-2.0, 0.9, 1.8, 1.8),
        (0.0, 1.5, 0.0, 0.0),
    ],
)
def test_the_policy_loss_in_every_case(
    advantage: float, ratio: float, loss: float, slope: float
) -> None:
    old = exact([[-1.0]])
    log_probs = (old + torch.log(exact(ratio))).requires_grad_()

    summed = policy_loss(log_probs, old, exact([[advantage]]), torch.tensor([[True]]), 0.2)
    summed.total.backward()

    assert (float(summed.total.detach()), summed.count) == (pytest.approx(loss), 1)
    assert log_probs.grad is not None
    assert float(log_probs.grad) == pytest.approx(slope), "d ratio / d log p = ratio"


@pytest.mark.parametrize(
    ("value", "due", "clip", "loss", "slope"),
    [
        # the old value is 0.5: inside +-0.2 nothing is clipped
        (0.6, 1.0, 0.2, 0.08, -0.4),
        # moved too far towards the target: held as if at 0.7, no more gradient
        (0.9, 1.0, 0.2, 0.045, 0.0),
        # moved past the clip range away from the target: the larger error counts
        (0.9, 0.0, 0.2, 0.405, 0.9),
        (0.1, 0.0, 0.2, 0.045, 0.0),
        (0.1, 1.0, 0.2, 0.405, -0.9),
        # off
        (0.9, 1.0, None, 0.005, -0.1),
        (0.1, 0.0, None, 0.005, 0.1),
    ],
)
def test_the_value_loss_in_every_case(
    value: float, due: float, clip: float | None, loss: float, slope: float
) -> None:
    values = exact([[value]]).requires_grad_()

    summed = value_loss(values, exact([[0.5]]), exact([[due]]), torch.tensor([[True]]), clip)
    summed.total.backward()

    assert (float(summed.total.detach()), summed.count) == (pytest.approx(loss), 1)
    assert values.grad is not None
    assert float(values.grad) == pytest.approx(slope)


def test_at_step_zero_the_ratio_is_one_and_whitened_advantages_cancel() -> None:
    mask = counts_up_to(torch.tensor([5, 3, 1]), 5)
    log_probs = -noise(mask, 1).abs().float()
    advantages = whiten(noise(mask, 2).float(), mask)

    loss = policy_loss(log_probs, log_probs, advantages, mask, 0.2)
    tally = Tally()
    tally.add_ratios((log_probs - log_probs)[mask], 0.2)
    figures = tally.means()

    assert abs(float(loss.mean())) < 1e-6
    assert figures == {"ratio_max": 1.0, "clip_fraction": 0.0, "approx_kl": 0.0}


def test_the_logged_ratios() -> None:
    """approx_kl is half the mean squared log-ratio; what lies outside the response is not seen."""
    old = torch.zeros(1, 3)
    log_probs = torch.log(torch.tensor([[1.1, 0.5, 9.0]]))
    tally = Tally()
    is_response = torch.tensor([[True, True, False]])
    tally.add_ratios((log_probs - old)[is_response], 0.2)

    figures = tally.means()

    assert figures["ratio_max"] == pytest.approx(1.1)
    assert figures["clip_fraction"] == 0.5
    by_hand = 0.5 * (0.0953102**2 + 0.6931472**2) / 2
    assert figures["approx_kl"] == pytest.approx(by_hand, rel=1e-5)


@given(masks, st.integers(1, 3), st.sampled_from([NAN, 1e9, float("-inf")]))
def test_more_padding_changes_nothing(mask: Tensor, columns: int, junk: float) -> None:
    """Rewards, advantages, returns and both losses with their gradients; NaN in the padding included."""
    scores = noise(mask[:, 0], 9)
    tensors = [noise(mask, seed) for seed in range(1, 7)]

    def everything(mask: Tensor, tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        log_probs, reference, values, new_log_probs, new_values, _ = tensors
        rewards = kl_rewards(scores, log_probs - reference, mask, 0.1)
        advantages, returns = advantages_and_returns(rewards, values, mask, 1.0, 0.95)
        new_log_probs, new_values = (
            t.clone().requires_grad_() for t in (new_log_probs, new_values)
        )
        losses = [
            policy_loss(new_log_probs, log_probs, whiten(advantages, mask), mask, 0.2).total,
            value_loss(new_values, values, returns, mask, 0.2).total,
        ]
        sum(losses).backward()
        assert new_log_probs.grad is not None
        assert new_values.grad is not None
        grids = [rewards, advantages, returns, new_log_probs.grad, new_values.grad]
        return [loss.detach() for loss in losses], grids

    losses, grids = everything(mask, tensors)
    wide_losses, wide_grids = everything(
        widened(mask, columns, 0.0), [widened(t, columns, junk) for t in tensors]
    )

    torch.testing.assert_close(wide_losses, losses)
    for wide, grid in zip(wide_grids, grids, strict=True):
        torch.testing.assert_close(wide[:, : mask.shape[1]], grid)
        if math.isfinite(junk):
            assert not wide[:, mask.shape[1] :].any()


@given(masks, st.data())
def test_losses_of_any_split_of_the_episodes_sum_alike(mask: Tensor, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(mask)))
    new, old, third = (noise(mask, seed) for seed in (1, 2, 3))

    for loss in (
        lambda rows: policy_loss(new[rows], old[rows], third[rows], mask[rows], 0.2),
        lambda rows: value_loss(new[rows], old[rows], third[rows], mask[rows], 0.2),
    ):
        whole, first, second = (
            loss(rows) for rows in (slice(None), slice(0, cut), slice(cut, None))
        )
        assert first.count + second.count == whole.count
        torch.testing.assert_close(first.total + second.total, whole.total)


# --- the controller, and the paper's numbers ---


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(3.0, 0.148464), (6.0, 0.15), (9.0, 0.151536), (6.6, 0.150768), (-100.0, 0.148464)],
)
def test_the_adaptive_kl_coefficient_follows_ziegler_et_al(kl: float, expected: float) -> None:
    assert adaptive_kl_coef(0.15, kl, 6.0, 10_000, 512) == pytest.approx(expected, abs=1e-9)


def test_the_defaults_give_the_papers_counts() -> None:
    paper = PPOConfig()

    assert (paper.iterations, paper.updates_per_iteration) == (500, 8)
    assert paper.iterations * paper.updates_per_iteration == 4000
    assert (paper.kl_coef, paper.ptx_coef, paper.ptx_ratio) == (0.02, 27.8, 8)
    assert (paper.clip_range, paper.ema_decay, paper.discount) == (0.2, 0.992, 1.0)
    assert paper.ptx_ratio * paper.minibatch_size == 512
    assert paper.sampling.temperature == 1.0
