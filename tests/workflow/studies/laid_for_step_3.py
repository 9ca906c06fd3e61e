"""What the studies of step 3 build on, of tiny models: made in a few seconds, for `laid.tiny_ground`."""

from __future__ import annotations

from pathlib import Path

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


def lay_for_step_3(folder: Path) -> Path:
    """What a demo leaves, as far as the studies of step 3 build on it, of a tiny model."""
    text = write_text(folder / "stories" / "artifact")
    write_prompts(folder / "prompts" / "artifact")
    rankings = write_rankings(folder / "rankings" / "artifact")
    shown = write_demonstrations(folder / "demonstrations" / "artifact")
    base = write_model(folder / "model", context=CONTEXT)
    short = {"epochs": 1, "checkpoint_every": 100}
    plain = SFT | short | {"pretraining_mix": 0.0}
    run("lexicon", folder / "lexicon", {}, text=text)
    run("sft", folder / "rl_init", SFT | short, model=base, text=text, demonstrations=shown)
    run("sft", folder / "sft", plain, model=base, demonstrations=shown)
    run("sft", folder / "baseline", plain | {"seed": 5}, model=base, demonstrations=shown)
    given = {"rankings": rankings, "demonstrations": shown}
    run("reward", folder / "reward", REWARD | short, model=folder / "sft", **given)
    return folder
