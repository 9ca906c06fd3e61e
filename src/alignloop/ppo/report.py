"""What a PPO iteration logs: means over its updates, and figures of its episodes."""

from __future__ import annotations

import torch
from torch import Tensor

from alignloop.distributed import ALONE, World
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.rollout import Episodes, Estimates
from alignloop.tensors import masked_mean, row_sums


class Tally:
    """Collects figures over the updates of one iteration: `add` those of all ranks, the others this rank's share."""

    def __init__(self, world: World = ALONE) -> None:
        self._world = world
        self._values: dict[str, list[float]] = {}
        self._sums: dict[str, float] = {}
        self._log_ratios: list[Tensor] = []
        self._clipped = 0

    def add(self, **values: float) -> None:
        """One figure per update; the mean over updates is logged."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def add_sum(self, name: str, value: float) -> None:
        """One share of an update's figure per micro-batch; shares add up."""
        self._sums[name] = self._sums.get(name, 0.0) + value

    def add_ratios(self, log_ratio: Tensor, clip_range: float) -> None:
        """Log-ratios [N] of one micro-batch's response tokens."""
        self._log_ratios.append(log_ratio)
        self._clipped += int(((log_ratio.exp() - 1).abs() > clip_range).sum())

    @property
    def updates(self) -> int:
        """How many updates were made."""
        return len(self._values.get("learning_rate", []))

    def means(self) -> dict[str, float]:
        """Everything that was collected, per update."""
        updates = max(self.updates, 1)
        sums = self._world.sums(self._sums)
        log_ratio = torch.cat([torch.zeros(0), *self._log_ratios])
        mine = {
            "tokens": float(len(log_ratio)),
            "clipped": float(self._clipped),
            "squares": float((log_ratio.double() ** 2).sum()),
        }
        seen = self._world.sums(mine)
        largest = float(log_ratio.exp().max()) if len(log_ratio) else 0.0
        return {
            **{name: sum(values) / len(values) for name, values in self._values.items()},
            **{name: value / updates for name, value in sums.items()},
            "ratio_max": self._world.largest(largest),
            "clip_fraction": seen["clipped"] / seen["tokens"],
            "approx_kl": 0.5 * seen["squares"] / seen["tokens"],
        }


def iteration_metrics(
    episodes: Episodes,
    estimates: Estimates,
    tally: Tally,
    config: PPOConfig,
    kl_coef: float,
) -> dict[str, float]:
    """All metrics of one iteration, named as in the glossary."""
    counts = episodes.is_response
    kl = row_sums(episodes.log_probs - episodes.reference_log_probs, counts)
    penalised = row_sums(episodes.kl, counts)
    means = tally.means()
    score, kl_mean = float(episodes.scores.mean()), float(kl.mean())
    penalty = kl_coef * float(penalised.mean())
    returns = estimates.returns
    pretraining = means.get("pretraining_loss", 0.0)
    if config.ptx_reduction == "sequence":
        pretraining *= config.ptx_tokens
    missed = returns - episodes.values
    spread, unexplained = (
        masked_mean((values - masked_mean(values, counts)) ** 2, counts)
        for values in (returns, missed)
    )
    found = {
        "score_mean": score,
        "reward_mean": float(row_sums(estimates.rewards, counts).mean()),
        "kl_reference": kl_mean,
        "kl_coef": kl_coef,
        "kl_penalty": penalty,
        "objective": score - penalty - config.ptx_coef * pretraining,
        "entropy": float(masked_mean(-episodes.drawn_log_probs, counts)),
        "eos_rate": float(episodes.finished.float().mean()),
        "response_tokens": float(counts.sum()) / len(episodes.scores),
        "advantage_std": estimates.advantage_std,
        "sampler_gap": episodes.sampler_gap,
        "value_explained": float(1 - unexplained / spread.clamp(min=1e-8)),
        **means,
    }
    if config.kl_estimator == "exact":
        found["kl_exact"] = float(penalised.mean())
    if config.kl_stop is not None:
        found["updates"] = tally.updates
    return found
