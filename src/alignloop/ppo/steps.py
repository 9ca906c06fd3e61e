"""One iteration of PPO in four steps that can be called alone: collect, score, advantages, update.

With several ranks each draws and scores its share of the prompts, after which all hold all episodes, and each takes its
share of every minibatch. `train` is a loop over them with a run folder around it. A loop of one's own:

    learner = Learner.open(config, policy, reward, value_start=reward_model)
    for iteration in range(config.iterations):
        rollout = collect(learner, prompts_of(iteration), iteration)
        episodes = score(learner, rollout)
        estimates = advantages(episodes, config, learner.kl_coef)
        metrics = update(learner, episodes, estimates, iteration)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from alignloop.data.batches import Ragged, own_groups
from alignloop.data.records import Prompt
from alignloop.errors import ConfigError, EngineError, NumericsError, RewardError
from alignloop.generation.engine import Response
from alignloop.models.policy import response_kl
from alignloop.models.reward_model import ValueHead
from alignloop.ppo import objective
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.gradients import (
    accumulate_policy,
    accumulate_ptx,
    accumulate_value,
)
from alignloop.ppo.learner import Learner, with_warmup
from alignloop.ppo.report import Tally, iteration_metrics
from alignloop.ppo.rewards import Answered
from alignloop.ppo.rollout import Episodes, Estimates, make_episodes
from alignloop.seeds import derive_seed
from alignloop.tensors import masked_mean, row_sums, whiten
from alignloop.training.step import autocast
from alignloop.training.step import update as step_optimizer


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the policy answered."""

    answered: Answered
    responses: Sequence[Response]


def collect(learner: Learner, prompts: Sequence[Prompt], iteration: int) -> Rollout:
    """1. The policy answers prompts. The same learner, prompts and iteration draw the same answers.

    Raises:
        DataError: a prompt leaves no room for the longest response.
        EngineError: the engine gave something else than one response to each prompt.
    """
    config, formatter = learner.config, learner.formatter
    encoded = formatter.prompts_with_room(prompts, config.sampling.max_new_tokens, learner.context)
    seeds = [derive_seed(config.seed, "rollout", iteration, row) for row in range(len(prompts))]
    mine = learner.world.shard(range(len(prompts)))
    with learner.world.gathered(learner.actor):
        drawn = learner.engine.generate(
            [encoded[i] for i in mine], [seeds[i] for i in mine], config.sampling
        )
    wrong = _wrong_with(drawn, [prompts[i] for i in mine], config.sampling.max_new_tokens)
    if wrong is not None:
        raise EngineError(f"iteration {iteration + 1}: {wrong}; the last checkpoint is good")
    responses = learner.world.gather(drawn)
    texts = [formatter.text(response.tokens) for response in responses]
    batch = Ragged.of(encoded, [response.tokens for response in responses], formatter.pad)
    return Rollout(Answered(prompts, texts, batch), responses)


def _wrong_with(
    responses: Sequence[Response], prompts: Sequence[Prompt], longest: int
) -> str | None:
    if len(responses) != len(prompts):
        return f"the engine gave {len(responses)} responses to {len(prompts)} prompts"
    for prompt, response in zip(prompts, responses, strict=True):
        count = len(response.tokens)
        if count == 0:
            return (
                f"the engine gave an empty response to prompt '{prompt.id}'; every response has one token at "
                "least: look at the engine's stop tokens"
            )
        if count > longest or count != len(response.log_probs):
            return (
                f"the engine gave {count} tokens and {len(response.log_probs)} log-probabilities to prompt "
                f"'{prompt.id}': there has to be one for each, and no more than {longest}"
            )
    return None


def score(learner: Learner, rollout: Rollout) -> Episodes:
    """2. Reward, reference and value function look at the answers."""
    config = learner.config
    episodes = make_episodes(
        rollout.answered.batch,
        rollout.responses,
        _checked(learner.reward.score(rollout.answered), len(rollout.responses)),
        actor=learner.actor,
        reference=learner.reference,
        value_function=learner.critic,
        temperature=config.sampling.temperature,
        budget=config.micro_batch_tokens,
        trusts_sampler=learner.trusts_its_engine,
        precision=config.precision,
        world=learner.world,
    )
    return episodes if config.kl_estimator == "sampled" else _with_exact_kl(learner, episodes)


def _checked(scores: Tensor, count: int) -> Tensor:
    if scores.shape != (count,):
        raise RewardError(f"the reward gave {tuple(scores.shape)} for {count} responses")
    return scores


def _with_exact_kl(learner: Learner, episodes: Episodes) -> Episodes:
    """The KL of whole distributions at each state, in place of the log-ratio of what was drawn [PPO-15]."""
    kl = torch.zeros_like(episodes.log_probs)
    with learner.world.gathered(learner.actor, learner.reference):
        for rows in own_groups(episodes.batch, learner.config.micro_batch_tokens, learner.world):
            part = episodes.batch.rows(rows)
            with autocast(learner.config.precision):
                found = response_kl(
                    learner.actor, learner.reference, part, learner.config.sampling.temperature
                )
            kl[rows, : found.shape[1]] = found
    return replace(episodes, kl=learner.world.add(kl))


def advantages(
    episodes: Episodes, config: PPOConfig, kl_coef: float, iteration: int = 0
) -> Estimates:
    """3. Rewards with the KL penalty, and generalised advantage estimates.

    Raises:
        NumericsError: a score, value or log-probability is not finite.
    """
    scores = objective.penalised_scores(
        episodes.scores, episodes.finished, config.missing_eos_penalty, config.missing_eos_score
    )
    for term, found in (
        ("score of the reward model", scores),
        ("value of the value function", episodes.values),
        ("log-probability of the sampler", episodes.drawn_log_probs),
        ("log-probability of the reference", episodes.reference_log_probs),
        ("log-probability of the policy", episodes.log_probs),
    ):
        if not bool(torch.isfinite(found).all()):
            raise NumericsError(
                f"iteration {iteration + 1}: a {term} is not finite; the last checkpoint is good"
            )
    counts = episodes.is_response
    rewards = objective.kl_rewards(scores, episodes.kl, counts, kl_coef)
    learned = whiten(rewards, counts, shift_mean=False) if config.whiten_rewards else rewards
    found, returns = objective.advantages_and_returns(
        learned, episodes.values, counts, config.discount, config.gae_lambda
    )
    std = float(masked_mean((found - masked_mean(found, counts)) ** 2, counts).sqrt())
    if config.whiten_advantages == "batch":
        found = whiten(found, counts)
    return Estimates(rewards, found, std, returns)


def update(
    learner: Learner, episodes: Episodes, estimates: Estimates, iteration: int
) -> dict[str, float]:
    """4. Policy (with ptx) and value function are improved, minibatch by minibatch; returns the iteration's metrics.

    Raises:
        ConfigError: ptx_coef > 0 and there is no pretraining text; or there are more or fewer episodes than
            `batch_size`.
        NumericsError: a loss or gradient is not finite.
    """
    config = learner.config
    if (learner.packed is None) == (config.ptx_coef > 0):
        raise ConfigError("pretraining text is needed where ptx_coef > 0, and there alone")
    if len(episodes.scores) != config.batch_size:
        raise ConfigError(
            f"{len(episodes.scores)} episodes where batch_size is {config.batch_size}: an iteration learns from all "
            "of its episodes, so give as many prompts to `collect`"
        )
    world = learner.world
    total = config.iterations * config.updates_per_iteration
    critic = learner.critic
    head = critic if isinstance(critic, ValueHead) else None
    module = learner.actor if head is None else nn.ModuleList([learner.actor, head])
    tally = Tally(world)
    for number, rows in enumerate(minibatches(iteration, config)):
        step = iteration * config.updates_per_iteration + number
        part = episodes.rows(rows)
        width = part.batch.tokens.shape[1]
        wanted, due = estimates.advantages[rows, :width], estimates.returns[rows, :width]
        if config.whiten_advantages == "minibatch":
            wanted = whiten(wanted, part.is_response)
        approx_kl = accumulate_policy(
            learner.actor, part, wanted, due, config, step, tally, head, world
        )
        if learner.packed is not None:
            accumulate_ptx(learner.actor, learner.packed, config, step, tally, world)
        norm, rate = step_optimizer(
            module,
            learner.optimizers["policy"],
            with_warmup(config.policy_optimizer, config),
            step=step,
            total=total,
            world=world,
            term="policy",
        )
        learner.ema.step(learner.actor)
        tally.add(gradient_norm=norm, learning_rate=rate)
        if not isinstance(critic, ValueHead):
            accumulate_value(critic, part, due, config, step, tally, world)
            value_norm, _ = step_optimizer(
                critic,
                learner.optimizers["value"],
                with_warmup(config.value_optimizer, config),
                step=step,
                total=total,
                world=world,
                term="value",
            )
            tally.add(value_gradient_norm=value_norm)
        if config.kl_stop is not None and approx_kl > config.kl_stop:
            break
    metrics = iteration_metrics(episodes, estimates, tally, config, learner.kl_coef)
    learner.kl_coef = next_kl_coef(learner.kl_coef, episodes, config)
    return metrics


def minibatches(iteration: int, config: PPOConfig) -> list[list[int]]:
    """Rows of every minibatch of one iteration, shuffled anew for each inner epoch."""
    batches: list[list[int]] = []
    for inner in range(config.inner_epochs):
        random = np.random.default_rng(derive_seed(config.seed, "minibatches", iteration, inner))
        order = random.permutation(config.batch_size).tolist()
        batches += [
            order[at : at + config.minibatch_size]
            for at in range(0, len(order), config.minibatch_size)
        ]
    return batches


def next_kl_coef(kl_coef: float, episodes: Episodes, config: PPOConfig) -> float:
    """The next iteration's coefficient: the same, or what the controller makes of this iteration's KL."""
    if config.adaptive_kl is None:
        return kl_coef
    per_sequence = row_sums(episodes.kl, episodes.is_response)
    return objective.adaptive_kl_coef(
        kl_coef,
        float(per_sequence.mean()),
        config.adaptive_kl.target,
        config.adaptive_kl.horizon,
        len(per_sequence),
    )
