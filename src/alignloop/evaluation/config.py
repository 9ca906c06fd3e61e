"""Settings of `alignloop evaluate` and `evaluate select`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from alignloop.config import Config
from alignloop.generation.engine import SamplingConfig


class EvaluationConfig(Config):
    """A blind comparison of several policies with the SFT baseline on held-out prompts."""

    seed: int = 1
    """Draws responses, hides which model is which, and resamples for the intervals."""
    prompts: int | None = Field(default=None, gt=0)
    """Use that many test prompts, drawn at random; all of them without it."""
    sampling: SamplingConfig = SamplingConfig()
    """How every model answers."""
    best_of: int = Field(default=4, ge=2)
    """SFT samples per prompt: for best-of-n, and for the reward model's accuracy on held-out prompts."""
    base_templates: tuple[str, ...] = (
        "{prompt}\n\n",
        "{context} ",
        "{context}\n\n",
        "A story for children.\n\n{context} ",
        "Once upon a time there was a story that began like this. {context} ",
    )
    """Ways to ask the base model, which knows no instructions; the one that the reward model likes best on validation
    prompts is used."""
    prefix_prompts: int = Field(default=64, gt=0)
    """Validation prompts for that choice."""
    title_characters: int = Field(default=1500, gt=0)
    """How much of each held-out text the pretraining loss is measured on; a title may have several texts."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples for every interval."""

    @field_validator("base_templates")
    @classmethod
    def _check_templates(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            try:
                template.format(prompt="", context="")
            except (KeyError, IndexError, ValueError):
                raise ValueError(
                    f"{template!r}: a template may name {{prompt}} and {{context}}, and nothing else"
                ) from None
        return templates


class SelectionConfig(Config):
    """Choose among policies by the mean reward-model score of their answers."""

    seed: int = 1
    """Draws the responses."""
    sampling: SamplingConfig = SamplingConfig()
    """How every candidate answers."""
    copies: int = Field(default=1, gt=0)
    """Responses per validation prompt."""


class EpochsConfig(SelectionConfig):
    """Choose among the epochs of an SFT run (InstructGPT C.1)."""

    select_by: Literal["reward", "loss", "last"] = "reward"
    """`reward`: the highest mean score on validation prompts, as in the paper; `loss`: the lowest validation loss;
    `last`: the last epoch, where there is no reward model yet."""
