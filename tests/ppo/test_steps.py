"""The four steps called alone, and every switch of theirs, through tiny models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.errors import ConfigError, RunError
from alignloop.models.loading import save_model
from alignloop.models.policy import hidden_states, response_log_probs
from alignloop.models.reward_model import ScalarModel, ValueHead
from alignloop.ppo import objective
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.gradients import accumulate_policy, accumulate_ptx
from alignloop.ppo.learner import Learner, open_backbone
from alignloop.ppo.prompts import asked_in
from alignloop.ppo.report import Tally
from alignloop.ppo.rollout import Episodes
from alignloop.ppo.steps import advantages, collect, score, update
from alignloop.tensors import row_sums
from tests.helpers import (
    PPO,
    metrics,
    prompt,
    results,
    run,
    tiny_model,
    tiny_tokenizer,
)
from tests.ppo.learners import open_learner


def iterate(learner: Learner, iteration: int, prompts: list[Prompt]) -> dict[str, float]:
    config = learner.config
    rows = asked_in(iteration, len(prompts), config.batch_size, config.seed)
    episodes = score(learner, collect(learner, [prompts[i] for i in rows], iteration))
    estimates = advantages(episodes, config, learner.kl_coef, iteration)
    return update(learner, episodes, estimates, iteration)


def drawn(learner: Learner) -> Episodes:
    """Eight episodes; the policy has moved away from its reference since."""
    with torch.no_grad():
        for parameter in learner.actor.parameters():
            parameter += 0.01 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1)
            )
    return score(learner, collect(learner, [prompt(i) for i in range(8)], 0))


def test_a_loop_of_ones_own_learns_what_the_stage_learns(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """Four functions in a row, without a run folder: the same figures, the same weights."""
    run("ppo", tmp_path / "run", PPO, **inputs)
    prompts = read_records(inputs["prompts"] / "rl.jsonl.gz", Prompt)

    learner = open_learner(inputs)
    found = [iterate(learner, iteration, prompts) for iteration in range(6)]
    learner.export(tmp_path / "exported")

    for mine, theirs in zip(found, metrics(tmp_path / "run"), strict=True):
        for name, value in mine.items():
            assert theirs[name] == pytest.approx(value, rel=1e-9), name
    weights = (tmp_path / "exported" / "model.safetensors").read_bytes()
    assert results(tmp_path / "run")["artifact/model.safetensors"] == weights


def test_an_update_without_the_text_that_its_coefficient_asks_for_is_refused(
    inputs: dict[str, Path],
) -> None:
    learner = open_learner(inputs)
    learner.packed = None

    with pytest.raises(ConfigError, match="pretraining text is needed where ptx_coef > 0"):
        iterate(learner, 0, [prompt(i) for i in range(6)])


def test_another_reference_is_what_the_kl_is_taken_to(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """From the first iteration on, and penalised; with adapters there is no room for one."""
    far = tiny_model(seed=9)
    save_model(far, tiny_tokenizer(), tmp_path / "far")
    still = {"policy_optimizer": {"learning_rate": 1e-12}, "ptx_coef": 0.0, "samples_every": 1}
    given = {name: path for name, path in inputs.items() if name != "text"}

    run("ppo", tmp_path / "run", PPO | still, reference=tmp_path / "far", **given)

    learner = open_learner(inputs, **still)
    prompts = read_records(inputs["prompts"] / "rl.jsonl.gz", Prompt)
    rows = asked_in(0, len(prompts), learner.config.batch_size, learner.config.seed)
    batch = collect(learner, [prompts[i] for i in rows], 0).answered.batch
    with torch.no_grad():
        own, theirs = (response_log_probs(m, batch).sum(dim=1) for m in (learner.actor, far))
    first = metrics(tmp_path / "run")[0]
    assert first["kl_reference"] == pytest.approx(float((own - theirs).mean()), rel=1e-4)
    assert first["ratio_max"] == pytest.approx(1, abs=1e-5)
    with pytest.raises(RunError, match=r"other inputs \(reference"):
        run("ppo", tmp_path / "run", PPO | still, resume=True, **given)
    lora = {"adapters": {"kind": "lora", "rank": 2, "alpha": 4.0}}
    config = PPOConfig.model_validate(PPO | still | lora)
    backbone = open_backbone(config, inputs["policy"])
    with pytest.raises(ConfigError, match="leave out --reference"):
        Learner.open(
            config, inputs["policy"], learner.reward, reference=tmp_path / "far", backbone=backbone
        )


def test_as_many_episodes_as_the_batch_size_are_learned_from_or_none(
    inputs: dict[str, Path],
) -> None:
    learner = open_learner(inputs)
    episodes = score(learner, collect(learner, [prompt(i) for i in range(6)], 0))

    with pytest.raises(ConfigError, match="6 episodes where batch_size is 4"):
        update(learner, episodes, advantages(episodes, learner.config, 0.1), 0)


# --- value function on the policy's trunk ---


def test_a_value_head_on_the_policys_trunk_starts_at_zero_and_learns_with_it(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    changes = {
        "value_network": "shared",
        "value_coef": 1.0,
        "value_clip_range": "none",
        "kl_coef": 0.0,
        "missing_eos_penalty": 0.0,
        "ptx_coef": 0,
        "episodes": 160,
        "policy_optimizer": {"learning_rate": 3e-3, "schedule": "constant"},
    }
    learner = open_learner(inputs, **changes)
    episodes = drawn(learner)
    assert isinstance(learner.critic, ValueHead)
    assert set(dict(learner.critic.named_parameters())) == {"head.weight", "head.bias"}
    assert not episodes.values.any()

    run("ppo", tmp_path / "run", PPO | changes, **inputs)

    rows = metrics(tmp_path / "run")
    assert "value_gradient_norm" not in rows[0], "one optimizer, one gradient"
    late, early = (sum(row["value_explained"] for row in part) for part in (rows[-10:], rows[:10]))
    assert late > early + 1


def test_policy_and_value_share_one_gradient_where_they_share_a_trunk(
    inputs: dict[str, Path],
) -> None:
    """In pieces of one row, against one sum over all episodes in plain code."""
    learner = open_learner(inputs, value_network="shared", value_coef=0.5, micro_batch_tokens=1)
    head = learner.critic
    assert isinstance(head, ValueHead)
    nn.init.normal_(head.head.weight, generator=torch.Generator().manual_seed(2))
    episodes = drawn(learner)
    estimates = advantages(episodes, learner.config, 0.1)
    both = [*learner.actor.parameters(), *head.parameters()]

    accumulate_policy(
        learner.actor,
        episodes,
        estimates.advantages,
        estimates.returns,
        learner.config,
        0,
        Tally(),
        head,
    )
    found = [p.grad.clone() for p in both if p.grad is not None]

    for parameter in both:
        parameter.grad = None
    batch, counts = episodes.batch, episodes.is_response
    hidden = hidden_states(learner.actor, batch)
    logits = learner.actor(batch.tokens).logits
    log_probs, values = torch.zeros_like(episodes.values), torch.zeros_like(episodes.values)
    log_probs[:, 1:] = torch.log_softmax(logits[:, :-1], -1).gather(2, batch.tokens[:, 1:, None])[
        ..., 0
    ]
    values[:, 1:] = head.head(hidden[:, :-1])[..., 0]
    surrogate = objective.policy_loss(
        log_probs, episodes.log_probs, estimates.advantages, counts, 0.2
    )
    missed = objective.value_loss(values, episodes.values, estimates.returns, counts, 0.2)
    ((surrogate.total + 0.5 * missed.total) / counts.sum()).backward()
    expected = [p.grad for p in both if p.grad is not None]

    assert len(found) == len(expected) == len(both)
    for one, other in zip(found, expected, strict=True):
        scale = float(other.abs().max())
        torch.testing.assert_close(one, other, atol=2e-5 * max(scale, 1e-3), rtol=0)


def test_a_value_network_may_start_from_the_policys_trunk_at_zero(
    inputs: dict[str, Path],
) -> None:
    learner = open_learner(inputs, value_start="policy")
    assert isinstance(learner.critic, ScalarModel)
    assert not drawn(learner).values.any()
    assert learner.critic.model.base_model is not learner.actor.base_model


# --- the KL penalty ---


def test_the_exact_kl_is_that_of_whole_distributions(inputs: dict[str, Path]) -> None:
    """Against float64 over the whole vocabulary; it is what is penalised, and never below 0."""
    learner = open_learner(
        inputs, kl_estimator="exact", sampling={"max_new_tokens": 10, "temperature": 0.7}
    )
    episodes = drawn(learner)

    with torch.no_grad():
        log_p, log_q = (
            torch.log_softmax(model(episodes.batch.tokens).logits.double() / 0.7, -1)
            for model in (learner.actor, learner.reference)
        )
    expected = torch.zeros(episodes.kl.shape, dtype=torch.float64)
    expected[:, 1:] = (log_p.exp() * (log_p - log_q)).sum(-1)[:, :-1]
    expected[~episodes.is_response] = 0
    torch.testing.assert_close(episodes.kl.double(), expected, atol=1e-5, rtol=1e-4)
    assert float(expected[episodes.is_response].min()) > 1e-6
    estimates = advantages(episodes, learner.config, 0.3)
    penalty = row_sums(episodes.kl, episodes.is_response)
    missing = 1.0 * (~episodes.finished).float()
    torch.testing.assert_close(
        row_sums(estimates.rewards, episodes.is_response),
        episodes.scores - missing - 0.3 * penalty,
        atol=1e-5,
        rtol=0,
    )


def test_the_sampled_kl_agrees_with_the_exact_one_on_average(inputs: dict[str, Path]) -> None:
    """k1 is unbiased: 400 answers, within four standard errors."""
    learner = open_learner(inputs, kl_estimator="exact", micro_batch_tokens=8192)
    drawn(learner)
    prompts = [prompt(i % 6) for i in range(400)]
    episodes = score(learner, collect(learner, prompts, 1))

    sampled = row_sums(
        episodes.log_probs - episodes.reference_log_probs, episodes.is_response
    ).double()
    exact = row_sums(episodes.kl, episodes.is_response).double()

    error = float((sampled - exact).std()) / 20
    assert float(exact.mean()) > 0.01
    assert abs(float((sampled - exact).mean())) < 4 * error


def test_at_the_start_the_exact_kl_is_zero(inputs: dict[str, Path], tmp_path: Path) -> None:
    run("ppo", tmp_path / "run", PPO | {"kl_estimator": "exact"}, **inputs)

    rows = metrics(tmp_path / "run")
    assert abs(rows[0]["kl_exact"]) < 1e-4
    for row in rows[1:]:
        assert row["kl_exact"] > 1e-4
        assert row["kl_penalty"] == pytest.approx(row["kl_coef"] * row["kl_exact"], rel=1e-6)


def test_updates_stop_where_the_policy_moved_too_far(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """Four passes over two minibatches: with a bound nearly none are made, and the facts say how many were."""
    fast = {
        "inner_epochs": 4,
        "policy_optimizer": {"learning_rate": 0.03, "schedule": "constant"},
    }
    bounded = run("ppo", tmp_path / "bounded", PPO | fast | {"kl_stop": 1e-4}, **inputs)
    free = run("ppo", tmp_path / "free", PPO | fast, **inputs)

    rows = metrics(tmp_path / "bounded")
    assert all(1 <= row["updates"] <= 8 for row in rows)
    assert bounded.facts["updates"] == sum(row["updates"] for row in rows) < 24
    assert free.facts["updates"] == 48
    assert bounded.facts["response_tokens"] < free.facts["response_tokens"]
    loose = run("ppo", tmp_path / "loose", PPO | fast | {"kl_stop": 1e9}, **inputs)
    assert loose.facts["updates"] == 48
    weights = [results(tmp_path / name)["artifact/model.safetensors"] for name in ("loose", "free")]
    assert weights[0] == weights[1], "a bound that is never reached changes nothing"


# --- ptx ---


def test_pretraining_loss_by_sequence_is_by_token_times_their_number(
    inputs: dict[str, Path],
) -> None:
    grads: dict[str, list[Tensor]] = {}
    losses: dict[str, float] = {}
    for reduction in ("token", "sequence"):
        learner = open_learner(inputs, ptx_reduction=reduction, micro_batch_tokens=1)
        for parameter in learner.actor.parameters():
            parameter.grad = torch.zeros_like(parameter)
        tally = Tally()
        assert learner.packed is not None
        accumulate_ptx(learner.actor, learner.packed, learner.config, 0, tally)
        tally.add_ratios(torch.zeros(1), 0.2)
        tally.add(learning_rate=1.0)
        losses[reduction] = tally.means()["pretraining_loss"]
        grads[reduction] = [p.grad for p in learner.actor.parameters() if p.grad is not None]

    assert losses["sequence"] == pytest.approx(losses["token"], rel=1e-6), "logged per token"
    for by_token, by_sequence in zip(grads["token"], grads["sequence"], strict=True):
        torch.testing.assert_close(by_sequence, 24 * by_token, rtol=1e-4, atol=1e-6)
