"""Settings of `alignloop reward`; the defaults are the paper's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from alignloop.config import Config, Precision
from alignloop.models.adapters import AdaptersConfig
from alignloop.training.optimizer import OptimizerConfig
from alignloop.training.rankings import Ties

Loss = Literal["ranking", "best_of_k", "shuffled_pairs"]
Head = Literal["new", "kept"]
Normalise = Literal["bias", "gain_and_bias", "none"]


class RewardConfig(Config):
    """The reward model (InstructGPT C.2)."""

    seed: int = 1
    """Draws the scalar head and orders the prompts."""
    head: Head | None = None
    """`new`: drawn; `kept`: that of the reward model to go on from. Absent: kept where there is one."""
    epochs: int = Field(default=1, gt=0)
    """Passes over the rankings; the paper found more than one to overfit."""
    batch_size: int = Field(default=64, gt=0)
    """Prompts per update; each brings its K completions and all their pairs."""
    micro_batch_tokens: int = Field(default=4096, gt=0)
    """Tokens per forward pass; a prompt's completions always stay together."""
    loss: Loss = "ranking"
    """`ranking`: Eq. 1. For comparison: `best_of_k`, softmax cross-entropy on a prompt's best completion [RM-05];
    `shuffled_pairs`, every pair a row of its own, which the paper warns against [RM-07]."""
    ties: Ties = "drop"
    """`drop`: a tie is no pair. `half`: a tie is a pair with target (0.5, 0.5) [RM-04]."""
    divisor: Literal["kept_pairs", "all_pairs"] = "kept_pairs"
    """What a prompt's pair losses are divided by when ties were dropped [RM-01]."""
    margin: float = Field(default=0.0, ge=0)
    """Subtracted from every r_w - r_l inside the loss; ties have none [RM-06]."""
    margin_per_rank: float = Field(default=0.0, ge=0)
    """The same for every rank that the two are apart [RM-06]."""
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=9e-6, schedule="cosine", final_share=0.1
    )
    """How weights are updated."""
    normalise: Normalise = "bias"
    """`bias`: demonstrations score 0 on average [RM-02]; `gain_and_bias`: and their scores' standard deviation is 1
    [RM-08]; `none`: scores stay as they were learned."""
    bias_demonstrations: int = Field(default=512, gt=0)
    """Train demonstrations on which the scale is set."""
    adapters: AdaptersConfig | None = None
    """Train LoRA adapters on frozen weights; all weights where absent."""
    compile: bool = False
    """Compile the decoder layers, and fill every pass to `micro_batch_tokens`: for long runs; rounding changes."""
    precision: Precision = "float32"
    """Arithmetic of the matrix products; weights are float32 either way."""
    valid_every: int = Field(default=10, gt=0)
    """Updates between validations; with several epochs, the end of each is validated as well."""
    checkpoint_every: int = Field(default=20, gt=0)
    """Updates between checkpoints."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.loss == "best_of_k" and (
            self.ties == "half" or self.margin or self.margin_per_rank
        ):
            raise ValueError(
                "loss = 'best_of_k' knows no pairs: leave out ties = 'half' and the margins"
            )
        if self.loss != "ranking" and self.divisor == "all_pairs":
            raise ValueError(
                f"loss = '{self.loss}' divides by no number of pairs: leave out divisor"
            )
        return self
