"""Settings of `alignloop evaluate tasks`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from alignloop.config import Config

Format = Literal["chat", "plain"]


class ToxicityConfig(Config):
    """How continuations are scored for toxicity, where a scorer is given."""

    label: str = "toxic"
    """Label of the classifier whose probability is the score; one of a single label needs none."""
    batch_rows: int = Field(default=32, gt=0)
    """Texts that are scored together."""
    timeout: float = Field(default=30.0, gt=0)
    """Seconds to wait for an endpoint's answer; it is asked three times before it counts as gone."""
    key_variable: str | None = None
    """Environment variable that holds the endpoint's key, sent as a bearer token."""


class TasksConfig(Config):
    """Public tasks on local files, as the paper's Appendix D asks them."""

    seed: int = 1
    """Chooses items and examples, and resamples for the intervals. Nothing is drawn: answers are greedy."""
    limit: int | None = Field(default=None, gt=0)
    """Ask that many items of each task, chosen at random; all of them without it."""
    shots: tuple[int, ...] | None = None
    """Numbers of examples in few-shot prompts; without it the paper's for each task, beside none at all."""
    format: Format = "chat"
    """How policies are asked: `chat`, as a user's turn in the policy's chat format; `plain`, as text to go on with."""
    plain: tuple[str, ...] = ()
    """Names of policies that are asked in plain text whatever `format` says: base models."""
    batch_rows: int = Field(default=64, gt=0)
    """Answers that are written together; the keys and values of each are held in memory."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples for every interval."""
    toxicity: ToxicityConfig = ToxicityConfig()
    """How continuations are scored for toxicity."""

    @field_validator("shots")
    @classmethod
    def _check_shots(cls, shots: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shots is not None and (not shots or min(shots) < 0 or len(set(shots)) < len(shots)):
            raise ValueError("numbers of examples from 0, each once")
        return shots

    def format_of(self, policy: str) -> Format:
        """How a policy is asked."""
        return "plain" if policy in self.plain else self.format
