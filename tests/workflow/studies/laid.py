"""A ground of tiny models: foundations as the studies of step 3 read them, made in a few seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from alignloop.workflow.demo import Demo
from alignloop.workflow.studies.foundation import BaseName, Foundation, Ground
from alignloop.workflow.studies.run import Asked
from tests.helpers import (
    REWARD,
    SFT,
    run,
    write_demonstrations,
    write_model,
    write_prompts,
    write_rankings,
    write_text,
)

CONTEXT = 160
"""Room for the pretraining blocks of the demo's recipe."""


def write_finished(folder: Path) -> Path:
    """What a demo leaves, as far as the studies of step 3 build on it, of a tiny model."""
    text = write_text(folder / "stories" / "artifact")
    write_prompts(folder / "prompts" / "artifact")
    rankings = write_rankings(folder / "rankings" / "artifact")
    shown = write_demonstrations(folder / "demonstrations" / "artifact")
    base = write_model(folder / "base", context=CONTEXT)
    short = {"epochs": 1, "checkpoint_every": 100}
    plain = SFT | short | {"pretraining_mix": 0.0}
    run("lexicon", folder / "lexicon", {}, text=text)
    run("sft", folder / "rl_init", SFT | short, model=base, text=text, demonstrations=shown)
    run("sft", folder / "sft", plain, model=base, demonstrations=shown)
    run("sft", folder / "baseline", plain | {"seed": 5}, model=base, demonstrations=shown)
    given = {"rankings": rankings, "demonstrations": shown}
    run("reward", folder / "reward", REWARD | short, model=folder / "sft", **given)
    return folder


@dataclass(frozen=True)
class TinyGround:
    """Lays every foundation on the same finished stages; what a study trains lies in its own folder."""

    folder: Path
    finished: Path
    smoke: bool = True
    precision: str = "float32"

    def foundation(self, base: BaseName, seed: int) -> Foundation:
        """The foundation of one base and seed."""
        folder = self.folder / "foundations" / f"{base}_seed_{seed}"
        demo = Demo(folder, seed, True, "float32", lambda _: None, cast(Mapping[str, float], {}))
        return Foundation(demo, demo, base, self.finished / "base", self.finished)


def asked(folder: Path, finished: Path, seeds: int = 1) -> Asked:
    """What a call asks, over tiny models."""
    return Asked(cast(Ground, TinyGround(folder, finished)), seeds)
