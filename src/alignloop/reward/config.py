"""Settings of `alignloop reward`; the defaults are the paper's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from alignloop.config import Config, Precision
from alignloop.models.adapters import AdaptersConfig
from alignloop.training.optimizer import OptimizerConfig


class RewardConfig(Config):
    """The reward model (InstructGPT C.2)."""

    seed: int = 1
    """Draws the scalar head and orders the prompts."""
    epochs: int = Field(default=1, gt=0)
    """Passes over the rankings; the paper found more than one to overfit."""
    batch_size: int = Field(default=64, gt=0)
    """Prompts per update; each brings its K completions and all their pairs."""
    micro_batch_tokens: int = Field(default=4096, gt=0)
    """Padded tokens per forward pass; a prompt's completions always stay together."""
    divisor: Literal["kept_pairs", "all_pairs"] = "kept_pairs"
    """What a prompt's pair losses are divided by when ties were dropped [RM-01]."""
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=9e-6, schedule="cosine", final_share=0.1
    )
    """How weights are updated."""
    bias_demonstrations: int = Field(default=512, gt=0)
    """Train demonstrations whose mean score is set to 0."""
    adapters: AdaptersConfig | None = None
    """Train LoRA adapters on frozen weights; all weights where absent."""
    precision: Precision = "float32"
    """Arithmetic of the matrix products; weights are float32 either way."""
    valid_every: int = Field(default=10, gt=0)
    """Updates between validations."""
    checkpoint_every: int = Field(default=20, gt=0)
    """Updates between checkpoints."""
