"""Episodes: what the policy wrote in one iteration, and what reference, reward and value function say of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from alignloop.config import Precision
from alignloop.data.batches import Ragged, own_groups
from alignloop.distributed import ALONE, World
from alignloop.generation.engine import Response
from alignloop.models.policy import response_log_probs
from alignloop.tensors import masked_mean
from alignloop.training.step import autocast

AGREEMENT = 1e-5
"""Nats between two log-probabilities of one token, above which sampler and trainer do not agree."""
_CHECKED = 4
"""Responses of an iteration that are read again to see whether they do."""


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
    drawn_log_probs: Tensor
    """[B, T] as the sampler drew with them."""
    log_probs: Tensor
    """[B, T] of the policy that drew them, as the updates compute them: what ratios and the KL are taken to."""
    reference_log_probs: Tensor
    """[B, T] of the frozen reference."""
    kl: Tensor
    """[B, T] what the KL penalty is taken of: the log-ratio of the two, or the exact KL of the distributions."""
    scores: Tensor
    """[B] of the reward, no penalty."""
    values: Tensor
    """[B, T] of the value function before this iteration's updates."""
    sampler_gap: float
    """Mean distance of the sampler's log-probabilities from the policy's, over the responses that were read again."""

    def rows(self, indices: Sequence[int]) -> Episodes:
        """Some of the episodes, cut to the longest among them."""
        at = torch.tensor(list(indices))
        batch = self.batch.rows(indices)
        width = batch.tokens.shape[1]

        def take(tensor: Tensor) -> Tensor:
            return tensor[at, :width] if tensor.ndim == 2 else tensor[at]

        values = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors = {n: take(value) for n, value in values.items() if isinstance(value, Tensor)}
        return replace(self, batch=batch, **tensors)

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
    actor: PreTrainedModel,
    reference: PreTrainedModel,
    value_function: ValueFunction,
    temperature: float,
    budget: int,
    trusts_sampler: bool = False,
    precision: Precision = "float32",
    world: World = ALONE,
) -> Episodes:
    """Look at drawn responses through the models, in the arithmetic of the updates.

    Args:
        batch: the prompts with their responses.
        scores: [B] of the reward.
        trusts_sampler: take the sampler's own log-probabilities, where a few responses that the policy reads again
            show that they are the policy's, and spare the forward pass over the others [PPO-04].
        world: each rank passes its share of the rows through the models; all get all of them.
    """
    is_response = batch.is_response()
    drawn = torch.zeros(batch.tokens.shape)
    drawn[is_response] = torch.tensor([p for response in responses for p in response.log_probs])
    groups = own_groups(batch, budget, world)

    def fill(into: Tensor, trunk: PreTrainedModel, read: Callable[[Ragged], Tensor]) -> Tensor:
        with world.gathered(trunk), autocast(precision):
            for rows in groups:
                found = read(batch.rows(rows))
                into[rows, : found.shape[1]] = found
        return world.add(into)

    reference_log_probs = fill(
        torch.zeros_like(drawn),
        reference,
        lambda part: response_log_probs(reference, part, temperature),
    )
    values = fill(torch.zeros_like(drawn), value_function.trunk, value_function.values)
    log_probs, gap = drawn, None
    if trusts_sampler:
        some = batch.rows(range(min(_CHECKED, len(responses))))
        with world.gathered(actor), autocast(precision):
            read_again = response_log_probs(actor, some, temperature)
        gaps = (read_again - drawn[: len(read_again), : read_again.shape[1]])[some.is_response()]
        if bool((gaps.abs() <= AGREEMENT).all()):
            gap = float(gaps.abs().mean())
    if gap is None:
        log_probs = fill(
            torch.zeros_like(drawn),
            actor,
            lambda part: response_log_probs(actor, part, temperature),
        )
        gap = float(masked_mean((log_probs - drawn).abs(), is_response))
    return Episodes(
        batch=batch,
        is_response=is_response,
        finished=torch.tensor([response.finished for response in responses]),
        drawn_log_probs=drawn,
        log_probs=log_probs,
        reference_log_probs=reference_log_probs,
        kl=log_probs - reference_log_probs,
        scores=scores,
        values=values,
        sampler_gap=gap,
    )
