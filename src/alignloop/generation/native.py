"""Sampling in this process: each distinct prompt is read once, finished rows leave the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from alignloop.config import Precision
from alignloop.errors import DataError
from alignloop.generation import llama
from alignloop.generation.decoder import Decoder, TransformersDecoder
from alignloop.generation.engine import Response, SamplingConfig
from alignloop.models.loading import context_length, output_weight
from alignloop.tensors import generator

_COMPACT_BELOW = 0.8
"""Finished rows are dropped from the cache once fewer than this share of them is still being written."""

_BLOCK = 64
"""Vocabulary entries whose probabilities are summed before it is known where a draw falls."""


class NativeEngine:
    """Samples from a transformers model in this process."""

    def __init__(
        self,
        model: PreTrainedModel,
        end: int,
        precision: Precision = "float32",
        *,
        is_compiled: bool = False,
    ) -> None:
        """An engine that draws from the model as it is at each call.

        Args:
            precision: arithmetic of the matrix products; logits and what is drawn from them are float32 either way.
            is_compiled: compile the step that draws a token, where the model is of a type that has the quicker decoder.
        """
        self._model, self._end = model, end
        self._precision: Precision = precision
        self._is_compiled, self._has_compiled = is_compiled, False

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        sampling: SamplingConfig,
        advance: Callable[[int], object] = lambda _: None,
    ) -> list[Response]:
        """See `Engine.generate`; long and short prompts are drawn in separate batches to keep padding small.

        Raises:
            DataError: a prompt and the longest response do not fit the context.
        """
        longest = max(map(len, prompts), default=0)
        if longest + sampling.max_new_tokens > context_length(self._model):
            raise DataError(
                f"a prompt of {longest} tokens and a response of up to {sampling.max_new_tokens} do not fit "
                f"the model's context of {context_length(self._model)}"
            )
        was_training = self._model.training
        self._model.eval()
        head = Head(self._model, self._precision)
        decoder = decoder_for(self._model, self._precision, is_compiled=self._is_compiled)
        if self._is_compiled and isinstance(decoder, llama.LlamaDecoder) and not self._has_compiled:
            decoder.compile()
            self._has_compiled = True
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), tuple(prompts[i]), i))
        responses: list[Response | None] = [None] * len(prompts)
        for at in range(0, len(order), sampling.batch_rows):
            rows = order[at : at + sampling.batch_rows]
            drawn = self._batch(
                decoder,
                head,
                [prompts[i] for i in rows],
                [seeds[i] for i in rows],
                sampling,
                advance,
            )
            for i, response in zip(rows, drawn, strict=True):
                responses[i] = response
        self._model.train(was_training)
        return [response for response in responses if response is not None]

    def _batch(
        self,
        decoder: Decoder,
        head: Head,
        prompts: list[Sequence[int]],
        seeds: list[int],
        sampling: SamplingConfig,
        advance: Callable[[int], object],
    ) -> list[Response]:
        # What each row will draw with: uniforms from its own stream, one per step.
        uniforms = torch.stack([uniforms_of(sampling.max_new_tokens, seed) for seed in seeds])
        distinct = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
        where = {prompt: row for row, prompt in enumerate(distinct)}
        rows = torch.tensor([where[tuple(prompt)] for prompt in prompts])
        hidden = decoder.start(distinct, rows, sampling.max_new_tokens)
        live = torch.arange(len(prompts))  # which prompt each row of the cache belongs to
        is_open = torch.ones(len(prompts), dtype=torch.bool)
        tokens = torch.zeros(len(prompts), sampling.max_new_tokens, dtype=torch.long)
        log_probs = torch.zeros(len(prompts), sampling.max_new_tokens)
        lengths = torch.zeros(len(prompts), dtype=torch.long)
        for step in range(sampling.max_new_tokens):
            logits = head.logits(hidden, sampling.temperature)
            drawn, drawn_log_probs = draw(logits, uniforms[live, step])
            tokens[live, step], log_probs[live, step] = drawn, drawn_log_probs
            lengths[live] += is_open[live].long()
            ended = (drawn == self._end) & is_open[live]
            is_open[live[ended]] = False
            advance(int(ended.sum()))
            still_open = is_open[live]
            if not still_open.any() or step + 1 == sampling.max_new_tokens:
                break
            if still_open.float().mean() < _COMPACT_BELOW:
                kept = _rows_to_keep(still_open, decoder.multiple)
                if len(kept) < len(live):
                    live, drawn = live[kept], drawn[kept]
                    decoder.keep(kept)
            hidden = decoder.step(drawn)
        advance(int(is_open.sum()))
        return [
            Response(row[:length], found[:length], finished=row[length - 1] == self._end)
            for row, found, length in zip(
                tokens.tolist(), log_probs.tolist(), lengths.tolist(), strict=True
            )
        ]


def decoder_for(
    model: PreTrainedModel, precision: Precision, *, is_compiled: bool = False
) -> Decoder:
    """The quickest decoder that computes what the model computes.

    Args:
        is_compiled: compile it, if it is one that can be.
    """
    if not llama.supports(model):
        return TransformersDecoder(model)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    return llama.LlamaDecoder(model, dtype, is_compiled=is_compiled)


def _rows_to_keep(still_open: Tensor, multiple: int) -> Tensor:
    """Indices of the open rows, and of as many others as make their number a multiple."""
    kept = still_open.nonzero()[:, 0]
    others = (~still_open).nonzero()[:, 0][: -len(kept) % multiple]
    return torch.cat([kept, others]).sort().values


class Head:
    """Hidden states to logits, in float32."""

    def __init__(self, model: PreTrainedModel, precision: Precision) -> None:
        weight = output_weight(model)
        self._weight = weight.bfloat16() if precision == "bfloat16" else weight

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._weight.device

    def logits(self, hidden: Tensor, temperature: float) -> Tensor:
        """[B, V], divided by the temperature."""
        logits = F.linear(hidden.to(self._weight.dtype), self._weight).float()
        return logits if temperature == 1.0 else logits / temperature


def uniforms_of(count: int, seed: int) -> Tensor:
    """A stream of one row, drawn on the CPU: the same on every device."""
    drawn = torch.rand(count, generator=generator(seed), dtype=torch.float64, device="cpu")
    return drawn.to(torch.get_default_device())


def draw(logits: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Invert each row's cumulative distribution at its uniform: [B, V], [B] -> tokens [B], log-probabilities [B].

    Sums are float64, first over blocks of the vocabulary and then inside the one that the uniform falls into: over the
    whole vocabulary they would cost more than a small model's layers.
    """
    peak = logits.amax(dim=1, keepdim=True)
    weights = F.pad((logits - peak).exp(), (0, -logits.shape[1] % _BLOCK))
    blocks = weights.view(len(logits), -1, _BLOCK)
    up_to = blocks.sum(dim=2, dtype=torch.float64).cumsum(dim=1)
    total = up_to[:, -1]
    target = uniforms * total
    block = _first_above(up_to, target)
    inside = blocks[torch.arange(len(blocks), device=block.device), block]
    before = F.pad(up_to, (1, 0)).gather(1, block[:, None])[:, 0]
    drawn = block * _BLOCK + _first_above(inside.double().cumsum(dim=1), target - before)
    drawn = drawn.clamp(max=logits.shape[1] - 1)  # NaN may point beyond the vocabulary
    return drawn, logits.gather(1, drawn[:, None])[:, 0] - peak[:, 0] - total.log().float()


def _first_above(up_to: Tensor, target: Tensor) -> Tensor:
    """[B]: the first place where a row of ascending sums exceeds its target, and never one that adds nothing.

    Where sums are NaN it is some place: the log-probability there is NaN too, and tells of it.
    """
    below = torch.nextafter(up_to[:, -1], torch.zeros_like(target))
    found = torch.searchsorted(up_to, target.clamp(max=below)[:, None], right=True)[:, 0]
    return found.clamp(max=up_to.shape[1] - 1)


@torch.no_grad()
def stream_tokens(
    model: PreTrainedModel, prompt: Sequence[int], sampling: SamplingConfig, end: int, seed: int
) -> Iterator[int]:
    """Draw one response token by token, the end token included; the same seed draws what `generate` draws."""
    decoder, head = decoder_for(model, "float32"), Head(model, "float32")
    uniforms = uniforms_of(sampling.max_new_tokens, seed)
    hidden = decoder.start([prompt], torch.tensor([0]), sampling.max_new_tokens)
    for step in range(sampling.max_new_tokens):
        logits = head.logits(hidden, sampling.temperature)
        drawn, _ = draw(logits, uniforms[step : step + 1])
        yield int(drawn)
        if int(drawn) == end:
            return
        hidden = decoder.step(drawn)
