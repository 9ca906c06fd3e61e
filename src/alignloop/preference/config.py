"""Settings of `alignloop dpo`; the defaults are those of Rafailov et al. 2023 where they have them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from alignloop.config import Config, Precision
from alignloop.training.optimizer import OptimizerConfig


class DPOConfig(Config):
    """Direct preference optimisation on whole rankings."""

    seed: int = 1
    """Orders the prompts."""
    epochs: int = Field(default=1, gt=0)
    """Passes over the rankings."""
    batch_size: int = Field(default=64, gt=0)
    """Prompts per update; each brings its K completions and all their pairs [DPO-01]."""
    micro_batch_tokens: int = Field(default=4096, gt=0)
    """Tokens per forward pass; a prompt's completions always stay together."""
    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference: the KL coefficient of the objective that DPO solves."""
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    """`sigmoid`: DPO; `ipo`: the squared distance of each pair's margin from 1/(2 beta)."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """With `sigmoid`: the share of comparisons that are taken to be the wrong way round (conservative DPO)."""
    length_normalised: bool = False
    """Divide each completion's log-ratio to the reference by its tokens [DPO-02]."""
    sft_coef: float = Field(default=0.0, ge=0)
    """Weight of the best completions' negative log-likelihood per token [DPO-03]; 0 is off."""
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=1e-6, schedule="constant", warmup_steps=150
    )
    """How weights are updated."""
    precision: Precision = "float32"
    """Arithmetic of the matrix products; weights are float32 either way."""
    valid_every: int = Field(default=10, gt=0)
    """Updates between validations."""
    checkpoint_every: int = Field(default=20, gt=0)
    """Updates between checkpoints."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.loss == "ipo" and self.label_smoothing:
            raise ValueError("label_smoothing belongs to loss = 'sigmoid'; set it to 0 with 'ipo'")
        return self
