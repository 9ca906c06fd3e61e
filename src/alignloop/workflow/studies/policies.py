"""Policies of step 3 over one foundation: each trained once, whichever study asks first, and measured by one yardstick.

Runs lie in `rl/` and figures in `measured/` of the foundation's folder, so that studies which need the same policy
share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from alignloop.ppo.config import PPOConfig
from alignloop.workflow.demo import epochs_of
from alignloop.workflow.measure import Yardstick
from alignloop.workflow.studies.cells import Cell, Row
from alignloop.workflow.studies.foundation import Foundation

COPIES = 4
"""Answers per validation prompt of every policy."""
SMOKE_COPIES = 1
REFERENCE = "rl_init"
"""Where every policy of step 3 starts, and what its KL is measured to."""


@dataclass(frozen=True)
class Policies:
    """What studies of reinforcement learning train and measure over one base and seed."""

    foundation: Foundation
    judge: Foundation | None = None
    """Whose reward model rewards and whose SFT baseline is the rival; the foundation's own without it."""

    def trained(self, name: str) -> Path:
        """A policy that is a stage of the foundation: `rl_init`, `baseline`, `base`."""
        return self.foundation.path(name)

    def ppo(self, kl_coef: float, ptx_coef: float = 0.0) -> Path:
        """PPO or PPO-ptx at these coefficients and otherwise as the demo's recipe has it."""
        method = "ppo_ptx" if ptx_coef > 0 else "ppo"
        usual = self.usual(method)
        if self.judge is None and (kl_coef, ptx_coef) == (usual.kl_coef, usual.ptx_coef):
            return self.foundation.path(method)
        folder = self.folder / "rl" / name_of(kl_coef, ptx_coef)
        return self.train_ppo(folder, f"kl_coef={kl_coef}", f"ptx_coef={ptx_coef}", recipe=method)

    def baseline(self) -> Path:
        """The epoch of SFT that the reward model likes best."""
        if self.judge is None:
            return self.foundation.path("baseline")
        return self.foundation.run(
            self.folder / "baseline",
            "select",
            "select",
            candidates=epochs_of(self.foundation.path("sft")),
            reward_model=self.rewards.path("reward"),
            prompts=self.foundation.path("prompts"),
        ).path

    @property
    def rewards(self) -> Foundation:
        """The foundation of the reward model and of the rival."""
        return self.judge or self.foundation

    def usual(self, method: str) -> PPOConfig:
        """The config of the demo's recipe for `ppo` or `ppo_ptx`, at this base and seed."""
        config = self.foundation.config("ppo", method)
        assert isinstance(config, PPOConfig)
        return config

    def train_ppo(self, folder: Path, *overrides: str, recipe: str = "ppo") -> Path:
        """PPO from the foundation's RL initialisation, in a folder of its own.

        Without the doctor, who would take as long as a short run: the foundation's own PPO was examined.
        """
        return self.foundation.run(
            folder,
            "ppo",
            recipe,
            *overrides,
            policy=self.foundation.path(REFERENCE),
            reward_model=self.rewards.path("reward"),
            prompts=self.foundation.path("prompts"),
            text=self.foundation.path("stories"),
        ).path

    def dpo(self, beta: float) -> Path:
        """DPO at that beta from the same start, on the rankings that the reward model learned from."""
        overrides = [f"beta={beta}"]
        if self.foundation.demo.smoke:
            overrides += ["batch_size=4", "checkpoint_every=1"]
        return self.foundation.run(
            self.folder / "rl" / f"dpo_{beta:g}",
            "dpo",
            "dpo",
            *overrides,
            model=self.foundation.path(REFERENCE),
            rankings=self.foundation.path("rankings"),
        ).path

    def measured(self, policy: Path, name: str, template: str | None = None) -> dict[str, Any]:
        """What the yardstick makes of a policy, by prompt, as a cell's row.

        Args:
            name: seeds the draws of its answers.
            template: how a policy is asked that knows no instructions.
        """
        return {"policy": name, **self.yardstick.by_prompt(policy, name, template)}

    @cached_property
    def yardstick(self) -> Yardstick:
        """Validation prompts, the reward model, gold against the SFT baseline, the RL initialisation for the KL."""
        return Yardstick(
            self.folder / "measured",
            # Of the judge too, so that all sizes answer the very same prompts.
            prompts=self.rewards.path("prompts"),
            reward_model=self.rewards.path("reward"),
            reference=self.foundation.path(REFERENCE),
            sampling=self.usual("ppo").sampling,
            seed=self.foundation.seed,
            copies=self.copies,
            lexicon=self.foundation.path("lexicon"),
            baseline=self.rewards.path("baseline"),
        )

    @property
    def folder(self) -> Path:
        """Where runs and figures lie."""
        own = self.foundation.demo.folder
        return own if self.judge is None else own / f"judged_by_{self.judge.base_name}"

    def cell(
        self, name: str, work: Callable[[], Sequence[Row]], seconds: float, **setting: Any
    ) -> Cell:
        """A cell of this base and seed.

        Args:
            seconds: what it takes on two quiet cores with the demo's base, if all has to be trained.
            setting: JSON values that decide its rows.
        """
        return Cell(
            name,
            self.foundation.base_name,
            self.foundation.seed,
            {**setting, "copies": self.copies},
            lambda _: work(),
            # Half of the work is the judge's models'.
            guess=(self.foundation.scaled(seconds) + self.rewards.scaled(seconds)) / 2,
            judge=self.rewards,
        )

    def start(self) -> Cell:
        """Where every policy of step 3 starts, measured."""
        return self.cell(
            REFERENCE, lambda: [self.measured(self.trained(REFERENCE), REFERENCE)], 15.0
        )

    def at(self, kl_coef: float, ptx_coef: float = 0.0) -> Cell:
        """The policy of these coefficients, trained and measured."""
        name = name_of(kl_coef, ptx_coef)

        def work() -> list[dict[str, Any]]:
            return [self.measured(self.ppo(kl_coef, ptx_coef), name)]

        return self.cell(name, work, 85.0, kl_coef=kl_coef, ptx_coef=ptx_coef)

    @property
    def copies(self) -> int:
        """Answers per prompt."""
        return SMOKE_COPIES if self.foundation.demo.smoke else COPIES


def name_of(kl_coef: float, ptx_coef: float = 0.0) -> str:
    """What the policy of these coefficients is called."""
    return f"ppo{f'_ptx_{ptx_coef:g}' if ptx_coef > 0 else ''}_kl_{kl_coef:g}"
