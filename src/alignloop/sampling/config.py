"""Settings of `alignloop sample` and the verbs below it."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from alignloop.config import Config, Precision
from alignloop.generation.engine import SamplingConfig


class SampleConfig(Config):
    """How many distinct completions each prompt gets (InstructGPT: K from 4 to 9)."""

    seed: int = 1
    """Draws K for each prompt, and every completion."""
    k_min: int = Field(default=4, ge=2)
    """Fewest completions per prompt."""
    k_max: int = Field(default=9, ge=2)
    """Most completions per prompt; K is drawn evenly between the two."""
    draws: int = Field(default=4, gt=0)
    """Rounds of drawing until K completions differ; a prompt that has fewer then is dropped and counted."""
    limit: int | None = Field(default=None, gt=0)
    """Use that many prompts of each file, drawn at random; all of them without it."""
    sampling: SamplingConfig = SamplingConfig()
    """How completions are drawn."""
    precision: Precision = "float32"
    """Arithmetic of the matrix products; `bfloat16` acts on Llama-type models."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.k_min > self.k_max:
            raise ValueError(f"k_min {self.k_min} is above k_max {self.k_max}")
        return self


class BestOfNConfig(Config):
    """How many answers each prompt gets, of which a reward model chooses."""

    seed: int = 1
    """Draws the prompts, where there is a limit, and every answer."""
    n: int = Field(default=16, ge=2)
    """Answers per prompt."""
    limit: int | None = Field(default=None, gt=0)
    """Use that many prompts of each file, drawn at random; all of them without it."""
    sampling: SamplingConfig = SamplingConfig()
    """How answers are drawn."""


class RejectionConfig(BestOfNConfig):
    """Which sampled answers become demonstrations."""

    min_score: float | None = None
    """Keep every distinct answer with at least this score; without it the best answer of each prompt."""
