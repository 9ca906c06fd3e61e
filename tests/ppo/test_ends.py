"""Where a response ends, whatever its tokens are: EOS at once, nowhere, in the middle, and as the padding too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from alignloop.data.batches import Ragged
from alignloop.generation.engine import Response
from alignloop.models.policy import response_log_probs
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.gradients import accumulate_value
from alignloop.ppo.report import Tally
from alignloop.ppo.rollout import Episodes, make_episodes
from alignloop.ppo.steps import advantages
from tests.helpers import ARCHITECTURES, PPO, tiny_model, write_model

END = 1
PROMPTS = [[2, 40, 3], [2, 41, END, 42, 3], [2, 43, 44, 45, 3], [2, 3]]
RESPONSES = [[END], [70, 71, 72, 73], [74, END, 75, END], [76, END]]
"""Ended at once; cut off; EOS in the middle, as an engine that goes on would leave it; the usual."""
FINISHED = [True, False, True, True]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def models(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreTrainedModel, ScalarModel]:
    folder: Path = write_model(tmp_path_factory.mktemp("model"), request.param, seed=8)
    scorer = ScalarModel.load(folder)
    scorer.new_head(7)
    return tiny_model(request.param), scorer


@torch.no_grad()
def episodes(models: tuple[PreTrainedModel, ScalarModel], rows: list[int], pad: int) -> Episodes:
    """Of these rows together, under a reference that is not the policy."""
    policy, scorer = models
    batch = Ragged.of([PROMPTS[i] for i in rows], [RESPONSES[i] for i in rows], pad)
    drawn = response_log_probs(policy, batch)
    responses = [
        Response(RESPONSES[i], drawn[at][batch.is_response()[at]].tolist(), FINISHED[i])
        for at, i in enumerate(rows)
    ]
    reference = tiny_model(policy.config.model_type, seed=5)
    return make_episodes(
        batch,
        responses,
        scorer.scores(batch),
        actor=policy,
        reference=reference,
        value_function=scorer,
        temperature=1.0,
        budget=10_000,
    )


@pytest.mark.parametrize("pad", [0, END])
def test_a_response_is_what_was_drawn_whatever_its_tokens_are(
    models: tuple[PreTrainedModel, ScalarModel], pad: int
) -> None:
    """Together, padded with EOS or not, as alone: mask, score, rewards and advantages of every token."""
    config = PPOConfig.model_validate(PPO | {"kl_coef": 0.1})

    together = episodes(models, [0, 1, 2, 3], pad)
    estimates = advantages(together, config, 0.1)

    assert together.is_response.sum(dim=1).tolist() == [1, 4, 4, 2]
    for row in range(4):
        alone = episodes(models, [row], pad=0)
        own = advantages(alone, config, 0.1)
        start, end = len(PROMPTS[row]), len(PROMPTS[row]) + len(RESPONSES[row])
        assert together.is_response[row].nonzero()[:, 0].tolist() == list(range(start, end))
        for name in ("log_probs", "reference_log_probs", "values", "kl"):
            found, expected = getattr(together, name)[row], getattr(alone, name)[0]
            torch.testing.assert_close(found[start:end], expected[start:], atol=1e-5, rtol=0)
            assert not found[:start].any()
            assert not found[end:].any()
        for name in ("rewards", "advantages", "returns"):
            found, expected = getattr(estimates, name)[row], getattr(own, name)[0]
            torch.testing.assert_close(found[start:end], expected[start:], atol=1e-4, rtol=0)
            assert not found[end:].any()
        # The score sits on the last token that was drawn, less the penalty where that is no end.
        penalty = 0.0 if FINISHED[row] else config.missing_eos_penalty
        last = together.scores[row] - penalty - 0.1 * together.kl[row, end - 1]
        torch.testing.assert_close(estimates.rewards[row, end - 1], last)


def test_a_shift_of_the_reward_bias_changes_no_value_loss_and_no_gradient_of_it(
    models: tuple[PreTrainedModel, ScalarModel],
) -> None:
    """Values are clipped around old values in the units that scores have: both move along."""
    config = PPOConfig.model_validate(PPO | {"missing_eos_penalty": 0.0})
    critic = models[1]
    found: list[tuple[float, list[torch.Tensor]]] = []
    for shift in (0.0, 40.0):
        with torch.no_grad():
            critic.bias += shift
        made = episodes(models, [0, 1, 2, 3], pad=0)
        returns = advantages(made, config, 0.1).returns
        with torch.no_grad():
            critic.bias += 0.15  # values have moved, within the clip range and beyond it
            for parameter in critic.model.parameters():
                parameter += 0.002
        critic.zero_grad()
        tally = Tally()
        accumulate_value(critic, made, returns, config, 0, tally)
        grads = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
        found.append((float(returns[made.is_response].mean()), grads))
        with torch.no_grad():
            critic.bias -= 0.15 + shift
            for parameter in critic.model.parameters():
                parameter -= 0.002
    critic.zero_grad()

    (due, grads), (due_shifted, grads_shifted) = found
    assert due_shifted - due == pytest.approx(40.0, abs=1e-3)
    scale = max(float(g.abs().max()) for g in grads)
    assert scale > 1e-3
    for one, other in zip(grads, grads_shifted, strict=True):
        torch.testing.assert_close(other, one, atol=1e-4 * scale, rtol=0)
