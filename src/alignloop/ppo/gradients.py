"""The gradients of one minibatch: clipped surrogate, pretraining, clipped values, each piece by piece."""

from __future__ import annotations

import math

from torch import Tensor
from transformers import PreTrainedModel

from alignloop.data.batches import PackedText, shares_of_batch, shares_of_blocks
from alignloop.distributed import ALONE, World, own
from alignloop.errors import NumericsError
from alignloop.models.policy import (
    block_log_probs,
    hidden_states,
    log_probs_of,
)
from alignloop.models.reward_model import ScalarModel, ValueHead
from alignloop.ppo import objective
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.report import Tally
from alignloop.ppo.rollout import Episodes
from alignloop.training.step import autocast, backward


def accumulate_policy(
    actor: PreTrainedModel,
    part: Episodes,
    advantages: Tensor,
    returns: Tensor,
    config: PPOConfig,
    step: int,
    tally: Tally,
    head: ValueHead | None = None,
    world: World = ALONE,
) -> float:
    """Add the gradient of the clipped surrogate, mean over the minibatch's response tokens; returns its approx_kl.

    Args:
        head: a value function on the policy's own trunk; `value_coef` times its loss goes along [PPO-14].
    """
    count = int(part.is_response.sum())
    squares = 0.0
    for rows, weight in shares_of_batch(part.lengths(), config.micro_batch_tokens, world):
        piece = part.rows(rows)
        width = piece.batch.tokens.shape[1]
        with autocast(config.precision):
            hidden = hidden_states(actor, piece.batch)
            log_probs = log_probs_of(
                hidden, actor, piece.batch, piece.is_response, config.sampling.temperature
            )
        summed = objective.policy_loss(
            log_probs,
            piece.log_probs,
            advantages[rows, :width],
            piece.is_response,
            config.clip_range,
        )
        loss = summed.total * weight / count
        tally.add_sum("policy_loss", float(loss.detach()))
        if head is not None:
            values = head.values_of(hidden, piece.batch)
            missed = objective.value_loss(
                values,
                piece.values,
                returns[rows, :width],
                piece.is_response,
                config.value_clip_range,
            )
            tally.add_sum("value_loss", weight * float(missed.total.detach()) / count)
            loss = loss + config.value_coef * missed.total * weight / count
        backward(loss, "policy", step)
        if weight:
            log_ratio = (log_probs.detach() - piece.log_probs)[piece.is_response]
            tally.add_ratios(log_ratio, config.clip_range)
            squares += float((log_ratio.double() ** 2).sum())
    gradients = [p.grad for p in actor.parameters() if p.grad is not None]
    tally.add(ppo_gradient_norm=float(world.norm(gradients)))
    return 0.5 * world.sum(squares) / count


def accumulate_ptx(
    actor: PreTrainedModel,
    packed: PackedText,
    config: PPOConfig,
    step: int,
    tally: Tally,
    world: World = ALONE,
) -> None:
    """Add ptx_coef times the gradient of the pretraining loss to the same buffers [PPO-01].

    Its mean over tokens, or over sequences of summed tokens, as `ptx_reduction` says; per token it is logged.
    """
    before = [gradient.clone() for gradient in _own_gradients(actor)]
    sequences = config.minibatch_size * config.ptx_ratio
    blocks = packed.batch(step * sequences, sequences)
    count = blocks[:, 1:].numel()
    divisor = count if config.ptx_reduction == "token" else len(blocks)
    for piece, weight in shares_of_blocks(blocks, config.micro_batch_tokens, world):
        with autocast(config.precision):
            log_probs = block_log_probs(actor, piece)
        loss = -log_probs.sum() * weight / divisor
        value = backward(config.ptx_coef * loss, "pretraining", step) / config.ptx_coef
        tally.add_sum("pretraining_loss", value * divisor / count)
    sums = {"dot": 0.0, "ptx": 0.0, "ppo": 0.0}
    for ppo, both in zip(before, _own_gradients(actor), strict=True):
        ptx = both - ppo
        sums["dot"] += float((ppo * ptx).sum())
        sums["ptx"] += float((ptx**2).sum())
        sums["ppo"] += float((ppo**2).sum())
    sums = world.sums(sums)
    norm, ppo_norm = sums["ptx"] ** 0.5, sums["ppo"] ** 0.5
    if not math.isfinite(norm):
        raise NumericsError(
            f"step {step + 1}: the gradient of the pretraining loss is {norm}; the last checkpoint is good: "
            "lower ptx_coef or the learning rate"
        )
    cosine = sums["dot"] / max(norm * ppo_norm, 1e-30)
    tally.add(ptx_gradient_norm=norm, gradient_cosine=cosine)


def _own_gradients(model: PreTrainedModel) -> list[Tensor]:
    return [own(p.grad) for p in model.parameters() if p.grad is not None]


def accumulate_value(
    critic: ScalarModel,
    part: Episodes,
    returns: Tensor,
    config: PPOConfig,
    step: int,
    tally: Tally,
    world: World = ALONE,
) -> None:
    """Add the gradient of the clipped value loss, mean over the minibatch's response tokens."""
    count = int(part.is_response.sum())
    for rows, weight in shares_of_batch(part.lengths(), config.micro_batch_tokens, world):
        piece = part.rows(rows)
        due = returns[rows, : piece.batch.tokens.shape[1]]
        with autocast(config.precision):
            values = critic.values(piece.batch)
        summed = objective.value_loss(
            values, piece.values, due, piece.is_response, config.value_clip_range
        )
        tally.add_sum("value_loss", backward(summed.total * weight / count, "value", step))
