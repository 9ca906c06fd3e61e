"""Settings of `alignloop sft`; the defaults are the paper's for its 1.3B model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from alignloop.config import Config, Precision
from alignloop.models.adapters import AdaptersConfig
from alignloop.training.optimizer import OptimizerConfig

Turns = Literal["last", "all"]
Packing = Literal["bucketed", "packed"]


class SFTConfig(Config):
    """Fine-tuning on demonstrations (InstructGPT C.1), and the RL initialisation (C.3) when `pretraining_mix` > 0."""

    seed: int = 1
    """Orders the demonstrations and draws the dropout."""
    epochs: int = Field(default=16, gt=0)
    """Passes over the demonstrations; the artefact of every epoch is kept."""
    response_tokens: int | None = Field(default=None, gt=0)
    """Stop once this many response tokens were learned from, whatever `epochs` says."""
    batch_size: int = Field(default=32, gt=0)
    """Demonstrations per update."""
    micro_batch_tokens: int = Field(default=4096, gt=0)
    """Tokens per forward pass, padding included; changes memory and, with dropout, which branches drop; else rounding
    alone."""
    packing: Packing = "bucketed"
    """How demonstrations share a forward pass: `bucketed`, rows of similar length with padding; `packed`, one row
    without, in which each sees itself alone. Changes speed, and else what `micro_batch_tokens` changes. With `compile`
    always `packed`."""
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=9.65e-6, schedule="cosine", final_share=0.1
    )
    """How weights are updated."""
    residual_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout on the residual branches; acts on Llama-type models too."""
    learn_turns: Turns = "last"
    """Of a conversation learn the `last` turn, the response, or `all` turns of the assistant [SFT-05]."""
    loss_on_prompt: bool = False
    """Learn the prompt's tokens as well [SFT-01]."""
    pretraining_mix: float = Field(default=0.0, ge=0, lt=1)
    """Share of the loss, and of the sequences of each batch, that is pretraining text [SFT-03]; needs `--text`."""
    pretraining_tokens: int = Field(default=255, gt=0)
    """Predicted tokens per sequence of pretraining text."""
    max_prompt_tokens: int | None = Field(default=None, gt=0)
    """Leave out (and count) demonstrations with a longer prompt; without it a prompt beyond the context is an error."""
    adapters: AdaptersConfig | None = None
    """Train LoRA adapters on frozen weights; all weights where absent."""
    compile: bool = False
    """Compile the decoder layers, and fill every pass to `micro_batch_tokens`: for long runs; rounding changes."""
    precision: Precision = "float32"
    """Arithmetic of the matrix products; weights are float32 either way."""
    checkpoint_every: int = Field(default=50, gt=0)
    """Updates between checkpoints."""

    @property
    def layout(self) -> Packing:
        """How demonstrations share a forward pass, `compile` considered."""
        return "packed" if self.compile else self.packing
