"""Episodes: what the policy wrote in one iteration, and what reference, reward and value function say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from alignloop.data.batches import Ragged, own_groups
from alignloop.distributed import ALONE, World
from alignloop.generation.engine import Response
from alignloop.models.policy import response_log_probs


class ValueFunction(Protocol):
    """Says what each state is worth: a `ScalarModel`, or a `ValueHead` on the policy's trunk."""

    @property
    def trunk(self) -> PreTrainedModel:
        """The model that it reads states with."""
        ...

    def values(self, batch: Ragged) -> Tensor:
        """[B, T]: at response token t the value of the state before it; zeros elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class Episodes:
    """B finished episodes. State: prompt and the tokens so far; action: the next token; one reward per action."""

    batch: Ragged
    """Prompts and responses, right-padded to [B, T]."""
    is_response: Tensor
    """[B, T] bool: the actions."""
    finished: Tensor
    """[B] bool: ended by EOS, not by the length limit."""
    log_probs: Tensor
    """[B, T] of the policy that drew them."""
    reference_log_probs: Tensor
    """[B, T] of the frozen reference."""
    kl: Tensor
    """[B, T] what the KL penalty is taken of: the log-ratio of the two, or the exact KL of the distributions."""
    scores: Tensor
    """[B] of the reward, no penalty."""
    values: Tensor
    """[B, T] of the value function before this iteration's updates."""

    def rows(self, indices: Sequence[int]) -> Episodes:
        """Some of the episodes, cut to the longest among them."""
        at = torch.tensor(list(indices))
        batch = self.batch.rows(indices)
        width = batch.tokens.shape[1]

        def take(tensor: Tensor) -> Tensor:
            return tensor[at, :width] if tensor.ndim == 2 else tensor[at]

        rest = {f.name: take(getattr(self, f.name)) for f in fields(self) if f.name != "batch"}
        return Episodes(batch=batch, **rest)

    def lengths(self) -> list[int]:
        """Tokens per episode, prompt included."""
        return self.batch.lengths.tolist()


@dataclass(frozen=True, slots=True)
class Estimates:
    """[B, T] each, zeros outside the responses."""

    rewards: Tensor
    """Per token, as they are before any whitening: their sums are what the policy is to raise."""
    advantages: Tensor
    """Not whitened over a minibatch yet; over the whole batch, where the config says so [PPO-05]."""
    advantage_std: float
    """Standard deviation of the advantages before any whitening."""
    returns: Tensor
    """Advantages plus values, before any whitening of the advantages."""


def make_episodes(
    batch: Ragged,
    responses: Sequence[Response],
    scores: Tensor,
    *,
    reference: PreTrainedModel,
    value_function: ValueFunction,
    temperature: float,
    budget: int,
    world: World = ALONE,
) -> Episodes:
    """Look at drawn responses through the frozen models; the sampler's own log-probabilities are the old policy's.

    The log-probabilities are those of the engine, which agree with the trainer's to float32 rounding (doctor and
    tests check it), so no forward pass is spent on them [PPO-04].

    Args:
        batch: the prompts with their responses.
        scores: [B] of the reward.
        world: each rank passes its share of the rows through the models; all get all of them.
    """
    is_response = batch.is_response()
    log_probs = torch.zeros(batch.tokens.shape)
    log_probs[is_response] = torch.tensor([p for response in responses for p in response.log_probs])
    reference_log_probs, values = torch.zeros_like(log_probs), torch.zeros_like(log_probs)
    groups = own_groups(batch, budget, world)
    with world.gathered(reference):
        for rows in groups:
            found = response_log_probs(reference, batch.rows(rows), temperature)
            reference_log_probs[rows, : found.shape[1]] = found
    with world.gathered(value_function.trunk):
        for rows in groups:
            found = value_function.values(batch.rows(rows))
            values[rows, : found.shape[1]] = found
    reference_log_probs, values = world.add(reference_log_probs), world.add(values)
    return Episodes(
        batch=batch,
        is_response=is_response,
        finished=torch.tensor([response.finished for response in responses]),
        log_probs=log_probs,
        reference_log_probs=reference_log_probs,
        kl=log_probs - reference_log_probs,
        scores=scores,
        values=values,
    )
