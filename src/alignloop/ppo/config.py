"""Settings of `alignloop ppo`; the defaults are the paper's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from alignloop.config import Config, Precision
from alignloop.generation.engine import SamplingConfig
from alignloop.models.adapters import AdaptersConfig
from alignloop.training.optimizer import OptimizerConfig


class AdaptiveKLConfig(Config):
    """Ziegler et al.'s controller of `kl_coef` [PPO-11]."""

    target: float = Field(default=6.0, gt=0)
    """Wanted mean KL to the reference, in nats per sequence."""
    horizon: int = Field(default=10_000, gt=0)
    """Episodes over which the coefficient may change by its own size."""


class PPOConfig(Config):
    """PPO (`ptx_coef` = 0) and PPO-ptx (`ptx_coef` > 0), InstructGPT section 3.5 and C.4."""

    seed: int = 1
    """Orders prompts, minibatches and pretraining text, and draws responses."""
    episodes: int = Field(default=256_000, gt=0)
    """Responses to draw in all, in whole batches; prompts are gone through again when they run out."""
    batch_size: int = Field(default=512, gt=0)
    """Episodes per iteration."""
    minibatch_size: int = Field(default=64, gt=0)
    """Episodes per update."""
    inner_epochs: int = Field(default=1, gt=0)
    """Passes over each iteration's episodes."""
    kl_stop: float | None = Field(default=None, gt=0)
    """Skip the rest of an iteration's updates once a minibatch's approx_kl is above this [PPO-13]."""
    sampling: SamplingConfig = SamplingConfig()
    """How responses are drawn."""
    allow_labeler_prompts: bool = False
    """Ask prompts that labelers wrote too; the paper's PPO prompts are customers' alone."""
    reward_combine: Literal["mean", "min"] = "mean"
    """What counts where there are several reward models: their mean score, or the lowest."""
    kl_coef: float = Field(default=0.02, ge=0)
    """Weight of the per-token KL penalty to the frozen reference, beta in the paper's Eq. 2."""
    kl_estimator: Literal["sampled", "exact"] = "sampled"
    """What is penalised: the log-ratio of the drawn token (k1), or the exact KL over the vocabulary [PPO-15]."""
    adaptive_kl: AdaptiveKLConfig | None = None
    """Let `kl_coef` follow a target from this start; fixed, as in the paper, where absent [PPO-11]."""
    ptx_coef: float = Field(default=27.8, ge=0)
    """Weight of the pretraining gradients, gamma in the paper's Eq. 2; 0 is plain PPO."""
    ptx_ratio: int = Field(default=8, gt=0)
    """Pretraining sequences per episode."""
    ptx_tokens: int = Field(default=255, gt=0)
    """Predicted tokens per pretraining sequence."""
    ptx_reduction: Literal["token", "sequence"] = "token"
    """Mean pretraining loss per token, or per sequence, which is `ptx_tokens` times as much [PPO-01]."""
    discount: float = Field(default=1.0, gt=0, le=1)
    """RL discount; the paper uses none."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """Lambda of generalised advantage estimation [PPO-02]."""
    clip_range: float = Field(default=0.2, gt=0)
    """How far the probability ratio counts."""
    value_clip_range: float | None = Field(default=0.2, gt=0)
    """How far a new value may move from the old one and still count; `"none"` turns it off [PPO-03]."""
    value_network: Literal["separate", "shared"] = "separate"
    """A network of its own, as in the paper, or a head on the policy's trunk [PPO-14]."""
    value_start: Literal["reward_model", "policy"] = "reward_model"
    """What a separate network starts as: the (first) reward model, or the policy's trunk with values of 0."""
    value_coef: float = Field(default=0.1, gt=0)
    """Weight of the value loss beside the policy's, where they share a trunk."""
    whiten_advantages: Literal["minibatch", "batch", "none"] = "minibatch"
    """Over what advantages are whitened, with masks [PPO-05]."""
    whiten_rewards: bool = False
    """Divide rewards by their standard deviation, mean kept [PPO-07]."""
    missing_eos_penalty: float = Field(default=1.0, ge=0)
    """Subtracted from the score of a response that was cut off [PPO-08]."""
    missing_eos_score: float | None = None
    """Fixed score of a response that was cut off, instead of the penalty; refused where it would pay [PPO-08]."""
    policy_optimizer: OptimizerConfig = OptimizerConfig(learning_rate=5e-6, schedule="constant")
    """How the policy is updated; its warm-up is `warmup_iterations`."""
    value_optimizer: OptimizerConfig = OptimizerConfig(learning_rate=9e-6, schedule="constant")
    """How the value function is updated; its warm-up is `warmup_iterations`."""
    warmup_iterations: int = Field(default=10, ge=0)
    """Iterations of linear warm-up from one tenth of the peak, for both."""
    ema_decay: float = Field(default=0.992, ge=0, lt=1)
    """Decay of the average of the policy's weights, per update, kept in float32."""
    export: Literal["ema", "raw"] = "ema"
    """Which weights the artefact holds."""
    adapters: AdaptersConfig | None = None
    """Policy, reference, reward and value on one set of frozen weights, told apart by LoRA adapters [LORA-01]."""
    micro_batch_tokens: int = Field(default=4096, gt=0)
    """Padded tokens per forward pass; changes memory, not the result beyond rounding."""
    compile: bool = False
    """Compile layers and decoding, and fill every pass to `micro_batch_tokens`: for long runs; rounding changes."""
    precision: Precision = "float32"
    """Arithmetic of the matrix products in scoring and updates; weights are float32 either way."""
    rollout_precision: Precision = "float32"
    """Arithmetic of the sampler's matrix products [PPO-04]; `bfloat16` acts on Llama-type models."""
    checkpoint_every: int = Field(default=10, gt=0)
    """Iterations between checkpoints."""
    samples_every: int = Field(default=10, gt=0)
    """Iterations between files of samples to read."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % self.minibatch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of minibatch_size {self.minibatch_size}"
            )
        if self.episodes < self.batch_size:
            raise ValueError(
                f"episodes {self.episodes} are fewer than one batch of {self.batch_size}"
            )
        if self.adaptive_kl is not None and self.adaptive_kl.horizon <= self.batch_size / 5:
            raise ValueError(
                f"adaptive_kl.horizon {self.adaptive_kl.horizon} counts episodes: at a batch_size of "
                f"{self.batch_size} it has to be above {self.batch_size // 5}, or kl_coef could fall below 0"
            )
        for name in ("policy_optimizer", "value_optimizer"):
            if getattr(self, name).warmup_steps:
                raise ValueError(f"set warmup_iterations, not {name}.warmup_steps")
        return self

    @property
    def draws_as_it_learns(self) -> bool:
        """Whether the sampler's log-probabilities are those that the updates compute, but for rounding."""
        return self.precision == "float32" and self.rollout_precision == "float32"

    @property
    def iterations(self) -> int:
        """How often responses are drawn."""
        return self.episodes // self.batch_size

    @property
    def updates_per_iteration(self) -> int:
        """Optimizer steps per iteration."""
        return self.inner_epochs * self.batch_size // self.minibatch_size
