"""The PPO loop in the paper's order: draw, score, estimate advantages, improve policy (with ptx) and values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alignloop.data.batches import PackedText, epoch_order
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records, write_objects
from alignloop.data.records import Prompt
from alignloop.distributed import World
from alignloop.errors import ConfigError, DataError, NumericsError
from alignloop.generation.native import NativeEngine
from alignloop.models.dropout import residual_dropout
from alignloop.models.loading import (
    check_same_tokens,
    check_tokenizer,
    context_length,
    load_causal_lm,
    load_tokenizer,
    save_model,
)
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo import objective
from alignloop.ppo.checks import rewards_never_stopping
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.gradients import (
    accumulate_policy,
    accumulate_ptx,
    accumulate_value,
    log_probs_as_trained,
)
from alignloop.ppo.report import Tally, iteration_metrics
from alignloop.ppo.rollout import Episodes, make_episodes
from alignloop.progress import progress
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.seeds import derive_seed
from alignloop.tensors import row_sums, whiten
from alignloop.training.ema import EMA
from alignloop.training.optimizer import OptimizerConfig, make_optimizer
from alignloop.training.pretraining_text import read_pretraining_text
from alignloop.training.state import load_state, save_state
from alignloop.training.step import update

SAMPLES = 64
"""Most episodes in one file of samples."""


def train(
    config: PPOConfig,
    run: Run,
    world: World,
    *,
    policy: Path,
    reward_model: Path,
    prompts: Path,
    text: Path | None = None,
) -> Artifact:
    """Improve `policy` on the `rl` file of a `prompts` artefact; leaves a `policy` artefact.

    The policy as it starts is also the frozen reference; the value function starts as a copy of the reward model.
    """
    start = run.input("policy", policy, "policy")
    judge = run.input("reward_model", reward_model, "reward-model")
    asked = run.input("prompts", prompts, "prompts")
    tokenizer = load_tokenizer(start.path)
    check_same_tokens(start.path, judge.path)
    formatter = Formatter.of(tokenizer)
    actor, reference = load_causal_lm(start.path), load_causal_lm(start.path)
    scorer, critic = ScalarModel.load(judge.path), ScalarModel.load(judge.path)
    check_tokenizer(start.path, actor, tokenizer)
    for frozen in (reference, scorer):
        frozen.requires_grad_(False)
    records = read_records(asked.file("rl.jsonl.gz"), Prompt)
    room = min(context_length(actor), context_length(scorer.model))
    encoded = _encode(records, formatter, config, room)
    packed = _pretraining_text(config, run, text, tokenizer, context_length(actor))

    policy_config = _with_warmup(config.policy_optimizer, config)
    value_config = _with_warmup(config.value_optimizer, config)
    optimizers: dict[str, torch.optim.Optimizer] = {
        "policy": make_optimizer(actor, policy_config),
        "value": make_optimizer(critic, value_config),
    }
    ema = EMA(actor, config.ema_decay)
    iteration, kl_coef = 0, config.kl_coef
    if found := run.latest_checkpoint():
        iteration, folder = found
        tensors, values = load_state(folder, {"policy": actor, "value": critic}, optimizers)
        kl_coef = values["kl_coef"]
        ema.weights = tensors["ema"]

    engine = NativeEngine(actor, formatter.end)
    total = config.iterations * config.updates_per_iteration
    # Dropout is off in all four models: it would make the ratio differ from 1 before any update [PPO-06].
    with (
        residual_dropout(actor, 0.0),
        residual_dropout(critic.model, 0.0),
        progress(config.iterations, run.stage, "iteration", iteration) as bar,
    ):
        while iteration < config.iterations:
            # 1. The policy answers a batch of prompts.
            asked_now = _prompts_of(iteration, len(encoded), config)
            seeds = [
                derive_seed(config.seed, "rollout", iteration, row) for row in range(len(asked_now))
            ]
            responses = engine.generate([encoded[i] for i in asked_now], seeds, config.sampling)
            # 2. Reference, reward model and value function look at the answers.
            episodes = make_episodes(
                [encoded[i] for i in asked_now],
                responses,
                reference=reference,
                reward_model=scorer,
                value_function=critic,
                temperature=config.sampling.temperature,
                budget=config.micro_batch_tokens * 2,
                pad=formatter.pad,
            )
            if iteration == 0:
                _refuse_rewarding_no_end(episodes, config)
            rewards, advantages, returns = _advantages(episodes, config, kl_coef, iteration)
            old = log_probs_as_trained(actor, episodes, config)
            wanted_of_all = _whitened_over_batch(advantages, episodes, config)
            # 3. Policy and value function are improved, minibatch by minibatch.
            tally = Tally()
            for number, rows in enumerate(_minibatches(iteration, config)):
                step = iteration * config.updates_per_iteration + number
                part = old.rows(rows)
                width = part.batch.tokens.shape[1]
                wanted, due = wanted_of_all[rows, :width], returns[rows, :width]
                if config.whiten_advantages == "minibatch":
                    wanted = whiten(wanted, part.is_response)
                accumulate_policy(actor, part, wanted, config, step, tally)
                if packed is not None:
                    accumulate_ptx(actor, packed, config, step, tally)
                norm, rate = update(
                    actor,
                    optimizers["policy"],
                    policy_config,
                    step=step,
                    total=total,
                    world=world,
                    term="policy",
                )
                ema.step(actor)
                accumulate_value(critic, part, due, config, step, tally)
                value_norm, _ = update(
                    critic,
                    optimizers["value"],
                    value_config,
                    step=step,
                    total=total,
                    world=world,
                    term="value",
                )
                tally.add(gradient_norm=norm, value_gradient_norm=value_norm, learning_rate=rate)
            iteration += 1

            run.log(
                iteration,
                iteration_metrics(
                    episodes, old, rewards, advantages, returns, tally, config, kl_coef
                ),
            )
            kl_coef = _next_kl_coef(kl_coef, episodes, config)
            if iteration % config.samples_every == 0 or iteration == config.iterations:
                _write_samples(run, iteration, formatter, [records[i] for i in asked_now], episodes)
            bar.set_postfix_str(f"score {float(episodes.scores.mean()):.2f}")
            bar.update()
            if iteration % config.checkpoint_every == 0 or run.stop_requested():
                run.save_checkpoint(
                    iteration,
                    partial(
                        save_state,
                        models={"policy": actor, "value": critic},
                        optimizers=optimizers,
                        tensors={"ema": ema.weights},
                        values={"kl_coef": kl_coef},
                    ),
                )
            if run.stop_requested():
                raise run.interrupt()

    def write(folder: Path) -> None:
        if config.export == "ema":
            with ema.applied_to(actor):
                save_model(actor, tokenizer, folder)
        else:
            save_model(actor, tokenizer, folder)

    facts = {
        "stage": run.stage,
        "method": "PPO-ptx" if config.ptx_coef > 0 else "PPO",
        "weights": config.export,
        "episodes": config.iterations * config.batch_size,
        "updates": total,
        "response_tokens": _response_tokens(run, config),
    }
    return run.finish("policy", write, facts)


def _advantages(
    episodes: Episodes, config: PPOConfig, kl_coef: float, iteration: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(rewards, advantages, returns) of one iteration, rewards and advantages as they are before any whitening."""
    scores = objective.penalised_scores(
        episodes.scores, episodes.finished, config.missing_eos_penalty, config.missing_eos_score
    )
    for term, found in (
        ("score of the reward model", scores),
        ("value of the value function", episodes.values),
        ("log-probability of the policy", episodes.log_probs),
        ("log-probability of the reference", episodes.reference_log_probs),
    ):
        if not bool(torch.isfinite(found).all()):
            raise NumericsError(
                f"iteration {iteration + 1}: a {term} is not finite; the last checkpoint is good"
            )
    rewards = objective.kl_rewards(
        scores,
        episodes.log_probs,
        episodes.reference_log_probs,
        episodes.is_response,
        kl_coef,
    )
    learned = rewards
    if config.whiten_rewards:
        learned = whiten(rewards, episodes.is_response, shift_mean=False)
    advantages, returns = objective.advantages_and_returns(
        learned, episodes.values, episodes.is_response, config.discount, config.gae_lambda
    )
    return rewards, advantages, returns


def _whitened_over_batch(advantages: Tensor, episodes: Episodes, config: PPOConfig) -> Tensor:
    """The advantages, whitened over the whole iteration where the config says so [PPO-05]."""
    if config.whiten_advantages != "batch":
        return advantages
    return whiten(advantages, episodes.is_response)


def _next_kl_coef(kl_coef: float, episodes: Episodes, config: PPOConfig) -> float:
    """The next iteration's coefficient: the same, or what the controller makes of this iteration's KL."""
    if config.adaptive_kl is None:
        return kl_coef
    ratios = row_sums(episodes.log_probs - episodes.reference_log_probs, episodes.is_response)
    return objective.adaptive_kl_coef(
        kl_coef,
        float(ratios.mean()),
        config.adaptive_kl.target,
        config.adaptive_kl.horizon,
        len(ratios),
    )


def _refuse_rewarding_no_end(episodes: Episodes, config: PPOConfig) -> None:
    """Stop before the first update where a fixed score would teach the policy never to stop."""
    if config.missing_eos_score is None:
        return
    problem = rewards_never_stopping(episodes.scores, episodes.finished, config.missing_eos_score)
    if problem is not None:
        raise ConfigError(problem)


def _encode(
    prompts: Sequence[Prompt], formatter: Formatter, config: PPOConfig, context: int
) -> list[list[int]]:
    """Prompts as tokens, each with room for the longest response."""
    encoded = formatter.prompts(prompts)
    for prompt, tokens in zip(prompts, encoded, strict=True):
        if len(tokens) + config.sampling.max_new_tokens > context:
            raise DataError(
                f"prompt '{prompt.id}' has {len(tokens)} tokens; with a response of up to "
                f"{config.sampling.max_new_tokens} it does not fit the context of {context}"
            )
    return encoded


def _pretraining_text(
    config: PPOConfig, run: Run, text: Path | None, tokenizer: object, context: int
) -> PackedText | None:
    if config.ptx_coef == 0:
        return None
    return read_pretraining_text(
        run,
        text,
        tokenizer,
        needed_by="ptx_coef",
        width_field="ptx_tokens",
        width=config.ptx_tokens,
        context=context,
        seed=derive_seed(config.seed, "ptx"),
    )


def _with_warmup(optimizer: OptimizerConfig, config: PPOConfig) -> OptimizerConfig:
    steps = config.warmup_iterations * config.updates_per_iteration
    return optimizer.model_copy(update={"warmup_steps": steps})


def _prompts_of(iteration: int, available: int, config: PPOConfig) -> list[int]:
    """Which prompts an iteration asks: each pass over them in a new order."""
    numbers = range(iteration * config.batch_size, (iteration + 1) * config.batch_size)
    epochs = {number // available for number in numbers}
    orders = {epoch: epoch_order(available, config.seed, epoch) for epoch in epochs}
    return [orders[number // available][number % available] for number in numbers]


def _minibatches(iteration: int, config: PPOConfig) -> list[list[int]]:
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


def _response_tokens(run: Run, config: PPOConfig) -> int:
    """Response tokens that gave gradients over the whole run."""
    means = [float(row["response_tokens"]) for row in run.metrics.read()]
    return round(sum(means) * config.batch_size * config.inner_epochs)


def _write_samples(
    run: Run, iteration: int, formatter: Formatter, prompts: Sequence[Prompt], episodes: Episodes
) -> None:
    """Episodes of an iteration, to read: prompt, response, score, summed log-ratio to the reference."""
    ratios = row_sums(episodes.log_probs - episodes.reference_log_probs, episodes.is_response)
    rows = [
        {
            "prompt_id": prompt.id,
            "prompt": prompt.transcript,
            "response": formatter.text(
                episodes.batch.tokens[i].tolist()[
                    int(episodes.batch.prompt_lengths[i]) : int(episodes.batch.lengths[i])
                ]
            ),
            "score": round(float(episodes.scores[i]), 4),
            "kl_reference": round(float(ratios[i]), 4),
            "finished": bool(episodes.finished[i]),
        }
        for i, prompt in enumerate(prompts[:SAMPLES])
    ]
    write_objects(run.folder / "samples" / f"step_{iteration:06d}.jsonl", rows)
