"""Settings of `alignloop evaluate win-rate` and `evaluate select-prefix`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from alignloop.config import Config
from alignloop.generation.engine import SamplingConfig
from alignloop.judges.labelers import TIE_MARGIN


class EndpointConfig(Config):
    """How a judge model behind an OpenAI-style endpoint is asked."""

    max_tokens: int = Field(default=16, gt=0)
    """Longest reply; a model that thinks aloud before it answers needs more, and its answer alone on the last line."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """How long one reply may take."""
    retries: int = Field(default=5, ge=0)
    """How often a request is sent again after no answer, a server's error or `429 Too Many Requests`."""
    wait_seconds: float = Field(default=1.0, ge=0)
    """Pause before the first of these, doubled each time, a minute at most; `Retry-After` of the server goes first."""
    at_once: int = Field(default=4, gt=0)
    """Requests under way at a time."""


class WinRateConfig(Config):
    """Win rates of policies against a baseline, and against one another, on held-out prompts."""

    seed: int = 1
    """Draws prompts and answers, hides which policy is which, and resamples for the intervals."""
    side: Literal["test", "valid"] = "test"
    """Which file of the prompts is asked. Choose models and settings on `valid`, and open `test` once."""
    prompts: int | None = Field(default=None, gt=0)
    """Use that many prompts, drawn at random; all of them without it."""
    sampling: SamplingConfig = SamplingConfig()
    """How every policy answers."""
    pairs: Literal["all", "baseline"] = "all"
    """Compare every two policies, or each with the baseline alone: fewer questions for people or a paid model."""
    noise: float = Field(default=0.66, ge=0)
    """Simulated labelers: standard deviation of the noise per text, in nats of worth."""
    tie_margin: float = Field(default=TIE_MARGIN, ge=0)
    """Simulated labelers: largest difference of opinion, in nats of worth, that is still a tie."""
    endpoint: EndpointConfig = EndpointConfig()
    """How a judge model behind an endpoint is asked."""
    both_bad: Literal["half", "left out"] = "half"
    """What a person's vote for "both are bad" is: a half like a tie, or no vote."""
    votes: int = Field(default=1, gt=0)
    """Votes wanted per pair of answers in a campaign that is made."""
    like_length: int = Field(default=100, gt=0)
    """Pairs of like length that are wanted before wider differences of length are let in."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples for every interval."""


class PrefixConfig(Config):
    """Choose among ways to ask a model that knows no instructions, by the mean reward-model score of its answers."""

    seed: int = 1
    """Draws prompts and answers, and resamples for the intervals."""
    side: Literal["test", "valid"] = "valid"
    """Which file of the prompts is asked. The paper's contest was on validation prompts, and so should yours be."""
    prompts: int | None = Field(default=None, gt=0)
    """Use that many prompts, drawn at random; all of them without it."""
    sampling: SamplingConfig = SamplingConfig()
    """How the model answers."""
    copies: int = Field(default=1, gt=0)
    """Answers per prompt."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples for every interval."""
