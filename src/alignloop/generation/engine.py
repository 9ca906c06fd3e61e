"""What a rollout engine must do, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from alignloop.config import Config
from alignloop.data.formatter import Formatter
from alignloop.data.records import Completion


class SamplingConfig(Config):
    """How responses are drawn. No top-p or top-k: they would change the distribution that PPO's ratio needs."""

    max_new_tokens: int = Field(default=96, gt=0)
    """Longest response, EOS included; one that reaches it without EOS is truncated."""
    temperature: float = Field(default=1.0, gt=0)
    """Divides the logits, in the sampler and wherever these tokens' log-probabilities are computed again."""
    batch_rows: int = Field(default=128, gt=0)
    """Responses that are drawn together; the keys and values of each are held in memory."""


@dataclass(frozen=True, slots=True)
class Response:
    """One drawn response."""

    tokens: list[int]
    """The response's tokens, EOS included if it was drawn; none is ever made up."""
    log_probs: list[float]
    """Log-probability of each token as it was drawn (temperature applied)."""
    finished: bool
    """Whether the last token is EOS."""


def completion_of(response: Response, formatter: Formatter, model: str) -> Completion:
    """The record of a drawn response.

    Args:
        model: name of the model that drew it.
    """
    return Completion(
        text=formatter.text(response.tokens),
        model=model,
        finished=response.finished,
        tokens=len(response.tokens),
        token_ids=tuple(response.tokens),
    )


class Engine(Protocol):
    """Draws one response per row, deterministically: a row's draws depend on its prompt and seed alone."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        sampling: SamplingConfig,
        advance: Callable[[int], object] = ...,
    ) -> list[Response]:
        """Draw responses in the order of the prompts; equal neighbouring prompts share their encoding.

        Args:
            prompts: token ids per row.
            seeds: one per row.
            advance: called with the number of rows that ended (a progress bar's update).
        """
        ...
