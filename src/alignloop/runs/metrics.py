"""Every metric that a run may log, and the writer that refuses any other.

`metrics.jsonl` holds one object per step and is byte-identical on a repeat; what a clock or a machine decides goes to
`timings.jsonl`, which nothing hashes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from alignloop.errors import DataError, NumericsError
from alignloop.files import sync, write_bytes
from alignloop.runs.events import EventLog

METRICS: dict[str, str] = {
    "step": "updates (or iterations, for PPO) made so far",
    "epoch": "passes over the data, as a fraction",
    "tokens": "tokens trained on so far",
    "learning_rate": "of the update just made",
    "gradient_norm": "L2 norm of the whole gradient before clipping",
    "loss": "the objective that was minimised, mean over the batch",
    "valid_loss": "the same loss on validation data; for reward models Eq. 1, whatever is minimised",
    "valid_bits_per_byte": "validation loss per byte of text, in bits",
    "valid_pretraining_loss": "mean next-token loss, in nats, on at most 64 blocks of the text's validation side",
    "pretraining_loss": "mean next-token loss, in nats, on the pretraining text that is mixed in",
    "pair_accuracy": "share of the batch's preferred completions that scored higher; ties left out",
    "valid_pair_accuracy": "the same on validation rankings",
    "comparisons": "pairs in the batch: the sum of K(K-1)/2 less the ties",
    "reward_margin": "DPO: beta times the mean margin of the pairs, each the preferred completion's log-ratio to the "
    "reference less the other's",
    "preferred_change": "mean over pairs of the preferred completion's log-probability less the reference's, in nats",
    "other_change": "the same for the other completion",
    "kl_from_reference": "mean over the batch's completions of the reference's log-probability less the policy's, in "
    "nats; where the reference drew them, an unbiased estimate of KL(reference || policy)",
    "score_mean": "mean score of the batch's episodes, the missing-EOS penalty not included",
    "heldout_score": "mean score by a reward model that is watched and never learned from",
    "gold_score": "mean utility by the gold judge, watched and never learned from",
    "reward_mean": "mean over episodes of score, missing-EOS penalty and KL penalty together",
    "kl_reference": "mean over episodes of the summed log-ratio to the frozen reference, in nats",
    "kl_exact": "mean over episodes of the summed KL between the whole distributions of policy and reference, in nats",
    "kl_coef": "weight of the KL penalty in this iteration",
    "kl_penalty": "mean over episodes of kl_coef times what is penalised: that sum, or the exact KL",
    "objective": "Eq. 2: score less KL penalty plus ptx_coef times the pretraining log-likelihood per token",
    "policy_loss": "clipped surrogate, mean over response tokens",
    "value_loss": "clipped squared error of the value function, times one half, mean over response tokens",
    "value_explained": "1 - Var(returns - values) / Var(returns), the explained variance",
    "updates": "of the policy in this iteration, where kl_stop may skip some",
    "ratio_max": "largest probability ratio, new over old policy",
    "clip_fraction": "share of response tokens whose ratio lay outside the clip range",
    "approx_kl": "half the mean squared log-ratio between new and old policy",
    "sampler_gap": "mean distance between a drawn token's log-probability in the sampler and as the updates compute it",
    "entropy": "mean negative log-probability of the sampled tokens, in nats",
    "advantage_std": "standard deviation of the advantages before whitening",
    "ppo_gradient_norm": "L2 norm of the PPO term's gradient, with the value term's where they share a trunk",
    "ptx_gradient_norm": "L2 norm of the pretraining term's gradient, its coefficient included",
    "gradient_cosine": "cosine between the two terms' gradients",
    "value_gradient_norm": "L2 norm of the value function's gradient before clipping",
    "eos_rate": "share of the episodes that ended by themselves",
    "response_tokens": "mean length of the responses, EOS included",
}
"""Metric -> meaning."""


class MetricsLog:
    """Appends to `metrics.jsonl` and `timings.jsonl` of one run."""

    def __init__(self, folder: Path) -> None:
        self.metrics_path = folder / "metrics.jsonl"
        self.timings_path = folder / "timings.jsonl"
        self._events = EventLog.beside(folder)

    def rewind(self, step: int) -> None:
        """Forget what was logged after `step`: those steps are about to be made again."""
        for path in (self.metrics_path, self.timings_path):
            if path.exists():
                kept = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
                write_bytes(path, "".join(line + "\n" for line in kept).encode())

    def log(self, step: int, values: dict[str, float], timings: dict[str, float]) -> None:
        """Write one step. Unknown names are a bug of ours.

        Raises:
            NumericsError: a value is not finite (a validation loss, say; what is trained on was refused before).
        """
        unknown = values.keys() - METRICS.keys()
        assert not unknown, f"metrics without a glossary entry: {sorted(unknown)}"
        for name, value in values.items():
            if not math.isfinite(value):
                raise NumericsError(f"step {step}: {name} is {value}; the last checkpoint is good")
        _append(self.metrics_path, {"step": step, **{k: _plain(v) for k, v in values.items()}})
        if self._events is not None:
            self._events.write(step, values)
        _append(self.timings_path, {"step": step, **{k: _plain(v) for k, v in timings.items()}})

    def sync(self) -> None:
        """Flush what was logged to disk: a checkpoint that outlives a power cut needs the rows before it."""
        if self.metrics_path.exists():
            sync(self.metrics_path)

    def close(self) -> None:
        """Let go of the TensorBoard file."""
        if self._events is not None:
            self._events.close()

    def read(self) -> list[dict[str, Any]]:
        """All logged steps."""
        if not self.metrics_path.exists():
            return []
        try:
            return [json.loads(line) for line in self.metrics_path.read_text().splitlines()]
        except json.JSONDecodeError as error:
            raise DataError(f"{self.metrics_path}: damaged ({error})") from None


def _append(path: Path, value: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(value, allow_nan=False) + "\n")


def _plain(value: float) -> float | int:
    """Ten significant digits: stable, readable, more than float32 holds."""
    if isinstance(value, int):
        return value
    return float(f"{value:.10g}")


def _step_of(line: str) -> int:
    """The step of a logged line; a line that a crash cut short counts as one to forget."""
    try:
        return int(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError):
        return 1 << 62
