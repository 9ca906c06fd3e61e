"""What an iteration logs, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from alignloop.data.batches import Ragged
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.report import Tally, iteration_metrics
from alignloop.ppo.rollout import Episodes, Estimates
from alignloop.ppo.steps import next_kl_coef
from tests.helpers import PPO


def test_what_is_logged_of_two_episodes_by_hand() -> None:
    """Two responses of two tokens and one; values miss the returns by 1 everywhere, which explains all variance."""
    config = PPOConfig.model_validate(PPO | {"ptx_coef": 0.0})
    batch = Ragged(torch.zeros(2, 3).long(), torch.tensor([3, 2]), torch.tensor([1, 1]))
    counts = batch.is_response()

    def grid(*rows: list[float]) -> Tensor:
        return torch.tensor([[0.0, *row, *[0.0] * (2 - len(row))] for row in rows])

    log_probs, reference = grid([-1.0, -2.0], [-3.0]), grid([-1.5, -1.0], [-3.5])
    returns = grid([2.0, 5.0], [8.0])
    episodes = Episodes(
        batch=batch,
        is_response=counts,
        finished=torch.tensor([True, False]),
        drawn_log_probs=log_probs,
        log_probs=log_probs,
        reference_log_probs=reference,
        kl=(log_probs - reference) * counts,
        scores=torch.tensor([3.0, 4.0]),
        values=(returns - 1) * counts,
        sampler_gap=0.25,
    )
    estimates = Estimates(grid([0.5, 1.0], [2.5]), torch.zeros(2, 3), 1.0, returns)
    tally = Tally()
    tally.add(learning_rate=0.1)
    tally.add_ratios(torch.tensor([0.0, 0.1]), 1)

    found = iteration_metrics(episodes, estimates, tally, config, 0.5)

    assert found["score_mean"] == 3.5
    assert found["reward_mean"] == 2.0
    assert found["kl_reference"] == 0.0, "(0.5 - 1) and 0.5"
    assert found["entropy"] == 2.0
    assert found["eos_rate"] == 0.5
    assert found["response_tokens"] == 1.5
    assert found["sampler_gap"] == 0.25
    assert found["value_explained"] == pytest.approx(1.0)
    half = replace(episodes, values=grid([3.5, 3.5], [8.0]))
    explained = iteration_metrics(half, estimates, tally, config, 0.5)["value_explained"]
    assert explained == pytest.approx(1 - 1.5 / 6), "residuals -1.5, 1.5, 0; returns 2, 5, 8"


def test_the_next_kl_coefficient_counts_episodes_and_nats_per_episode() -> None:
    """KLs of 1 + 2 and 5 nats: a mean of 4 against a target of 5, that is -20 % of 2 episodes in 10."""
    config = PPOConfig.model_validate(PPO | {"adaptive_kl": {"target": 5.0, "horizon": 10}})
    batch = Ragged(torch.zeros(2, 3).long(), torch.tensor([3, 2]), torch.tensor([1, 1]))
    zeros = torch.zeros(2, 3)
    episodes = Episodes(
        batch=batch,
        is_response=batch.is_response(),
        finished=torch.tensor([True, True]),
        drawn_log_probs=zeros,
        log_probs=zeros,
        reference_log_probs=zeros,
        kl=torch.tensor([[9.0, 1.0, 2.0], [9.0, 5.0, 9.0]]),
        scores=torch.zeros(2),
        values=zeros,
        sampler_gap=0.0,
    )

    assert next_kl_coef(0.1, episodes, config) == pytest.approx(0.1 * (1 - 0.2 * 2 / 10))
    fixed = config.model_copy(update={"adaptive_kl": None})
    assert next_kl_coef(0.1, episodes, fixed) == 0.1
