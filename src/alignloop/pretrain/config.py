"""Settings of `alignloop pretrain`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from alignloop.config import Config, Precision
from alignloop.models.loading import LlamaShape
from alignloop.training.optimizer import OptimizerConfig


class PretrainConfig(Config):
    """A Llama-type model and its tokenizer, trained from nothing on a pretraining text."""

    seed: int = 1
    """Seeds the weights and the order of the text."""
    model: LlamaShape = LlamaShape()
    """Size of the model."""
    vocab_size: int = Field(default=4096, ge=300)
    """Entries of the byte-level BPE that is trained first, special tokens included."""
    tokens: int = Field(default=10_000_000, gt=0)
    """Tokens to train on, repeats included."""
    batch_size: int = Field(default=32, gt=0)
    """Blocks of `model.context` tokens per update."""
    micro_batch_size: int = Field(default=8, gt=0)
    """Blocks per forward pass; changes memory, not the result beyond rounding."""
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=2e-3,
        schedule="trapezoid",
        warmup_steps=100,
        final_share=0.0,
        weight_decay=0.1,
    )
    """How weights are updated."""
    residual_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the residual branches."""
    precision: Precision = "float32"
    """Arithmetic of the matrix products; weights are float32 either way."""
    compile: bool = False
    """Compile the decoder layers: needs a C++ compiler and Python's headers, and changes rounding."""
    valid_every: int = Field(default=250, gt=0)
    """Updates between validations."""
    valid_documents: int = Field(default=48, gt=0)
    """Held-out documents per validation, evenly spread over the validation side."""
    checkpoint_every: int = Field(default=100, gt=0)
    """Updates between checkpoints."""
    export_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the artefact's weights."""

    @property
    def updates(self) -> int:
        """Optimizer steps that the token budget allows."""
        return max(self.tokens // (self.batch_size * self.model.context), 1)
