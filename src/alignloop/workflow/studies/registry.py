"""The studies by name. Their modules are read when one runs, so that help stays quick."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignloop.workflow.studies.study import Study


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a study lives, and its line of help."""

    place: str
    """Module below `workflow.studies`, and the name in it."""
    help: str


STUDIES: Mapping[str, Entry] = {
    "reward-folds": Entry("reward_folds:STUDY", "Does a reward model know labelers it never met?"),
    "reward-pairs": Entry("reward_pairs:STUDY", "All pairs of a prompt together, or shuffled."),
    "reward-best-of-4": Entry("reward_best_of:STUDY", "Learn from whole rankings, or the best."),
    "reward-epochs": Entry("reward_epochs:STUDY", "One to four epochs of the reward model."),
    "sft-epochs": Entry("sft_epochs:STUDY", "SFT for 16 epochs: validation loss, reward score."),
    "sizes": Entry("sizes:STUDY", "Win rate by size and method: three bases, five methods."),
    "ptx-coef": Entry("ptx_coef:STUDY", "PPO-ptx at ptx_coef from 0 to 27.8: the alignment tax."),
    "kl-coef": Entry("kl_coef:STUDY", "PPO at KL coefficients from 0 to 2."),
    "over-optimisation": Entry("over_optimisation:STUDY", "Reward and gold against KL."),
    "best-of-n": Entry("best_of_n:STUDY", "Best of n answers, and PPO at the same KL."),
    "dpo-vs-ppo": Entry("dpo_vs_ppo:STUDY", "DPO, PPO and PPO-ptx at matched KL."),
}
"""In the order of the page."""


def study_of(name: str) -> Study:
    """The study of that name."""
    module, attribute = STUDIES[name].place.split(":")
    return getattr(importlib.import_module(f"alignloop.workflow.studies.{module}"), attribute)
