"""The arithmetic that every objective shares: sums with counts, masked reductions, log-probabilities. Torch only.

Shape letters: B sequences, T tokens, V vocabulary entries, N selected positions, D hidden width.
A mask's name says what True means, and True always means "counts".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHUNK_POSITIONS = 1024
"""Positions whose logits are made at the same time: [N, V] is built in chunks of this many rows."""
KEPT_VOCABULARY = 16_384
"""Largest V of which a chunk's log-probabilities are kept for its gradient; of a larger one they are computed again."""


@dataclass(frozen=True, slots=True)
class Summed:
    """A sum and how many terms went into it; divide once, after both were added over micro-batches and ranks."""

    total: Float[Tensor, ""]
    count: int

    def mean(self) -> Float[Tensor, ""]:
        """The mean, where this is all there is to sum."""
        return self.total / max(self.count, 1)


def generator(seed: int) -> torch.Generator:
    """A CPU generator with its own stream."""
    return torch.Generator("cpu").manual_seed(seed)


def counts_up_to(lengths: Int[Tensor, " B"], width: int) -> Bool[Tensor, "B T"]:
    """True at the first `lengths[b]` positions of each row: masks come from lengths, never from token ids."""
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


def rounded_up(count: int, multiple: int) -> int:
    """The next multiple, or the count where it is one."""
    return -(-count // multiple) * multiple


def masked_sum(values: Float[Tensor, "*S"], counts: Bool[Tensor, "*S"]) -> Summed:
    """Sum of the values where `counts`; what lies elsewhere (NaN even) changes nothing, gradients included."""
    kept = torch.where(counts, values, torch.zeros_like(values))
    return Summed(kept.sum(), int(counts.sum()))


def masked_mean(values: Float[Tensor, "*S"], counts: Bool[Tensor, "*S"]) -> Float[Tensor, ""]:
    """Mean of the values where `counts`."""
    return masked_sum(values, counts).mean()


def row_sums(values: Float[Tensor, "B T"], counts: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Sum of each row's values that count."""
    return torch.where(counts, values, torch.zeros_like(values)).sum(dim=1)


def sum_over_prompts(
    of_pairs: Float[Tensor, " P"], prompt_of_pair: Int[Tensor, " P"], divisors: Float[Tensor, " M"]
) -> Summed:
    """Sum over prompts of (1/divisor) * the sum over its pairs, and how many of the M prompts have a pair at all."""
    per_prompt = torch.zeros_like(divisors).index_add(0, prompt_of_pair, of_pairs)
    return Summed((per_prompt / divisors).sum(), int((torch.bincount(prompt_of_pair) > 0).sum()))


def wins(margins: Float[Tensor, " P"]) -> Summed:
    """Margins above 0, those of exactly 0 counting one half, and margins in all."""
    return Summed(((margins > 0).float() + 0.5 * (margins == 0).float()).sum(), len(margins))


def whiten(
    values: Float[Tensor, "*S"], counts: Bool[Tensor, "*S"], *, shift_mean: bool = True
) -> Float[Tensor, "*S"]:
    """(x - mean) * rsqrt(var + 1e-8) over the values that count; zeros elsewhere.

    The variance is the population's, as in Ziegler et al. 2019 [PPO-05]; `shift_mean=False` adds the mean back.
    """
    mean = masked_mean(values, counts)
    variance = masked_mean((values - mean) ** 2, counts)
    whitened = (values - mean) * torch.rsqrt(variance + 1e-8)
    if not shift_mean:
        whitened = whitened + mean
    return torch.where(counts, whitened, torch.zeros_like(whitened))


def token_log_probs(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    targets: Int[Tensor, " N"],
    temperature: float = 1.0,
) -> Float[Tensor, " N"]:
    """log softmax(hidden @ weight.T / temperature)[target], in float32, a chunk of positions at a time.

    The same temperature divides the logits in the sampler and here [PPO-09].
    """
    parts = [
        _TargetLogProbs.apply(
            hidden[at : at + CHUNK_POSITIONS],
            weight,
            targets[at : at + CHUNK_POSITIONS],
            temperature,
        )
        for at in range(0, len(targets), CHUNK_POSITIONS)
    ]
    return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)


def token_kl(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    other_hidden: Float[Tensor, "N E"],
    other_weight: Float[Tensor, "V E"],
    temperature: float = 1.0,
) -> Float[Tensor, " N"]:
    """KL(p || q) in nats over the whole vocabulary at each position, in float32, a chunk of positions at a time.

    p is softmax(hidden @ weight.T / temperature), q the same of the others.
    """
    parts: list[Tensor] = []
    for at in range(0, len(hidden), CHUNK_POSITIONS):
        log_p = _log_softmax(hidden[at : at + CHUNK_POSITIONS], weight, temperature)
        log_q = _log_softmax(other_hidden[at : at + CHUNK_POSITIONS], other_weight, temperature)
        parts.append((log_p.exp() * (log_p - log_q)).sum(dim=1))
    return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)


def _log_softmax(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    with torch.autocast(hidden.device.type, enabled=False):
        logits = F.linear(hidden.float(), weight.float())
        return torch.log_softmax(logits if temperature == 1.0 else logits / temperature, dim=1)


class _TargetLogProbs(torch.autograd.Function):
    """`token_log_probs` of one chunk.

    The backward pass is written out for the sake of its two products. They run in the precision of autocast, as those
    of every other layer do, while the forward product stays in float32: rounded logits would move PPO's ratio. And the
    incoming gradient is multiplied into what has D columns, not V. With a large vocabulary [N, V] would be most of what
    a pass keeps, so it is computed once more instead.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float
    ) -> Tensor:
        device = hidden.device.type
        is_mixed = torch.is_autocast_enabled(device)
        ctx.precision = torch.get_autocast_dtype(device) if is_mixed else torch.float32
        ctx.temperature = temperature
        log_probs = _log_softmax(hidden, weight, temperature)
        kept = log_probs if len(weight) <= KEPT_VOCABULARY else None
        ctx.save_for_backward(hidden, weight, targets, kept)
        return log_probs.gather(1, targets[:, None]).squeeze(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden, weight, targets, kept = ctx.saved_tensors
        log_probs = _log_softmax(hidden, weight, ctx.temperature) if kept is None else kept
        # d log p(target) / d logit v = (1[v = target] - p(v)) / temperature
        missing = log_probs.exp()
        missing[torch.arange(len(targets), device=targets.device), targets] -= 1.0
        missing = missing.to(ctx.precision)
        scale = (gradients[0] / -ctx.temperature)[:, None]
        of_hidden = of_weight = None
        if ctx.needs_input_grad[0]:
            of_hidden = ((missing @ weight.to(ctx.precision)) * scale).to(hidden.dtype)
        if ctx.needs_input_grad[1]:
            of_weight = (missing.t() @ (hidden * scale).to(ctx.precision)).to(weight.dtype)
        return of_hidden, of_weight, None, None
