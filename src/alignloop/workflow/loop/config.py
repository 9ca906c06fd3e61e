"""Settings of `alignloop loop`: one `loop.toml` in the project. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from alignloop.config import Config, load_config
from alignloop.judges.intervals import RESAMPLES

FILE = "loop.toml"

STAGE_OF = {
    "demonstrations": "label_export",
    "given_demonstrations": "prompts_export",
    "story_demonstrations": "demonstrations",
    "sft": "sft",
    "chosen": "epochs",
    "prompts": "prompts_export",
    "story_prompts": "prompts",
    "samples": "sample",
    "rankings": "label_export",
    "reward": "reward",
    "baseline": "epochs",
    "rl_init": "sft",
    "ppo": "ppo",
    "ppo_ptx": "ppo",
    "judged": "win_rate",
    "comparison": "win_rate",
    "lexicon": "lexicon",
}
"""Step of the loop -> the stage whose settings `settings.STEP` changes."""


class AnswersConfig(Config):
    """How many answers of people SFT learns from, and how many are enough to go on."""

    train: int = Field(default=200, gt=0)
    """Tasks on prompts of the training side, or one per prompt where there are fewer."""
    valid: int = Field(default=40, gt=0)
    """The same of the validation side."""
    enough: float = Field(default=1.0, gt=0, le=1)
    """Share of the tasks of each side that have a label before the loop goes on."""
    overlap: int = Field(default=1, gt=0)
    """Labels wanted per task."""


class RankingsConfig(Config):
    """How many rankings a round asks for, and how many are enough to go on."""

    prompts: int = Field(default=200, gt=0)
    """Prompts of each side, training and validation, or as many as there are."""
    enough: float = Field(default=1.0, gt=0, le=1)
    """Share of the tasks of each side that have a label before the loop goes on."""
    overlap: int = Field(default=1, gt=0)
    """Labels wanted per task."""


class JudgingConfig(Config):
    """How intervals are drawn."""

    seed: int = 1
    """Resamples for the intervals."""
    resamples: int = Field(default=RESAMPLES, ge=100)
    """Bootstrap resamples for every interval."""


class ComparisonConfig(Config):
    """The blind comparison at the end of every round."""

    by: Literal["labelers", "reward-model"] = "labelers"
    """`labelers`: a blind campaign, beside the reward models; `reward-model`: these alone, one of which PPO was trained
    on, so that they say how far training went and not whether people like it."""
    prompts: int = Field(default=100, gt=0)
    """Test prompts, or as many as there are; the number of votes is fixed before the first one."""
    overlap: int = Field(default=1, gt=0)
    """Votes wanted per pair of answers."""
    resamples: int = Field(default=RESAMPLES, ge=100)
    """Bootstrap resamples for every interval."""


class LoopConfig(Config):
    """One project's way through the loop."""

    seed: int = 1
    """Of every stage."""
    rounds: int = Field(default=1, gt=0)
    """Rounds of rankings, reward model, PPO and evaluation; `--rounds` overrides it."""
    control: bool = False
    """Whether the second and every later round has a control, which spends as many labels on answers of the SFT model;
    `--control` sets it."""
    base: Path | None = None
    """The model to start from, a `policy` or any Hugging Face causal LM folder; the small bundled one where absent."""
    text: Path | None = None
    """A `pretraining-text` artefact for pretraining gradients; the bundled stories where `base` is absent too."""
    recipes: Path | None = None
    """Folder with the recipes `sft.toml`, `rl_init.toml`, `sample.toml`, `select.toml`, `reward.toml`, `ppo.toml` and
    `ppo_ptx.toml`, any of which may be missing; without it the demo's for the bundled model, and else the stages'
    defaults."""
    ptx: bool = True
    """Whether PPO mixes in pretraining gradients (PPO-ptx), from an RL initialisation with a pretraining mix."""
    restart: bool = True
    """Whether PPO of later rounds begins at the RL initialisation again, as the paper's new policies do; else where the
    round before ended."""
    demonstrations: AnswersConfig = AnswersConfig()
    """Answers that people write, or that came with the prompts."""
    rankings: RankingsConfig = RankingsConfig()
    """Rankings of every round."""
    comparison: ComparisonConfig = ComparisonConfig()
    """The evaluation."""
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]])
    """Step -> settings of its stage that differ from its recipe, as `[settings.sft]` with `epochs = 1`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if unknown := sorted(self.settings.keys() - STAGE_OF.keys()):
            raise ValueError(
                f"settings of '{unknown[0]}', which is no step; the steps are {', '.join(STAGE_OF)}"
            )
        return self

    @property
    def has_text(self) -> bool:
        """Whether there is a pretraining text: given, or bundled with the bundled model."""
        return self.text is not None or self.base is None


def read_config(
    project: Path, path: Path | None = None, overrides: tuple[str, ...] = ()
) -> LoopConfig:
    """The settings in `path`, else in the project's `loop.toml`, else the defaults; paths in it begin at its folder.

    Raises:
        ConfigError: it cannot be read or used.
    """
    place = path or (project / FILE if (project / FILE).is_file() else None)
    config = load_config(LoopConfig, place, overrides)
    if place is None:
        return config
    given = {name: getattr(config, name) for name in ("base", "text", "recipes")}
    return config.model_copy(
        update={name: place.parent / one for name, one in given.items() if one is not None}
    )
