"""Episodes: what the policy wrote in one iteration, and what reference, reward model and value function say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from transformers import PreTrainedModel

from alignloop.data.batches import Ragged, micro_batches
from alignloop.generation.engine import Response
from alignloop.models.policy import response_log_probs
from alignloop.models.reward_model import ScalarModel


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
    scores: Tensor
    """[B] from the reward model, bias included, no penalty."""
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


@torch.no_grad()
def make_episodes(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Response],
    *,
    reference: PreTrainedModel,
    reward_model: ScalarModel,
    value_function: ScalarModel,
    temperature: float,
    budget: int,
    pad: int,
) -> Episodes:
    """Look at drawn responses through the frozen models; the sampler's own log-probabilities are the old policy's.

    The log-probabilities are those of the engine, which agree with the trainer's to float32 rounding (doctor and
    tests check it), so no forward pass is spent on them [PPO-04].
    """
    batch = Ragged.of(prompts, [response.tokens for response in responses], pad)
    is_response = batch.is_response()
    log_probs = torch.zeros(batch.tokens.shape)
    log_probs[is_response] = torch.tensor([p for response in responses for p in response.log_probs])
    reference_log_probs, values = torch.zeros_like(log_probs), torch.zeros_like(log_probs)
    scores = torch.zeros(len(responses))
    for group in micro_batches(batch.lengths.tolist(), budget):
        at, part = torch.tensor(group), batch.rows(group)
        width = part.tokens.shape[1]
        reference_log_probs[at, :width] = response_log_probs(reference, part, temperature)
        values[at, :width] = value_function.values(part)
        scores[at] = reward_model.scores(part)
    finished = torch.tensor([response.finished for response in responses])
    return Episodes(batch, is_response, finished, log_probs, reference_log_probs, scores, values)
