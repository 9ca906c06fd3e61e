"""The gradients of one PPO update by another way: plain float64 code, a Llama of its own, one episode at a time.

Written from the published formulas and the architecture's definition; it shares no code with the package and none with
transformers. No padding, no masks, no micro-batches, no key-value cache: each episode is read alone, and one loss over
all of them is differentiated at once. Switches have the names that the package's config gives them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
"""A Llama's parameters by their published names, in float64."""


@dataclass(frozen=True)
class Shape:
    """What a Llama's weights do not say of it."""

    layers: int
    heads: int
    key_value_heads: int
    eps: float
    theta: float


@dataclass(frozen=True)
class Episode:
    """One prompt and what was drawn for it."""

    prompt: Sequence[int]
    response: Sequence[int]
    finished: bool


@dataclass(frozen=True)
class Switches:
    """The settings that an update depends on."""

    kl_coef: float
    kl_estimator: str
    discount: float
    gae_lambda: float
    clip_range: float
    value_clip_range: float | None
    value_network: str
    value_coef: float
    whiten_advantages: str
    whiten_rewards: bool
    missing_eos_penalty: float
    missing_eos_score: float | None
    ptx_coef: float
    ptx_reduction: str
    temperature: float


@dataclass(frozen=True)
class Models:
    """Policy and value function when the episodes were drawn and now, and the two that stay as they are.

    A value function has the weights of a trunk, `head` [D] and `bias`; on a shared trunk just the latter two.
    """

    policy: Weights
    policy_then: Weights
    reference: Weights
    reward_model: Weights
    value: Weights
    value_then: Weights


# --- a Llama ---


def states(weights: Weights, shape: Shape, tokens: Sequence[int]) -> Tensor:
    """[T, D]: what the last layer makes of each token, having seen those before it."""
    x = weights["embed_tokens.weight"][list(tokens)]
    for layer in range(shape.layers):
        w = {
            name.removeprefix(f"layers.{layer}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"layers.{layer}.")
        }
        x = x + _attention(w, shape, _norm(x, w["input_layernorm.weight"], shape.eps))
        y = _norm(x, w["post_attention_layernorm.weight"], shape.eps)
        gate, up = y @ w["mlp.gate_proj.weight"].T, y @ w["mlp.up_proj.weight"].T
        x = x + (gate / (1 + torch.exp(-gate)) * up) @ w["mlp.down_proj.weight"].T
    return _norm(x, weights["norm.weight"], shape.eps)


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def _attention(w: Weights, shape: Shape, x: Tensor) -> Tensor:
    q, k, v = (x @ w[f"self_attn.{name}_proj.weight"].T for name in "qkv")
    size = q.shape[1] // shape.heads
    mixed: list[Tensor] = []
    for head in range(shape.heads):
        shared = head // (shape.heads // shape.key_value_heads)
        query = _rotated(q[:, head * size : (head + 1) * size], shape.theta)
        key = _rotated(k[:, shared * size : (shared + 1) * size], shape.theta)
        value = v[:, shared * size : (shared + 1) * size]
        # Each token weighs those up to itself.
        weight = torch.tril(torch.exp(query @ key.T / math.sqrt(size)))
        mixed.append(weight @ value / weight.sum(-1, keepdim=True))
    return torch.cat(mixed, dim=1) @ w["self_attn.o_proj.weight"].T


def _rotated(x: Tensor, theta: float) -> Tensor:
    """Pair i of a head, (x_i, x_{i + d/2}), is turned by position times theta^(-2i/d)."""
    length, size = x.shape
    speeds = theta ** (-2 * torch.arange(size // 2, dtype=torch.float64) / size)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * speeds
    turned = torch.complex(*x.chunk(2, dim=1)) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], dim=1)


# --- what the models say of an episode ---


def _log_softmax(weights: Weights, hidden: Tensor, temperature: float) -> Tensor:
    """[T, V]; the unembedding is the embedding."""
    logits = hidden @ weights["embed_tokens.weight"].T / temperature
    return logits - torch.log(torch.exp(logits).sum(-1, keepdim=True))


def response_distributions(
    weights: Weights, shape: Shape, episode: Episode, temperature: float
) -> Tensor:
    """[R, V]: log-probabilities of every token that could have been drawn, in each state."""
    tokens = [*episode.prompt, *episode.response]
    hidden = states(weights, shape, tokens)[len(episode.prompt) - 1 : -1]
    return _log_softmax(weights, hidden, temperature)


def response_log_probs(
    weights: Weights, shape: Shape, episode: Episode, temperature: float
) -> Tensor:
    """[R]: of the tokens that were drawn."""
    every = response_distributions(weights, shape, episode, temperature)
    return torch.stack([every[t, token] for t, token in enumerate(episode.response)])


def _values(trunk: Weights, head: Weights, shape: Shape, episode: Episode) -> Tensor:
    """[R]: of the state before each drawn token."""
    tokens = [*episode.prompt, *episode.response]
    hidden = states(trunk, shape, tokens)[len(episode.prompt) - 1 : -1]
    return hidden @ head["head"] + head["bias"]


def score(weights: Weights, shape: Shape, episode: Episode) -> Tensor:
    """Of the reward model, read at the last token."""
    last = states(weights, shape, [*episode.prompt, *episode.response])[-1]
    return last @ weights["head"] + weights["bias"]


# --- one update ---


def losses(
    models: Models,
    shape: Shape,
    episodes: Sequence[Episode],
    minibatch: Sequence[int],
    blocks: Sequence[Sequence[int]],
    switches: Switches,
) -> tuple[Tensor, Tensor]:
    """What the policy's weights go down, and the value function's: differentiable in `models.policy` and `.value`.

    Args:
        episodes: of the whole iteration.
        minibatch: which of them this update learns from.
        blocks: the pretraining sequences that go with it; every token but the first is predicted.
    """
    advantages, returns = _estimates(models, shape, episodes, switches)
    if switches.whiten_advantages == "batch":
        advantages = _whitened(advantages, shift_mean=True)
    chosen = [advantages[i] for i in minibatch]
    if switches.whiten_advantages == "minibatch":
        chosen = _whitened(chosen, shift_mean=True)

    policy_terms: list[Tensor] = []
    value_terms: list[Tensor] = []
    for i, advantage in zip(minibatch, chosen, strict=True):
        episode = episodes[i]
        new = response_log_probs(models.policy, shape, episode, switches.temperature)
        with torch.no_grad():
            old = response_log_probs(models.policy_then, shape, episode, switches.temperature)
            then = models.policy_then if switches.value_network == "shared" else models.value_then
            old_values = _values(then, models.value_then, shape, episode)
        now = models.policy if switches.value_network == "shared" else models.value
        values = _values(now, models.value, shape, episode)
        for t in range(len(episode.response)):
            ratio = torch.exp(new[t] - old[t])
            near = torch.clamp(ratio, 1 - switches.clip_range, 1 + switches.clip_range)
            policy_terms.append(-torch.minimum(ratio * advantage[t], near * advantage[t]))
            error = (values[t] - returns[i][t]) ** 2
            if switches.value_clip_range is not None:
                moved = torch.clamp(
                    values[t] - old_values[t],
                    -switches.value_clip_range,
                    switches.value_clip_range,
                )
                error = torch.maximum(error, (old_values[t] + moved - returns[i][t]) ** 2)
            value_terms.append(0.5 * error)
    policy = sum(policy_terms, torch.zeros(())) / len(policy_terms)
    value = sum(value_terms, torch.zeros(())) / len(value_terms)
    if switches.value_network == "shared":
        policy = policy + switches.value_coef * value
    if switches.ptx_coef:
        policy = policy + switches.ptx_coef * _pretraining(models.policy, shape, blocks, switches)
    return policy, value


@torch.no_grad()
def _estimates(
    models: Models, shape: Shape, episodes: Sequence[Episode], switches: Switches
) -> tuple[list[Tensor], list[Tensor]]:
    """Advantages before whitening, and returns, of every episode."""
    rewards = [_rewards(models, shape, episode, switches) for episode in episodes]
    if switches.whiten_rewards:
        rewards = _whitened(rewards, shift_mean=False)
    advantages: list[Tensor] = []
    returns: list[Tensor] = []
    for episode, reward in zip(episodes, rewards, strict=True):
        trunk = models.policy_then if switches.value_network == "shared" else models.value_then
        values = _values(trunk, models.value_then, shape, episode)
        found = torch.zeros_like(reward)
        for t in range(len(reward)):
            for later in range(t, len(reward)):
                after = values[later + 1] if later + 1 < len(reward) else torch.zeros(())
                error = reward[later] + switches.discount * after - values[later]
                found[t] += (switches.discount * switches.gae_lambda) ** (later - t) * error
        advantages.append(found)
        returns.append(found + values)
    return advantages, returns


def _rewards(models: Models, shape: Shape, episode: Episode, switches: Switches) -> Tensor:
    policy, reference = (
        response_distributions(weights, shape, episode, switches.temperature)
        for weights in (models.policy_then, models.reference)
    )
    if switches.kl_estimator == "exact":
        kl = (torch.exp(policy) * (policy - reference)).sum(-1)
    else:
        kl = torch.stack([(policy - reference)[t, a] for t, a in enumerate(episode.response)])
    final = score(models.reward_model, shape, episode)
    if not episode.finished:
        fixed = switches.missing_eos_score
        final = final - switches.missing_eos_penalty if fixed is None else torch.tensor(fixed)
    rewards = -switches.kl_coef * kl
    rewards[-1] += final
    return rewards


def _whitened(rows: Sequence[Tensor], *, shift_mean: bool) -> list[Tensor]:
    every = torch.cat(list(rows))
    mean = every.mean()
    deviation = torch.sqrt(((every - mean) ** 2).mean() + 1e-8)
    return [(row - mean) / deviation + (0.0 if shift_mean else mean) for row in rows]


def _pretraining(
    weights: Weights, shape: Shape, blocks: Sequence[Sequence[int]], switches: Switches
) -> Tensor:
    """Minus the mean log-likelihood per token, or per sequence."""
    total, tokens = torch.zeros(()), 0
    for block in blocks:
        every = _log_softmax(weights, states(weights, shape, block[:-1]), 1.0)
        for t, token in enumerate(block[1:]):
            total = total - every[t, token]
            tokens += 1
    return total / (tokens if switches.ptx_reduction == "token" else len(blocks))
