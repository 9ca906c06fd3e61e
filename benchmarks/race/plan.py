"""Which trainings the comparison is made of, for both sides alike. Standard library alone.

Settings that both sides have are the demo's (`Shared`). The rest comes from trials, as many for the one side as for the
other: first how a side computes (`SPEEDS`), by its seconds alone; then learning rate and inner epochs, by what was
learned. Then each side trains in full, once per seed and precision.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.job import Precision

Side = Literal["ours", "peer"]
SIDES: tuple[Side, ...] = ("ours", "peer")
PEER = "TRL 1.12.0"
ENVIRONMENT = "trl-1.12.0"
SCRIPTS: Mapping[Side, str] = {"ours": "benchmarks.ours.learn", "peer": "benchmarks.peer.learn"}

RATES = (2e-4, 4e-4, 8e-4)
EPOCHS = (1, 4)
"""The default of the demo, and TRL's."""
TRIAL_SHARE = 0.25
"""Of the iterations of a training in full."""
SPEED_ITERATIONS = 4
"""The first is a warm-up and is left out."""
_BY_PARTS = ({"forward_share": 1}, {"forward_share": 3})
SPEEDS: Mapping[tuple[Side, Precision], Sequence[Mapping[str, Any]]] = {
    ("ours", "float32"): ({"micro_batch_tokens": 2048}, {"micro_batch_tokens": 4096}),
    ("ours", "bfloat16"): (
        {"micro_batch_tokens": 2048, "rollout_precision": "float32"},
        {"micro_batch_tokens": 2048, "rollout_precision": "bfloat16"},
    ),
    ("peer", "float32"): _BY_PARTS,
    ("peer", "bfloat16"): _BY_PARTS,
}
"""Ours: padded tokens of a forward pass, and how the sampler computes; the peer: parts in which it draws and scores."""

FIRST_GUESS: Mapping[Side, tuple[float, float]] = {"ours": (3.5, 3.0), "peer": (6.0, 6.0)}
"""Seconds of an iteration without its epochs, and of an epoch, until some were measured."""
MEASURING_GUESS = 15.0
"""Seconds to measure a point."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Settings that both sides have, by our names for them; the demo's plain PPO has these values."""

    batch_size: int
    minibatch_size: int
    max_new_tokens: int
    temperature: float
    kl_coef: float
    missing_eos_penalty: float
    discount: float
    gae_lambda: float
    clip_range: float
    value_clip_range: float | None
    beta1: float
    beta2: float
    eps: float
    weight_decay: float

    @classmethod
    def of(cls, ppo: Mapping[str, Any]) -> Shared:
        """From the config of a PPO run; the policy's optimizer counts for both models, as the peer has one."""
        told = {**ppo, **ppo["sampling"], **ppo["policy_optimizer"]}
        return cls(**{name: told[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Training:
    """One process that trains, with its clock stopped while it saves the policy."""

    side: Side
    precision: Precision
    seed: int
    learning_rate: float
    inner_epochs: int
    iterations: int
    speed: Mapping[str, Any] = field(default_factory=dict)
    """One of `SPEEDS`."""
    every: int = 0
    """Iterations between two points, 0 for none. The last iteration is a point as well."""

    @property
    def steps(self) -> list[int]:
        """Iterations after which the policy is saved and measured."""
        if not self.every:
            return []
        return [*range(self.every, self.iterations, self.every), self.iterations]

    @property
    def name(self) -> str:
        """Its folder."""
        speed = "-".join(f"{name}-{value}" for name, value in self.speed.items())
        parts = [self.side, self.precision, f"seed-{self.seed}", f"rate-{self.learning_rate:g}"]
        parts += [f"epochs-{self.inner_epochs}", speed, f"{self.iterations}-by-{self.every}"]
        return "_".join(parts)

    def guess(self) -> float:
        """Seconds of training, before anything was timed."""
        rest, epoch = FIRST_GUESS[self.side]
        return self.iterations * (rest + self.inner_epochs * epoch)


@dataclass(frozen=True, slots=True)
class Order:
    """What a training process is told."""

    training: Training
    inputs: str
    """Folder that `benchmarks.race.inputs` wrote."""
    folder: str
    """Where saved policies go: `step_000005` and so on."""
    threads: int

    @classmethod
    def read(cls) -> Order:
        """The order on the command line, as JSON."""
        values = json.loads(sys.argv[1])
        return cls(**values | {"training": Training(**values["training"])})

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    def point(self, step: int) -> Path:
        """Where the policy goes after so many iterations."""
        return Path(self.folder) / f"step_{step:06d}"

    def given(self) -> dict[str, Any]:
        """Paths and settings for both sides."""
        return json.loads((Path(self.inputs) / "given.json").read_text(encoding="utf-8"))

    def shared(self) -> Shared:
        """The settings in it."""
        return Shared(**self.given()["shared"])

    def prompts(self) -> dict[str, list[Any]]:
        """`ids` and `tokens` of the prompts in the order in which both sides ask them."""
        path = Path(self.inputs) / f"prompts-{self.training.seed}.json"
        return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Race:
    """The whole comparison."""

    sides: Sequence[Side]
    precisions: Sequence[Precision]
    seeds: Sequence[int]
    iterations: int
    every: int
    rates: Sequence[float] = RATES
    epochs: Sequence[int] = EPOCHS

    @property
    def longest(self) -> int:
        """Iterations of the longest training."""
        return max(self.iterations, SPEED_ITERATIONS)

    @property
    def trial_iterations(self) -> int:
        """Of a trial of settings."""
        return max(1, round(self.iterations * TRIAL_SHARE))

    def speed_trials(self) -> list[Training]:
        """Every way to compute, in every precision, the sides in turn; nothing is measured but seconds."""
        middle, fewest = sorted(self.rates)[len(self.rates) // 2], min(self.epochs)
        return [
            Training(side, precision, self.seeds[0], middle, fewest, SPEED_ITERATIONS, speed)
            for precision in self.precisions
            for ways in zip(*(SPEEDS[side, precision] for side in self.sides), strict=True)
            for side, speed in zip(self.sides, ways, strict=True)
        ]

    def trials(self, speeds: Speeds) -> list[Training]:
        """Every learning rate and number of inner epochs, in the first of the precisions, measured at their ends."""
        precision, short = self.precisions[0], self.trial_iterations
        return [
            Training(
                side,
                precision,
                self.seeds[0],
                rate,
                epochs,
                short,
                speeds[side, precision],
                every=short,
            )
            for rate in self.rates
            for epochs in self.epochs
            for side in self.sides
        ]

    def full(self, speeds: Speeds, chosen: Mapping[Side, tuple[float, int]]) -> list[Training]:
        """Every seed and precision, the sides in turn, so that what the machine does meanwhile falls on both.

        Args:
            chosen: learning rate and inner epochs.
        """
        return [
            Training(
                side,
                precision,
                seed,
                *chosen[side],
                self.iterations,
                speeds[side, precision],
                every=self.every,
            )
            for seed in self.seeds
            for precision in self.precisions
            for side in self.sides
        ]


Speeds = Mapping[tuple[Side, Precision], Mapping[str, Any]]
"""How each side computes in each precision."""
